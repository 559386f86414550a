"""How many bytes of a text each of its tokens stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def bytes_of(
    text: str, n_tokens: int, offsets: Sequence[tuple[int, int]] | None
) -> NDArray[np.float64]:
    """UTF-8 bytes of each token's text; equal shares where no offsets tell where it is."""
    if offsets is not None:
        return bytes_by_offset(text, offsets)
    return np.full(n_tokens, len(text.encode()) / max(n_tokens, 1))


def bytes_by_offset(text: str, offsets: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """UTF-8 bytes of each token's text, what no token covers counted to the one after it.

    They add up to the text's: tokens that are parts of one character share its offsets, and
    the first of them is given its bytes.
    """
    if not offsets:
        return np.zeros(0)
    sizes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    # A character's UTF-8 length, from its code point.
    lengths = 1 + (sizes > 0x7F).astype(int) + (sizes > 0x7FF) + (sizes > 0xFFFF)
    upto = np.concatenate([[0], np.cumsum(lengths)])
    ends = np.maximum.accumulate(np.array([end for _, end in offsets]))
    ends[-1] = len(text)
    return np.diff(upto[ends], prepend=0).astype(np.float64)

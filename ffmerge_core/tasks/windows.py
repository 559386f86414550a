"""A split of texts as one stream of tokens, and the windows that move along it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ffmerge_core.tasks.batch import batches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# More at once make nothing faster.
_TOKENS_A_BATCH = 4096


@dataclass(frozen=True)
class Stream:
    """ids: (n_tokens,) int64. n_bytes: (n_tokens,) float64, of the text that each stands for."""

    ids: Tensor
    n_bytes: NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """Tokens [start, stop) of a stream predict [start + 1, stop + 1), the last `n_scored` count."""

    start: int
    stop: int
    n_scored: int


def moving(n_predicted: int, context: int) -> list[Window]:
    """Windows of `context` tokens that move by half of it, until all are predicted once."""
    stride = context // 2
    windows = []
    for start in range(0, max(1, n_predicted - (context - stride)), stride):
        stop = min(start + context, n_predicted)
        known = context - stride if start else 0  # scored by the window before
        windows.append(Window(start, stop, stop - start - known))
    return windows


def side_by_side(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """As many at once as make a batch."""
    longest = max(window.stop - window.start for window in windows)
    return batches(windows, max(1, _TOKENS_A_BATCH // longest))


def padded(rows: Sequence[Tensor], value: int) -> Tensor:
    """(rows, tokens) of rows of any lengths, the shorter ones filled up at their end."""
    return pad_sequence(list(rows), batch_first=True, padding_value=value)

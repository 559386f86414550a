"""Memory first: what a model will take is computed from the headers of its files.

Sizes in config.json are a stranger's. A module of those sizes is built on the meta device first,
where it takes no memory, and refused there if the files do not hold as much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from ffmerge_core.errors import SourceError
from ffmerge_core.models.families import FAMILIES
from ffmerge_core.storage.weights import Entries, bytes_in_memory

# Parameters that no file need hold, because libraries compute them: Marian's positions.
_COMPUTED = 10_000_000


def refuse_too_large(
    folder: Path,
    config: Mapping[str, Any],
    entries: Entries,
    make: Callable[[], nn.Module],
    copies: bool = True,
) -> None:
    """`SourceError`, with both figures, if a model is larger than its files or the free memory.

    make: builds the module that config describes. copies: whether the files hold each of its
    parameters, as opposed to one for several merged ones.
    """
    for key, n_layers in _depths(config):
        if n_layers > len(entries):
            raise SourceError(
                f"{folder / 'config.json'} describes {n_layers:,} layers ({key}), and the weights "
                f"beside it are {len(entries):,} tensors. One of the two is another model's."
            )
    _refuse_beyond_free(folder, bytes_in_memory(entries))
    with torch.device("meta"):
        module = make()
    described = sum(parameter.numel() for parameter in module.parameters())
    held = sum(entry.size for entry in entries.values())
    if copies and described > held + _COMPUTED:
        raise SourceError(
            f"{folder / 'config.json'} describes a model of {described:,} parameters, and the "
            f"weights beside it are {held:,} numbers. One of the two is another model's."
        )
    tensors = chain(module.parameters(), module.buffers())
    _refuse_beyond_free(folder, sum(each.numel() * each.element_size() for each in tensors))


def free_memory() -> int:
    """Bytes that programs may still take, by the operating system."""
    return int(psutil.virtual_memory().available)


def size_in_words(n_bytes: int) -> str:
    """Decimal: 3_560_000_000 -> "3.6 GB", 2_419_240 -> "2.42 MB"."""
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.2f} MB"


def _refuse_beyond_free(folder: Path, needed: int) -> None:
    if needed > (free := free_memory()):
        raise SourceError(
            f"The model in {folder} takes {size_in_words(needed)} of memory in float32, and "
            f"{size_in_words(free)} are free. Close other programs, or use a larger computer."
        )


def _depths(values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The numbers of layers that a config.json speaks of, those of its parts too."""
    names = {name for family in FAMILIES.values() for name in family.depths.values()}
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _depths(value)
        elif key in names and type(value) is int:
            yield key, value

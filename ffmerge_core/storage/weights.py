"""The tensors in safetensors files: what the headers say of them, and their values, one at a time.

They are read into memory of their own. safetensors maps a file into memory instead: whoever wrote
over that file would change a model that is open, and whoever cut it short would end the process.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffmerge_core.errors import SourceError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Numbers that are compared at a time: what fits into a processor's cache.
_PIECE = 1_000_000
_COMPILED, _PARALLEL = "._orig_mod.", "module."
TYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Entry:
    """A tensor that can be read.

    read: its values as they are in the file. pieces: the same, flat, a piece after the other; one
    is gone when the next is there.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    pieces: Callable[[], Iterator[Tensor]]

    @classmethod
    def of(cls, tensor: Tensor) -> Entry:
        """One that is in memory already."""
        return cls(
            tensor.dtype,
            tuple(tensor.shape),
            # One of its own: the memory may be a file's, or another tensor's.
            lambda: tensor.detach().clone(memory_format=torch.contiguous_format),
            lambda: iter(torch.split(tensor.detach().reshape(-1), _PIECE)),
        )

    @property
    def size(self) -> int:
        return math.prod(self.shape)


Entries = Mapping[str, Entry]


def entries_in(files: Iterable[Path]) -> dict[str, Entry]:
    """What the headers of safetensors files say, by name; nothing else of them is read.

    Raises `SourceError` for what is damaged, or holds numbers of a kind that is not known here.
    """
    found: dict[str, Entry] = {}
    for path in files:
        header, start = _header(path)
        for name, said in header.items():
            if name == "__metadata__":
                continue
            if (dtype := TYPES.get(said["dtype"])) is None:
                raise SourceError(
                    f"{path} holds {name} as {said['dtype']}, and plain numbers were expected: "
                    f"{', '.join(TYPES)}. Open the model as it was before it was quantised."
                )
            shape = tuple(said["shape"])
            place = start + said["data_offsets"][0]
            where = (path, place, dtype, shape)
            found[name] = Entry(dtype, shape, partial(_read, *where), partial(_pieces, *where))
    return found


def sharded(index: Path) -> list[Path]:
    """The files that an index names, beside it; `SourceError` if it names none, or others."""
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        files = [index.parent / name for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        files = []
    if not files:
        raise SourceError(f"{index} does not say which files hold the weights. Download it again.")
    for path in files:
        if not path.is_file() or path.parent != index.parent:
            raise SourceError(
                f"{index} names {path.name}, which is not in its folder. Download what is missing."
            )
    return files


def unwrapped(entries: Entries) -> tuple[dict[str, Entry], tuple[str, ...]]:
    """The entries without what wrappers put into their names, and what that was.

    torch.compile puts `_orig_mod.` where it wraps, and DataParallel `module.` before all.
    """
    found: dict[str, Entry] = dict(entries)
    taken_off: list[str] = []
    while found:
        if any(_COMPILED in f".{name}" for name in found):
            plain = {f".{name}".replace(_COMPILED, ".")[1:]: each for name, each in found.items()}
            prefix = _COMPILED[1:]
        elif all(name.startswith(_PARALLEL) for name in found):
            plain = {name.removeprefix(_PARALLEL): each for name, each in found.items()}
            prefix = _PARALLEL
        else:
            break
        if len(plain) < len(found):
            # Two tensors would have one name: these are no wrappers.
            break
        found = plain
        taken_off.append(prefix)
    return found, tuple(taken_off)


def in_memory(tensor: Tensor) -> Tensor:
    """As a model computes with it: in float32 if it is floating-point."""
    return tensor.float() if tensor.is_floating_point() else tensor


def bytes_in_memory(entries: Entries) -> int:
    """What the tensors will take once they are loaded."""
    return sum(
        entry.size * (4 if entry.dtype.is_floating_point else entry.dtype.itemsize)
        for entry in entries.values()
    )


def _read(path: Path, place: int, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """What stands at a place in a file, in memory of its own."""
    tensor = torch.empty(shape, dtype=dtype)
    if not tensor.numel():
        return tensor
    with path.open("rb", buffering=0) as file:
        file.seek(place)
        _fill(tensor, file)
    return tensor


def _pieces(path: Path, place: int, dtype: torch.dtype, shape: tuple[int, ...]) -> Iterator[Tensor]:
    left = math.prod(shape)
    into = torch.empty(min(left, _PIECE), dtype=dtype)
    with path.open("rb", buffering=0) as file:
        file.seek(place)
        while left:
            piece = into[: min(left, _PIECE)]
            _fill(piece, file)
            left -= piece.numel()
            yield piece


def _fill(tensor: Tensor, file: FileIO) -> None:
    """Read the bytes that stand next in a file."""
    into, done = tensor.reshape(-1).view(torch.uint8).numpy().data, 0
    while done < len(into):
        # One call may give less than was asked for.
        if not (got := file.readinto(into[done:])):
            raise SourceError(f"{file.name} was cut short while it was read. Try again.")
        done += got


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a file, checked by safetensors, and where the values begin."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return json.loads(file.read(length)), 8 + length
    except (SafetensorError, OSError) as error:
        raise SourceError(
            f"{path} is damaged or cut short ({error}). Copy or download it again."
        ) from None

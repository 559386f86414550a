"""What was loaded is what the file says: every tensor is read once more and compared, bit for bit.

Libraries rename tensors, cut packed ones, tie one to another and pass over some. What they did is
seen by the memory that a model's tensors lie in: it is what was read for the name in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ffmerge_core.errors import SourceError
from ffmerge_core.models.stored import Types
from ffmerge_core.models.ties import ties
from ffmerge_core.storage.gaps import some
from ffmerge_core.storage.weights import Entries, Entry

# Of as many bits, so that NaN and the sign of zero count.
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def holds(place: Tensor, entry: Entry) -> bool:
    """Whether a tensor is, bit for bit, what a file has, in the type that it is held in.

    Whole numbers are no weights.
    """
    if place.shape != entry.shape or place.is_floating_point() != entry.dtype.is_floating_point:
        return False
    flat, at = place.detach().contiguous().reshape(-1), 0
    kind = _BITS[flat.element_size()]
    for piece in entry.pieces():
        here = flat[at : at + piece.numel()]
        if not torch.equal(piece.to(flat.dtype).view(kind), here.view(kind)):
            return False
        at += piece.numel()
    return True


def types_of(module: nn.Module, entries: Entries, read: Mapping[str, Tensor]) -> Types:
    """The types that the files keep a module's tensors in, where they are others than its own.

    read: what was read of each entry. The module's tensors lie in its memory.
    """
    kept = {_memory(tensor): entries[name].dtype for name, tensor in read.items()}
    return {
        name: kept[_memory(tensor)]
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point() and kept.get(_memory(tensor), tensor.dtype) != tensor.dtype
    }


def refuse_other_values(folder: Path, module: nn.Module, entries: Entries) -> None:
    """`SourceError` if a module does not hold, by the same names, what the entries do."""
    state = module.state_dict()
    wrong = [name for name, entry in entries.items() if not holds(state[name], entry)]
    if wrong:
        raise SourceError(_differ(folder, module, wrong))


def refuse_changes(
    folder: Path, module: Any, entries: Entries, read: Mapping[str, Tensor]
) -> tuple[str, ...]:
    """`SourceError` if the module that transformers made is not what the files say.

    entries: those that the module should hold. read: what was read of each, and given to it.
    The names that it passes over by its own list, because no model has a use for them.
    """
    held: dict[int, int] = {}
    for tensor in {id(each): each for each in _state(module).values()}.values():
        held[_memory(tensor)] = held.get(_memory(tensor), 0) + tensor.numel()
    dropped, wrong = [], []
    for name, entry in entries.items():
        if held.get(_memory(read[name]), 0) >= entry.size:
            fits = holds(read[name], entry)
        elif _unused(module, name) and not any(True for _ in _places(module, name)):
            dropped.append(name)
            continue
        else:
            fits = any(holds(place, entry) for place in _places(module, name, entry.shape))
        if not fits:
            wrong.append(name)
    if wrong:
        raise SourceError(_differ(folder, module, wrong))
    return tuple(dropped)


def _places(module: Any, name: str, shape: tuple[int, ...] | None = None) -> Iterator[Tensor]:
    """Where a module may hold what a file has by a name, the likeliest first.

    shape: of what the file has. A tie may have taken it to any place of that shape.
    """
    from transformers.core_model_loading import revert_weight_conversion

    state = module.state_dict()
    base = f"{module.base_model_prefix}."
    for known in (state, revert_weight_conversion(module, state)):
        for name_there in (name, base + name, name.removeprefix(base)):
            if name_there in known:
                yield known[name_there]
    if shape is not None:
        yield from (tensor for tensor in state.values() if tensor.shape == shape)


def _unused(module: Any, name: str) -> bool:
    """Whether transformers lists a name of a file as one that the class has no use for."""
    return any(re.search(each, name) for each in module._keys_to_ignore_on_load_unexpected or ())


def _differ(folder: Path, module: nn.Module, wrong: list[str]) -> str:
    said = (
        f"The weights in {folder} hold other values for {some(sorted(wrong))} than the "
        f"{type(module).__name__} that was made of them"
    )
    tied = next((group for group in ties(module) if set(group) & set(wrong)), None)
    if tied is None:
        return f"{said}. Save the model again with the versions of the libraries that are here."
    return (
        f"{said}: it makes one parameter of {' and '.join(tied)}, as config.json says, and in the "
        "file they differ. Set tie_word_embeddings to false in config.json if the file is right."
    )


def _state(module: nn.Module) -> dict[str, Tensor]:
    return module.state_dict(keep_vars=True)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()

"""In which type each tensor is kept: a model computes in float32, and its files keep what they had.

A checkpoint may be in bfloat16, float16, or some of each. Its values are exact in float32. What is
made anew of them, such as a merged weight, is rounded to the type that it will be kept in at once,
so that every score is of the weights as they are saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from ffmerge_core.models.structure import parts, plain_state

# A tensor's name in the model → its type in the files, where it is not the one in memory.
Types = Mapping[str, torch.dtype]


def as_kept(tensor: Tensor, kept: torch.dtype | None) -> Tensor:
    """Rounded to the type that it is kept in; as it is where that type cannot hold its values."""
    if kept is None or kept == tensor.dtype or not tensor.is_floating_point():
        return tensor
    rounded = tensor.detach().to(kept)
    overflows = bool((rounded.isinf() & ~tensor.isinf()).any())
    return tensor if overflows else rounded


def types_by_tensor(module: nn.Module, types: Types) -> dict[int, torch.dtype]:
    """The `id` of each tensor of a module → the type that it is kept in, if it is another.

    A tensor with several names has a type that holds them all.
    """
    found: dict[int, list[torch.dtype]] = {}
    state = plain_state(module)
    for name, tensor in state.items():
        if tensor.is_floating_point():
            found.setdefault(id(tensor), []).append(types.get(name, tensor.dtype))
    own = {id(tensor): tensor.dtype for tensor in state.values()}
    widest = {key: reduce(torch.promote_types, each) for key, each in found.items()}
    return {key: kept for key, kept in widest.items() if kept != own[key]}


def rounded_as_kept(before: nn.Module, types: Types, after: nn.Module) -> Types:
    """Round what `after` has and `before` has not, in place; the types of `after`'s tensors.

    before: where `after` came from. types: of its tensors.
    """
    if not types:
        return types
    old = plain_state(before)
    own = {id(old[name]): kept for name, kept in types.items() if name in old}
    same = {id(tensor) for tensor in old.values()}
    state = plain_state(after)
    wanted = {
        name: own.get(id(tensor), tensor.dtype) if id(tensor) in same else _of(name, old, types)
        for name, tensor in state.items()
    }
    kept = types_by_tensor(after, wanted)
    result = {}
    for tensor in {id(each): each for each in state.values()}.values():
        if id(tensor) in kept and id(tensor) not in same:
            value = as_kept(tensor, kept[id(tensor)])
            if value.dtype == tensor.dtype:
                # It does not fit.
                del kept[id(tensor)]
            # Not in place: the memory may be the original's.
            tensor.data = value.to(tensor.dtype)
    for name, tensor in state.items():
        if id(tensor) in kept:
            result[name] = kept[id(tensor)]
    return result


def bytes_by_type(module: nn.Module, types: Types) -> dict[str, int]:
    """Bytes of the parameters as they are kept, by type, most first; a tied one counted once."""
    kept = types_by_tensor(module, types)
    counts: dict[str, int] = {}
    for parameter in module.parameters():
        for tensor in parts(parameter).values():
            dtype = kept.get(id(tensor), tensor.dtype)
            name = str(dtype).removeprefix("torch.")
            counts[name] = counts.get(name, 0) + tensor.numel() * dtype.itemsize
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _of(name: str, old: Mapping[str, Tensor], types: Types) -> torch.dtype:
    """The type of a new tensor: of what had its name, or of what stood in the module around it."""
    if name in old:
        return types.get(name, old[name].dtype)
    while name:
        around = [each for each in old if each.startswith(f"{name}.")]
        found = [types.get(each, old[each].dtype) for each in around
                 if old[each].is_floating_point()]  # fmt: skip
        if found:
            return reduce(torch.promote_types, found)
        name = name.rpartition(".")[0]
    return torch.float32

"""Changing a model's FF sublayers without data: copy, permute neurons, tie.

A sublayer's parameters are addressed by role, "<slot>.<leaf>": "in.weight", "in.bias",
"gate.weight", "out.weight", "out.bias", "norm.weight". Members of one group have the
same roles, so the same role can be averaged across them.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from ffmerge_core.models.sublayers import FFSublayer

Weights = dict[str, Tensor]


def shared_copy(model: nn.Module) -> nn.Module:
    """A copy of the module tree whose parameters and buffers are the original's own.

    Costs no tensor memory and keeps ties. Replacing a parameter, putting a hook on or
    switching the mode of the copy leaves the original alone.
    """
    memo = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, memo)


def weights_by_role(model: nn.Module, sublayer: FFSublayer) -> Weights:
    """The sublayer's parameters, not copied. in.weight: (d_ff, d_model) or packed."""
    return {
        f"{role}.{leaf}": parameter
        for role, path in sublayer.modules.items()
        for leaf, parameter in model.get_submodule(path).named_parameters(recurse=False)
    }


def names_by_role(model: nn.Module, sublayer: FFSublayer) -> dict[str, str]:
    """Role → the parameter's full dotted name in the model."""
    return {
        f"{role}.{leaf}": f"{path}.{leaf}"
        for role, path in sublayer.modules.items()
        for leaf, _ in model.get_submodule(path).named_parameters(recurse=False)
    }


def permute_neurons(
    weights: Mapping[str, Tensor], permutation: Tensor, transposed: bool = False
) -> Weights:
    """The same function with its neurons in another order (paper, "Align" and "Merge").

    permutation: (d_ff,) int64; new neuron j is old neuron permutation[j]. Rows of W_in,
    b_in, W_gate and an inner norm, columns of W_out. b_out lives in the residual space
    and stays as it is. transposed: matrices are stored (in, out), so rows are columns.
    """
    return {
        role: _permuted(role, tensor, permutation, transposed) for role, tensor in weights.items()
    }


def set_weights(model: nn.Module, sublayer: FFSublayer, parameters: Mapping[str, Tensor]) -> None:
    """Make `parameters` (by role) the sublayer's own; the same objects twice ties them."""
    for role, tensor in parameters.items():
        slot, leaf = role.split(".", 1)
        module = model.get_submodule(sublayer.modules[slot])
        if not isinstance(tensor, nn.Parameter):
            tensor = nn.Parameter(tensor, requires_grad=getattr(module, leaf).requires_grad)
        setattr(module, leaf, tensor)


def tie(model: nn.Module, members: Sequence[FFSublayer]) -> None:
    """Make the first member's parameters those of all members, in place."""
    weights = weights_by_role(model, members[0])
    for sublayer in members[1:]:
        set_weights(model, sublayer, weights)


def count_parameters(model: nn.Module) -> int:
    """Parameters held, a tied one counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def weight_bytes(model: nn.Module) -> int:
    """Bytes of memory that the parameters take, a tied one counted once. Not a file size."""
    return sum(
        part.numel() * part.element_size()
        for parameter in model.parameters()
        for part in parts(parameter).values()
    )


def is_int8(tensor: Tensor) -> bool:
    """Whether it is a quantised weight (`models.int8`)."""
    return hasattr(tensor, "qdata")


def parts(tensor: Tensor) -> dict[str, Tensor]:
    """The plain tensors that one is made of, by what their names end in: itself, or int8's two."""
    if not is_int8(tensor):
        return {"": tensor}
    return {f".{name}": getattr(tensor, name) for name in ("qdata", "scale")}


def plain_state(model: nn.Module) -> Weights:
    """The state of a model by name, each quantised weight as its parts.

    They are the model's own tensors: a tied one is the same object by each of its names, and what
    is copied into one is in the model.
    """
    return {
        name + part: plain
        for name, tensor in model.state_dict(keep_vars=True).items()
        for part, plain in parts(tensor).items()
    }


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of the state: equal weights, equal fingerprint."""
    digest = hashlib.sha256()
    for name, tensor in sorted(plain_state(model).items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().contiguous().cpu().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _permuted(role: str, tensor: Tensor, permutation: Tensor, transposed: bool) -> Tensor:
    if role == "out.bias":
        return tensor
    columns = (role == "out.weight") != (transposed and tensor.ndim == 2)
    dim = 1 if columns else 0
    # A packed matrix holds W_in and W_gate one after the other: each half is permuted.
    d_ff = permutation.numel()
    halves = [start + permutation for start in range(0, tensor.shape[dim], d_ff)]
    return tensor.index_select(dim, torch.cat(halves))

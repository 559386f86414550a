"""The activation φ of an FF sublayer: the very function that the model calls, and what to call it.

φ is a module of the model, or a plain function that one of its modules holds or that torch has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ffmerge_core.models.sublayers import FUNCTIONAL

Activation = Callable[[Tensor], Tensor]

# For reading alone, where a class's own name would not say it.
_NAMES = {
    "FastGELUActivation": "gelu_tanh",
    "GELUTanh": "gelu_tanh",
    "NewGELUActivation": "gelu_tanh",
    "PytorchGELUTanh": "gelu_tanh",
    "QuickGELU": "quick_gelu",
    "QuickGELUActivation": "quick_gelu",
    "ReLUSquaredActivation": "relu²",
}
# How memory is used, not what is computed.
_IRRELEVANT = ("training", "inplace")


def activation(model: nn.Module, path: str) -> Activation:
    """φ by its dotted path: a module, a function that a module holds, or one of torch's.

    Raises `AttributeError` if there is none.
    """
    if path.startswith(FUNCTIONAL):
        found: Any = getattr(nn.functional, path.removeprefix(FUNCTIONAL))
    else:
        place, _, leaf = path.rpartition(".")
        found = getattr(model.get_submodule(place), leaf)
    if not callable(found):
        raise AttributeError(f"{path} cannot be called")
    return found  # type: ignore[no-any-return]


def name_of(phi: Activation) -> str:
    """What to call it in a table, such as "gelu": its class's name if nothing better is known."""
    own = type(phi).__name__ if isinstance(phi, nn.Module) else _own_name(phi).rpartition(".")[2]
    name = _NAMES.get(own) or own.removesuffix("Activation").lower()
    return "gelu_tanh" if getattr(phi, "approximate", "none") == "tanh" else name


def identity_of(phi: Any) -> str:
    """The same text for two that compute the same: class, settings, and a digest of tensors."""
    if isinstance(phi, partial):
        given = [*map(repr, phi.args), *(f"{key}={value!r}" for key, value in phi.keywords.items())]
        return f"{identity_of(phi.func)}({', '.join(given)})"
    if not isinstance(phi, nn.Module):
        return _function(phi)
    kind = f"{type(phi).__module__}.{type(phi).__qualname__}({', '.join(_settings(phi))})"
    digest = hashlib.sha256()
    # A model that is only planned has shapes and no values.
    own = {name: each for name, each in phi.state_dict().items() if not each.is_meta}
    for name, tensor in sorted(own.items()):
        values = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8)
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(values.numpy().data)
    return f"{kind} of {digest.hexdigest()[:16]}" if own else kind


def _settings(phi: Any) -> Iterator[str]:
    """What an instance holds beside its tensors, by name."""
    for name, value in sorted(vars(phi).items()):
        if name.startswith("_") or name in _IRRELEVANT:
            continue
        if callable(value):
            yield f"{name}={identity_of(value)}"
        elif isinstance(value, bool | int | float | str | tuple | None):
            yield f"{name}={value!r}"
    if isinstance(phi, nn.Module):
        for name, child in phi.named_children():
            yield f"{name}={identity_of(child)}"


def _function(phi: Any) -> str:
    """A function's full name, and what its name does not say."""
    name = f"{getattr(phi, '__module__', None) or 'builtins'}.{_own_name(phi)}"
    if not hasattr(phi, "__qualname__"):  # an object that can be called
        return f"{name}({', '.join(_settings(phi))})" if hasattr(phi, "__dict__") else name
    cells = [cell.cell_contents for cell in getattr(phi, "__closure__", None) or ()]
    # Two functions of one name may have closed over other values.
    return f"{name} with {cells!r}" if cells else name


def _own_name(phi: Any) -> str:
    return str(getattr(phi, "__qualname__", type(phi).__qualname__))

"""Which half of a packed matrix is the gate: libraries differ, so the FF module itself is asked.

The matrix is made to say random numbers, whatever its weights are, and what reaches W_out (or the
norm before it) shows which half went through φ. So it works before any weights are read.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.models.activations import activation
from ffmerge_core.models.structure import shared_copy
from ffmerge_core.models.sublayers import Slot

_ROWS = 5
_NEAR = 0.1


class _ReachedError(Exception):
    """What reaches W_out is known: nothing more of the trial is needed."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


def halves(model: nn.Module, packed: str, after: str, act: str) -> tuple[Slot, Slot]:
    """(up, gate) in the matrix at `packed`. after: the module that φ(gate) · up goes to.

    Raises `UnsupportedModelError` if it holds anything but the two, one after the other.
    """
    place = _common(packed, after)
    width = int(getattr(model.get_submodule(packed), "out_features", 0))
    d_ff = width // 2
    said, found = _trial(model, place, packed, after, width)
    phi = activation(model, act)
    with torch.no_grad():
        first, second = said[..., :d_ff], said[..., d_ff:]
        fits = [
            _is_near(found, phi(gate.clone()), up)
            for gate, up in ((first, second), (second, first))
        ]
    low, high = Slot(packed, (0, d_ff)), Slot(packed, (d_ff, width))
    if fits[0]:
        return high, low
    if fits[1]:
        return low, high
    raise UnsupportedModelError(
        f"{packed} gives {width:,} features, and neither half of them goes through {act} and is "
        "multiplied by the other. This variant of its family is not known here."
    )


def _trial(
    model: nn.Module, place: str, packed: str, after: str, width: int
) -> tuple[Tensor, Tensor]:
    """What the matrix was made to say, and what reached W_out of it: (1, rows, features) both."""
    entry: nn.Module = model.get_submodule(packed)
    weight = entry.weight
    assert isinstance(weight, Tensor)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(1, _ROWS, width, generator=generator)
    # Where the weights are not there yet, the trial goes on with real numbers nevertheless.
    said = drawn.to(weight.dtype) if weight.is_meta else drawn.to(weight.device, weight.dtype)
    inside = shared_copy(model.get_submodule(place)).eval()

    def reached(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        raise _ReachedError(args[0])

    inside.get_submodule(packed.removeprefix(f"{place}.")).register_forward_hook(lambda *_: said)
    inside.get_submodule(after.removeprefix(f"{place}.")).register_forward_pre_hook(reached)
    try:
        with torch.no_grad():
            inside(torch.zeros(1, _ROWS, weight.shape[1], dtype=weight.dtype, device=weight.device))
    except _ReachedError as end:
        return said, end.value
    except Exception as error:  # whatever a module makes of one tensor as its argument
        problem = " ".join(str(error).split()) or type(error).__name__
        raise UnsupportedModelError(
            f"{place or 'The model'} does not run by itself ({problem}), so which half of {packed} "
            "is its gate cannot be told."
        ) from error
    raise UnsupportedModelError(f"{place} ran, and {after} in it did not.")


def _common(one: str, other: str) -> str:
    """The module that holds both."""
    shared = []
    for left, right in zip(one.split("."), other.split("."), strict=False):
        if left != right:
            break
        shared.append(left)
    return ".".join(shared)


def _is_near(found: Tensor, activated: Tensor, up: Tensor) -> bool:
    if found.shape != up.shape or activated.shape != up.shape:
        return False
    expected = (activated * up).double()
    return float((found.double() - expected).norm()) <= _NEAR * float(expected.norm())

"""One forward pass for the proof: what goes into each FF sublayer, and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ffmerge_core.errors import FFMergeError, ProofError
from ffmerge_core.models.structure import Weights, permute_neurons
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.tasks.batch import Batch


@contextmanager
def step(model: nn.Module, failed: str, kind: type[FFMergeError] = ProofError) -> Iterator[None]:
    """Make a sentence of whatever a library raises: the model, the step, the library's words."""
    try:
        yield
    except FFMergeError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise kind(
            f"The {type(model).__name__} cannot be checked: {failed} ({said}). This variant of "
            "its family is not known here, or its configuration is not the weights' own."
        ) from error


def record(
    model: nn.Module,
    sublayers: Sequence[FFSublayer],
    batch: Batch,
    weights: Weights,
    shuffles: Mapping[str, Tensor] | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Each sublayer's real input x and output y in one forward pass.

    shuffles: a sublayer's name → the order that its neurons are in meanwhile.
    """
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str, module: str, side: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if side == "in":
                inputs[name] = args[0]
            else:
                outputs[name] = output

        return model.get_submodule(module).register_forward_hook(hook)

    handles = [
        keep(sublayer.name, slot.module, side)
        for sublayer in sublayers
        for slot, side in ((sublayer.w_in, "in"), (sublayer.w_out, "out"))
    ]
    for sublayer in sublayers:
        if (shuffle := (shuffles or {}).get(sublayer.name)) is not None:
            for role, path in sublayer.modules.items():
                handles += _shuffling(model.get_submodule(path), role, sublayer, shuffle)
    try:
        with step(model, "it does not run on a small batch of noise"), torch.no_grad():
            # A merged model has tied FF sublayers; here each position has weights of its own.
            torch.func.functional_call(
                model, weights, batch.args, dict(batch.kwargs), tie_weights=False
            )
    finally:
        for handle in handles:
            handle.remove()
    missing = [s.name for s in sublayers if s.name not in inputs or s.name not in outputs]
    if missing:
        raise ProofError(
            f"{missing[0]} never ran in a forward pass: the declared modules are not the ones "
            "the model uses."
        )
    return {s.name: (inputs[s.name], outputs[s.name]) for s in sublayers}


def _shuffling(
    module: nn.Module, role: str, sublayer: FFSublayer, shuffle: Tensor
) -> list[torch.utils.hooks.RemovableHandle]:
    """While a module of a sublayer runs, its neurons are in another order.

    One matrix is held twice at a time, and not all of them.
    """
    own: list[dict[str, nn.Parameter | None]] = []

    def before(module: nn.Module, args: object) -> None:
        own.append(dict(module._parameters))
        held = {f"{role}.{leaf}": each for leaf, each in own[-1].items() if each is not None}
        for name, tensor in permute_neurons(held, shuffle, sublayer.transposed).items():
            leaf = name.split(".", 1)[1]
            module._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)

    def after(module: nn.Module, args: object, output: object) -> None:
        module._parameters.update(own.pop())

    return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]

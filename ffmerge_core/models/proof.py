"""Every load proves that the declared FF weights compute what the model computes.

On a small batch: the output recomputed from the handles equals the sublayer's real output;
permuting the neurons of every sublayer leaves the model's FF outputs equal; permuting W_in
alone changes them clearly (or the test would have no power).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ffmerge_core.errors import ProofError
from ffmerge_core.models.activations import ACTIVATIONS
from ffmerge_core.models.int8 import refuse_int8
from ffmerge_core.models.structure import (
    Weights,
    names_by_role,
    permute_neurons,
    shared_copy,
    weights_by_role,
)
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.tasks.batch import Batch

# Relative to the output's norm. Rounding differs between a fused and a plain product by
# about 1e-6 in float32 and 1e-2 in bfloat16; a wrong matrix is off by about 1.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9, torch.float16: 2e-2, torch.bfloat16: 5e-2}
_CLEARLY = 1e-2


def prove(model: nn.Module, sublayers: Sequence[FFSublayer], batch: Batch) -> None:
    """Raise `ProofError` naming the first sublayer that is not what it is declared to be."""
    refuse_int8(model, sublayers, ProofError)
    probe = shared_copy(model).eval()
    real = _record(probe, sublayers, batch)
    generator = torch.Generator().manual_seed(0)
    permuted: Weights = {}
    for sublayer in sublayers:
        x, y = real[sublayer.name]
        weights = weights_by_role(probe, sublayer)
        shuffle = torch.randperm(sublayer.d_ff, generator=generator)
        _prove_one(probe, sublayer, weights, shuffle, x, y)
        names = names_by_role(probe, sublayer)
        shuffled = permute_neurons(weights, shuffle, sublayer.transposed)
        permuted |= {names[role]: tensor for role, tensor in shuffled.items()}
    again = _record(probe, sublayers, batch, permuted)
    for sublayer in sublayers:
        error = _distance(again[sublayer.name][1], real[sublayer.name][1])
        if error > _tolerance(real[sublayer.name][1]):
            raise ProofError(
                f"{sublayer.name}: permuting the neurons of its declared weights changes the "
                f"model (relative change {error:.1e}). Some weight of this family is not "
                "declared; nothing was merged."
            )


def recompute(
    model: nn.Module, sublayer: FFSublayer, weights: Mapping[str, Tensor], x: Tensor
) -> Tensor:
    """y = W_out norm(φ(gate) · up) + b_out from the handles alone. x: (…, d_model)."""

    def linear(inputs: Tensor, role: str, rows: tuple[int, int] | None = None) -> Tensor:
        weight, bias = weights[f"{role}.weight"], weights.get(f"{role}.bias")
        if sublayer.transposed:
            weight = weight.T
        if rows is not None:
            weight = weight[slice(*rows)]
            bias = bias[slice(*rows)] if bias is not None else None
        return nn.functional.linear(inputs, weight, bias)

    up = linear(x, "in", sublayer.w_in.rows)
    activation = ACTIVATIONS[sublayer.activation]
    if sublayer.w_gate is None:
        inside = activation(up)
    else:
        slot = "gate" if "gate.weight" in weights else "in"
        inside = activation(linear(x, slot, sublayer.w_gate.rows)) * up
    if sublayer.norm is not None:
        values = {
            role.split(".", 1)[1]: tensor
            for role, tensor in weights.items()
            if role.startswith("norm.")
        }
        inside = torch.func.functional_call(model.get_submodule(sublayer.norm), values, (inside,))
    return linear(inside, "out")


def _prove_one(
    model: nn.Module,
    sublayer: FFSublayer,
    weights: Weights,
    shuffle: Tensor,
    x: Tensor,
    y: Tensor,
) -> None:
    name = sublayer.name
    if not bool(torch.isfinite(y).all()):
        raise ProofError(
            f"{name} gives values that are not finite (NaN or infinity) on a small batch of "
            "noise. The weights look damaged; load another copy."
        )
    try:
        with torch.no_grad():
            error = _distance(recompute(model, sublayer, weights, x), y)
            alone = permute_neurons(weights, shuffle, sublayer.transposed) | {
                role: weights[role] for role in weights if role.split(".")[0] in ("out", "norm")
            }
            change = _distance(recompute(model, sublayer, alone, x), y)
    except RuntimeError as problem:
        raise ProofError(f"{name}: its declared weights do not fit together ({problem}).") from None
    if error > _tolerance(y):
        raise ProofError(
            f"{name}: its output recomputed from the declared weights is off by {error:.1e} "
            "(relative). The family is declared wrongly for this model; nothing was merged."
        )
    if change < _CLEARLY:
        raise ProofError(
            f"{name}: shuffling W_in alone changes its output by only {change:.1e} (relative), "
            "so the proof has no power here. Are its weights all equal or zero?"
        )


def _record(
    model: nn.Module, sublayers: Sequence[FFSublayer], batch: Batch, weights: Weights | None = None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Each sublayer's real input x and output y in one forward pass."""
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
    try:
        with torch.no_grad():
            # A merged model has tied FF sublayers; here each position has weights of its own.
            torch.func.functional_call(
                model, weights or {}, batch.args, dict(batch.kwargs), tie_weights=False
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


def _distance(found: Tensor, expected: Tensor) -> float:
    """Relative distance; a bias common to both must not hide a change, hence the centring."""
    if found.shape != expected.shape:
        return float("inf")
    flat = expected.reshape(-1, expected.shape[-1]).double()
    spread = float((flat - flat.mean(0)).norm()) or float(flat.norm()) or 1.0
    return float((found.reshape(flat.shape).double() - flat).norm()) / spread


def _tolerance(tensor: Tensor) -> float:
    return _TOLERANCE[tensor.dtype]

"""Every load proves that the declared FF weights compute what the model computes.

On a small batch: the output recomputed from the handles equals the sublayer's real output;
permuting the neurons of every sublayer leaves the model's FF outputs equal; permuting W_in
alone changes them clearly (or the test would have no power).

Some weights give it none: a W_out or W_in of zeros, as in a pruned or a freshly added block, or
neurons that are all equal. Which module computes what does not depend on the values in it, so
such a sublayer is proven with drawn weights in the place of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ffmerge_core.errors import ProofError, UnsupportedModelError
from ffmerge_core.models.activations import activation
from ffmerge_core.models.families import Family
from ffmerge_core.models.int8 import refuse_int8
from ffmerge_core.models.one_pass import record, step
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
# Rounding of every layer before adds to that of one.
_THROUGH = 10
_ROUNDING = 1e-12


def find_and_prove(
    model: nn.Module, family: Family, sublayers: Sequence[FFSublayer] | None = None
) -> tuple[tuple[FFSublayer, ...], tuple[str, ...]]:
    """The FF sublayers that a family finds, proven, and the names of those `prove` gives.

    sublayers: where they are known already. Whatever a library or a declaration raises on the way
    is an `UnsupportedModelError` or a `ProofError` that says at which step.
    """
    if sublayers is None:
        with step(model, "its FF sublayers could not be listed", UnsupportedModelError):
            sublayers = family.find(model)
    with step(model, "no example for it could be made"):
        batch = family.example(model)
    return tuple(sublayers), prove(model, sublayers, batch)


def refuse_adapters(model: nn.Module) -> None:
    """`UnsupportedModelError` for a model that peft wrapped, or whose matrices it wrapped."""
    for path, module in model.named_modules():
        if type(module).__module__.split(".", 1)[0] == "peft":
            where = f"at {path}" if path else "around it"
            raise UnsupportedModelError(
                f"The model holds an adapter ({type(module).__name__} {where}), and a merge "
                "changes whole weights alone. Add it to them first, with peft's "
                "model.merge_and_unload(), and give the model that this returns."
            )


def prove(model: nn.Module, sublayers: Sequence[FFSublayer], batch: Batch) -> tuple[str, ...]:
    """Raise `ProofError` naming the first sublayer that is not what it is declared to be.

    The names of those whose own weights give the proof no power; drawn ones do.
    """
    refuse_int8(model, sublayers, ProofError)
    probe = shared_copy(model).eval()
    powerless = _prove_with({}, probe, sublayers, batch)
    if powerless:
        drawn: Weights = {}
        for number, sublayer in enumerate(powerless):
            drawn |= _drawn(probe, sublayer, seed=number)
        if still := _prove_with(drawn, probe, powerless, batch):
            raise ProofError(
                f"{still[0].name}: shuffling W_in alone hardly changes its output, with its own "
                "weights and with drawn ones, so the proof has no power here. Does its activation "
                "let anything through?"
            )
    return tuple(sublayer.name for sublayer in powerless)


def _prove_with(
    values: Weights, probe: nn.Module, sublayers: Sequence[FFSublayer], batch: Batch
) -> list[FFSublayer]:
    """Those on which the proof has no power, with `values` (by name) in the model's place."""
    real = record(probe, sublayers, batch, values)
    generator = torch.Generator().manual_seed(0)
    shuffles: dict[str, Tensor] = {}
    powerless = []
    for sublayer in sublayers:
        names = names_by_role(probe, sublayer)
        own = weights_by_role(probe, sublayer)
        weights = {role: values.get(name, own[role]) for role, name in names.items()}
        shuffle = torch.randperm(sublayer.d_ff, generator=generator)
        x, y = real[sublayer.name]
        if not _prove_one(probe, sublayer, weights, shuffle, x, y):
            powerless.append(sublayer)
        shuffles[sublayer.name] = shuffle
    again = record(probe, sublayers, batch, values, shuffles)
    for sublayer in sublayers:
        error = _distance(again[sublayer.name][1], real[sublayer.name][1])
        if error > _THROUGH * _tolerance(real[sublayer.name][1]):
            raise ProofError(
                f"{sublayer.name}: permuting the neurons of its declared weights changes the "
                f"model (relative change {error:.1e}). Some weight of this family is not "
                "declared; nothing was merged."
            )
    return powerless


def _drawn(model: nn.Module, sublayer: FFSublayer, seed: int) -> Weights:
    """Random weights of a sublayer's shapes by name, so scaled that what they give stays near 1."""
    generator = torch.Generator().manual_seed(seed)
    own, drawn = weights_by_role(model, sublayer), {}
    for role, name in names_by_role(model, sublayer).items():
        like = own[role]
        values = torch.randn(like.shape, generator=generator, dtype=torch.float32)
        if like.ndim > 1:
            values /= like.shape[0 if sublayer.transposed else 1] ** 0.5
        drawn[name] = values.to(like)
    return drawn


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
    phi = activation(model, sublayer.act)
    if sublayer.w_gate is None:
        inside = phi(up)
    else:
        slot = "gate" if "gate.weight" in weights else "in"
        inside = phi(linear(x, slot, sublayer.w_gate.rows)) * up
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
) -> bool:
    """Whether the proof of one sublayer has power; `ProofError` if it fails."""
    name = sublayer.name
    if not bool(torch.isfinite(y).all()):
        raise ProofError(
            f"{name} gives values that are not finite (NaN or infinity) on a small batch of "
            "noise. The weights look damaged; load another copy."
        )
    try:
        with torch.no_grad():
            by_neuron = _acts_by_neuron(model, sublayer, shuffle, x)
            error = _distance(recompute(model, sublayer, weights, x), y)
            inner = {role: weights[role] for role in weights if role.startswith(("in.", "gate."))}
            alone = weights | permute_neurons(inner, shuffle, sublayer.transposed)
            change = _distance(recompute(model, sublayer, alone, x), y)
    except Exception as problem:  # a norm or an activation may raise anything
        said = " ".join(str(problem).split()) or type(problem).__name__
        raise ProofError(f"{name}: its declared weights do not fit together ({said}).") from None
    if not by_neuron:
        raise ProofError(
            f"{name}: its activation {sublayer.activation} ({sublayer.act}) does not treat all "
            "neurons alike, so they cannot be put into another order, and no merge suits it."
        )
    if error > _tolerance(y):
        raise ProofError(
            f"{name}: its output recomputed from the declared weights is off by {error:.1e} "
            "(relative). The family is declared wrongly for this model; nothing was merged."
        )
    return change >= _CLEARLY


def _acts_by_neuron(model: nn.Module, sublayer: FFSublayer, shuffle: Tensor, like: Tensor) -> bool:
    """Whether permuting before φ and after it is the same. like: of the kind that the model has."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(7, sublayer.d_ff, generator=generator).to(like)
    phi = activation(model, sublayer.act)
    # Copies, since it may write to what it is given.
    after = phi(drawn.clone())[:, shuffle]
    return _distance(phi(drawn[:, shuffle].clone()), after) <= _tolerance(after)


def _distance(found: Tensor, expected: Tensor) -> float:
    """Relative distance; a bias common to both must not hide a change, hence the centring."""
    if found.shape != expected.shape:
        return float("inf")
    flat = expected.reshape(-1, expected.shape[-1]).double()
    norm, spread = float(flat.norm()), float((flat - flat.mean(0)).norm())
    if spread <= _ROUNDING * norm:
        # The same for every token: what is left after centring is how the mean was rounded.
        spread = norm or 1.0
    return float((found.reshape(flat.shape).double() - flat).norm()) / spread


def _tolerance(tensor: Tensor) -> float:
    return _TOLERANCE[tensor.dtype]

"""Carrying out the plans that reduce without sharing: the values of what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ffmerge_core.analysis.features import Features
from ffmerge_core.errors import PlanError, ProofError
from ffmerge_core.models.activations import ACTIVATIONS
from ffmerge_core.models.layout import lay_out
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.structure import set_weights, shared_copy, weights_by_role
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import DropLayers, Factor, Narrow, Plan, Reduction
from ffmerge_core.progress import Report, silent
from ffmerge_core.storage.folders import CONFIG


def reduce(
    model: LoadedModel, plan: Reduction, feats: Features | None, report: Report = silent
) -> LoadedModel:
    """A new model, reduced by a checked plan. What was not reduced is shared with `model`."""
    expected = parameters_left(model, plan)
    reduced = shared_copy(model.model)
    left = lay_out(reduced, model.family, model.sublayers, plan)
    named = plan.layers if isinstance(plan, DropLayers) else plan.sublayers
    members = [sublayer for sublayer in model.sublayers if sublayer.name in named]
    for done, sublayer in enumerate(members):
        report(done, len(members), f"Reducing {sublayer.name}")
        if isinstance(plan, Factor):
            _fill_factors(model.model, reduced, sublayer, plan.rank)
        elif isinstance(plan, Narrow):
            assert feats is not None
            weights = weights_by_role(model.model, sublayer)
            set_weights(reduced, sublayer, _narrowed(weights, feats, sublayer, plan.width))
    report(len(members), len(members), "Reduced")
    result = replace(
        model,
        model=reduced,
        sublayers=left,
        plan=plan,
        settings=_settings(model, left, plan),
    )
    if result.n_parameters != expected:
        raise ProofError(
            f"The reduced model holds {result.n_parameters:,} parameters where {expected:,} were "
            "expected; some of its weights were tied before."
        )
    return result


def parameters_left(model: LoadedModel, plan: Plan) -> int:
    """How many parameters `model` holds after a plan that fits it; nothing is carried out."""
    if not isinstance(plan, DropLayers):
        return model.n_parameters - plan.parameters_removed(model.sublayers)
    return model.n_parameters - sum(
        parameter.numel()
        for sublayer in model.sublayers
        if sublayer.name in plan.layers
        for parameter in model.model.get_submodule(sublayer.block).parameters()
    )


def fits(plan: Plan, sublayers: Sequence[FFSublayer]) -> bool:
    """Whether a plan can be carried out on a model of these sublayers."""
    try:
        plan.check(sublayers)
    except PlanError:
        return False
    return True


def truncated_svd(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """B (rows, rank) and A (rank, columns), B A the nearest to `matrix` in the Frobenius norm.

    The singular values are shared out evenly, so that neither factor dwarfs the other.
    """
    left, values, right = torch.linalg.svd(matrix.float(), full_matrices=False)
    root = values[:rank].sqrt()
    return (left[:, :rank] * root).to(matrix.dtype), (root[:, None] * right[:rank]).to(matrix.dtype)


def neuron_shares(activations: Tensor, w_out: Tensor) -> Tensor:
    """How much each neuron puts into the output, (d_ff,).

    activations: (n_tokens, d_ff), what W_out receives. w_out: (d_model, d_ff).
    """
    shares: Tensor = activations.norm(dim=0) * w_out.norm(dim=0)
    return shares


def _fill_factors(original: nn.Module, reduced: nn.Module, sublayer: FFSublayer, rank: int) -> None:
    for role, path in sublayer.modules.items():
        if role == "norm":
            continue
        factors: Any = reduced.get_submodule(path)
        weight = original.get_submodule(path).weight
        assert isinstance(weight, Tensor)
        with torch.no_grad():
            left, right = truncated_svd(weight.T if sublayer.transposed else weight, rank)
            factors[0].weight.copy_(right)
            factors[1].weight.copy_(left)


def _narrowed(
    weights: Mapping[str, Tensor], feats: Features, sublayer: FFSublayer, width: int
) -> dict[str, Tensor]:
    """By role, the weights of the `width` neurons of the largest share, in their old order."""
    with torch.no_grad():
        w_out = weights["out.weight"].T if sublayer.transposed else weights["out.weight"]
        activations = ACTIVATIONS[sublayer.activation](feats[sublayer.name].pre)
        shares = neuron_shares(activations, w_out.float())
        kept = shares.argsort(descending=True, stable=True)[:width].sort().values
        rows, columns = (1, 0) if sublayer.transposed else (0, 1)
        narrowed = {
            "in.weight": weights["in.weight"].index_select(rows, kept),
            "out.weight": weights["out.weight"].index_select(columns, kept),
        }
        if "in.bias" in weights:
            narrowed["in.bias"] = weights["in.bias"][kept]
    return narrowed


def _settings(
    model: LoadedModel, left: tuple[FFSublayer, ...], plan: Reduction
) -> Mapping[str, Mapping[str, Any]]:
    """What timm is told to build; transformers' models carry their own configuration."""
    config = model.settings.get(CONFIG)
    if config is None or not isinstance(plan, DropLayers):
        return model.settings
    depth = {model.family.depths["encoder"]: len(left)}
    arguments = {**(config.get("model_args") or {}), **depth}
    return {**model.settings, CONFIG: {**config, "model_args": arguments}}

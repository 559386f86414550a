"""Carrying out a plan: align, average, tie (Verma et al., arXiv 2501.06126)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ffmerge_core.analysis.features import Features
from ffmerge_core.errors import PlanError, ProofError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.structure import (
    Weights,
    permute_neurons,
    set_weights,
    shared_copy,
    weights_by_role,
)
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import MergePlan, in_layer_order
from ffmerge_core.progress import Report, silent


@dataclass(frozen=True)
class AlignedPair:
    """How well a sublayer's neurons match its anchor's: mean correlation before and after."""

    anchor: str
    sublayer: str
    before: float
    after: float


def apply(
    model: LoadedModel, plan: MergePlan, feats: Features | None = None, report: Report = silent
) -> LoadedModel:
    """A new model with each group of the plan replaced by one tied sublayer.

    It shares every untouched tensor with `model`, which stays as it was. Tying saves
    parameters, memory and disk; the sublayer still runs at every position.
    feats: needed by method "permute"; must come from the same weights.
    Raises `PlanError` if the plan does not fit.
    """
    plan.check(model.sublayers)
    if model.plan is not None:
        raise PlanError("This model is already merged. Apply a plan to the original model.")
    if plan.method == "permute":
        _check_features(model, feats)
    by_name = {sublayer.name: sublayer for sublayer in model.sublayers}
    merged = shared_copy(model.model)
    total = sum(len(group) for group in plan.groups)
    done = 0
    for group in plan.groups:
        ordered = in_layer_order(group, model.sublayers)
        members = [by_name[name] for name in ordered]
        if feats is not None and plan.method == "permute":
            for name in ordered:
                report(done, total, f"Matching the neurons of {name}")
                if name != plan.anchor_of(ordered):
                    feats.match(plan.anchor_of(ordered), name)
                done += 1
        weights = merge_group(model, members, by_name[plan.anchor_of(ordered)], plan, feats)
        for sublayer in members:
            # From the second on, these are the Parameters that the first now owns: tied.
            set_weights(merged, sublayer, weights)
            weights = weights_by_role(merged, sublayer)
    report(total, total, "Merged")
    result = replace(model, model=merged, plan=plan)
    expected = model.n_parameters - plan.parameters_removed(model.sublayers)
    if result.n_parameters != expected:
        raise ProofError(
            f"The merged model holds {result.n_parameters:,} parameters where {expected:,} were "
            "expected; some weights of the group were tied before."
        )
    return result


def merge_group(
    model: LoadedModel,
    members: list[FFSublayer],
    anchor: FFSublayer,
    plan: MergePlan,
    feats: Features | None,
) -> Weights:
    """The one sublayer that replaces `members`, by role. New tensors."""
    if plan.method == "random":
        return _random_weights(model, members, plan.seed)
    if plan.method == "copy":
        own = weights_by_role(model.model, anchor)
        return {role: tensor.detach().clone() for role, tensor in own.items()}
    total: Weights = {}
    with torch.no_grad():
        for sublayer in members:
            weights = weights_by_role(model.model, sublayer)
            if plan.method == "permute" and sublayer is not anchor:
                assert feats is not None
                weights = permute_neurons(
                    weights,
                    feats.match(anchor.name, sublayer.name).permutation,
                    sublayer.transposed,
                )
            for role, tensor in weights.items():
                # fp64 sums: averaging identical sublayers must give them back exactly.
                total[role] = total.get(role, 0) + tensor.double()
        return {
            role: (tensor / len(members)).to(weights[role].dtype) for role, tensor in total.items()
        }


def _random_weights(model: LoadedModel, members: list[FFSublayer], seed: int) -> Weights:
    """Normal values with each role's mean and deviation over the members."""
    # Another draw for another group; the same one however the groups are ordered.
    generator = torch.Generator().manual_seed(1009 * seed + members[0].index)
    owned = [weights_by_role(model.model, sublayer) for sublayer in members]
    drawn: Weights = {}
    with torch.no_grad():
        for role, tensor in owned[0].items():
            every = torch.stack([weights[role] for weights in owned]).double()
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            drawn[role] = (every.mean() + every.std() * noise).to(tensor.dtype)
    return drawn


def aligned_pairs(plan: MergePlan, feats: Features) -> tuple[AlignedPair, ...]:
    """The plan's matches, anchor by anchor; empty for methods that do not align."""
    if plan.method != "permute":
        return ()
    pairs = []
    for group in plan.groups:
        ordered = in_layer_order(group, feats.sublayers)
        anchor = plan.anchor_of(ordered)
        for name in ordered:
            if name != anchor:
                match = feats.match(anchor, name)
                pairs.append(AlignedPair(anchor, name, match.before, match.after))
    return tuple(pairs)


def _check_features(model: LoadedModel, feats: Features | None) -> None:
    if feats is None:
        raise PlanError('Method "permute" needs features: pass calibrate(model) as well.')
    if feats.revision != model.revision:
        raise PlanError(
            "The features were taken from other weights than this model's. Calibrate it again."
        )

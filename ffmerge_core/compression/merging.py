"""Carrying out a plan: align, average, tie (Verma et al., arXiv 2501.06126)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ffmerge_core.analysis.features import Features
from ffmerge_core.checks import expect
from ffmerge_core.compression.merge_methods import Group, shared_weights
from ffmerge_core.compression.reducing import reduce
from ffmerge_core.errors import PlanError, ProofError
from ffmerge_core.kinds import resolve
from ffmerge_core.models.int8 import refuse_int8
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.stored import rounded_as_kept
from ffmerge_core.models.structure import set_weights, shared_copy, weights_by_role
from ffmerge_core.plan import REPAIRS, Merge, MergePlan, Plan, in_layer_order
from ffmerge_core.progress import Report, silent


@dataclass(frozen=True)
class AlignedPair:
    """How well a sublayer's neurons match its anchor's.

    Attributes
    ----------
    anchor, sublayer : str
        Their names.
    before, after : float
        Mean correlation of neuron j with neuron j, and with its match, in [-1, 1].

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> pair = fm.AlignedPair("encoder.4", "encoder.5", before=0.01, after=0.42)
    >>> pair.after > pair.before
    True
    """

    anchor: str
    sublayer: str
    before: float
    after: float


def apply(
    model: LoadedModel, plan: Plan, feats: Features | None = None, report: Report = silent
) -> LoadedModel:
    """A new model, changed as the plan says: merged, or reduced without sharing.

    By method "permute" (Verma et al., arXiv 2501.06126, section 3): the neurons of each group's
    members are permuted to match the anchor's ("Align"), the weights are averaged and shared
    ("Merge"). The new model shares every untouched tensor with `model`, which stays as it was.
    Tying saves parameters, memory and disk, not compute: the sublayer still runs at every position.

    Parameters
    ----------
    model : LoadedModel
        As it was loaded; nothing was done to it yet.
    plan : Plan
        What to do.
    feats : Features, optional
        From `calibrate`, of the same weights: needed where the method's record says "features".
    report : Report, optional
        Told how far it is; may raise `Cancelled`.

    Returns
    -------
    LoadedModel
        Its `sublayers` are those that can still be merged: dropped layers are gone and the rest is
        numbered anew, dropped and factored FF sublayers are gone, narrowed ones have their width.

    Raises
    ------
    PlanError
        If the plan does not fit the model, or needs features that are not given; for arguments of
        another type.
    ProofError
        If another number of parameters is left than the plan says.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> feats = fm.calibrate(model, tokens=2_000)
    >>> merged = fm.apply(model, fm.MergePlan(groups=(("encoder.4", "encoder.5"),)), feats)
    >>> model.n_parameters, merged.n_parameters
    (602058, 568970)
    >>> blocks = merged.model.blocks
    >>> blocks[4].mlp.fc1.weight is blocks[5].mlp.fc1.weight
    True
    """
    expect(PlanError, model=(model, LoadedModel), plan=(plan, Plan))
    expect(PlanError, feats=(feats, Features | None), report=(report, Callable))
    _check_untouched(model)
    plan.check(model.sublayers)
    return applied(model, plan, feats, report)


def applied(
    model: LoadedModel, plan: Plan, feats: Features | None, report: Report = silent
) -> LoadedModel:
    """As `apply`, for a plan that was checked."""
    _check_untouched(model)
    if plan.needs_features:
        _check_features(model, plan, feats)
    make = _merge if isinstance(plan, MergePlan) else reduce
    result = make(model, plan, feats, report)
    return replace(result, stored=rounded_as_kept(model.model, model.stored, result.model))


def _merge(model: LoadedModel, plan: Plan, feats: Features | None, report: Report) -> LoadedModel:
    assert isinstance(plan, MergePlan)
    assert isinstance(plan.record, Merge)
    by_name = {sublayer.name: sublayer for sublayer in model.sublayers}
    if feats is not None:
        align(plan, feats, report)
    merged = shared_copy(model.model)
    for group in plan.groups:
        ordered = in_layer_order(group, model.sublayers)
        members = tuple(by_name[name] for name in ordered)
        weights = shared_weights(
            plan.record,
            Group(
                model=model.model,
                members=members,
                anchor=by_name[plan.anchor_of(ordered)],
                stack=model.stacks.index(members[0].stack),
                seed=plan.seed,
                feats=feats,
            ),
        )
        for sublayer in members:
            # From the second on, these are the Parameters that the first now owns: tied.
            set_weights(merged, sublayer, weights)
            weights = weights_by_role(merged, sublayer)
    expected = model.n_parameters - plan.parameters_removed(model.sublayers)
    if plan.repair is not None:
        expected += resolve(REPAIRS[plan.repair].work)(model, merged, plan, feats, report)
    report(1, 1, "Merged")
    result = replace(model, model=merged, plan=plan)
    if result.n_parameters != expected:
        raise ProofError(
            f"The merged model holds {result.n_parameters:,} parameters where {expected:,} were "
            "expected; some weights of the group were tied before."
        )
    return result


def align(plan: Plan, feats: Features, report: Report = silent) -> None:
    """Match the neurons that a checked plan averages; `apply` does no more of it then.

    Nothing for a plan that does not align.
    """
    if not isinstance(plan, MergePlan) or not plan.aligns:
        return
    groups = [in_layer_order(group, feats.sublayers) for group in plan.groups]
    pairs = [
        (plan.anchor_of(group), name)
        for group in groups
        for name in group
        if name != plan.anchor_of(group)
    ]
    for done, (anchor, name) in enumerate(pairs):
        report(done, len(pairs), f"Matching the neurons of {name}")
        feats.match(anchor, name)
    report(len(pairs), len(pairs), "Matched")


def aligned_pairs(plan: Plan, feats: Features) -> tuple[AlignedPair, ...]:
    """The plan's matches, anchor by anchor; empty for plans that do not align."""
    if not isinstance(plan, MergePlan) or not plan.aligns:
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


def _check_untouched(model: LoadedModel) -> None:
    if model.plan is not None:
        raise PlanError(
            "This model is already merged or reduced. Apply a plan to the original model."
        )
    refuse_int8(model.model, model.sublayers, PlanError)


def _check_features(model: LoadedModel, plan: Plan, feats: Features | None) -> None:
    if feats is None:
        what = f'Method "{plan.method}"'
        if isinstance(plan, MergePlan) and not plan.aligns:
            what = f'Repair "{plan.repair}"'
        raise PlanError(f"{what} needs features: pass calibrate(model) as well.")
    if feats.revision != model.revision:
        raise PlanError(
            "The features were taken from other weights than those of this model. Calibrate the "
            "model again."
        )

"""What a plan is compared with: one plan of every other kind that leaves as many parameters."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ffmerge_core.analysis.calibration import calibrate
from ffmerge_core.analysis.features import Features
from ffmerge_core.checks import expect, one_of, whole
from ffmerge_core.compression.merging import apply
from ffmerge_core.compression.reducing import fits, parameters_left
from ffmerge_core.compression.running import evaluate
from ffmerge_core.errors import PlanError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import (
    METHODS,
    MergePlan,
    Plan,
    Reduction,
    Windowed,
    rivals,
    short,
    stack_of,
)
from ffmerge_core.progress import Report, part, silent

# Plans of one size each, from the one that takes least; a list of them rises in what it takes.
_Sizes = list[tuple[Plan, ...]]
_UNMERGEABLE = "it needs two FF sublayers of one shape in every stack"


def baselines(
    model: LoadedModel,
    budget: Plan | int,
    kinds: Sequence[str] | None = None,
    report: Report = silent,
) -> dict[str, Plan]:
    """One plan of every other kind that leaves as many parameters, or the number nearest to it.

    Of a merge, the same groups by every other method. The other kinds, and all of them where there
    are no groups, take a window of adjacent layers: every one is tried, and the one of the lowest
    validation loss is chosen, untuned. SVD and narrowing take evenly from all FF sublayers. Only
    stacks that the plan changes are touched.

    Parameters
    ----------
    model : LoadedModel
        The original, with a task.
    budget : Plan or int
        A number of parameters, or a plan that leaves them.
    kinds : sequence of str, optional
        Of the methods, such as "vanilla" or "SVD"; by default all but the plan's own.
    report : Report, optional
        Told how far it is; may raise `Cancelled`.

    Returns
    -------
    dict of str to Plan
        By kind; one that cannot leave so few is left out.

    Raises
    ------
    PlanError
        If no kind is left; it says what can be met. For arguments of another type.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> merge = fm.MergePlan(groups=(("encoder.4", "encoder.5"),))
    >>> found = fm.baselines(model, merge, kinds=("vanilla", "SVD"))
    >>> found["vanilla"].groups, found["SVD"].rank
    ((('encoder.4', 'encoder.5'),), 47)
    """
    expect(PlanError, model=(model, LoadedModel), report=(report, Callable))
    found = candidates(model, budget, kinds)
    windows = [plan for plans in found.values() if len(plans) > 1 for plan in plans]
    feats = calibrate(model) if any(plan.needs_features for plan in windows) else None
    tried = len(windows)
    chosen: dict[str, Plan] = {}
    done = 0
    for kind, plans in found.items():
        losses = []
        for plan in plans if len(plans) > 1 else ():
            where = f"Choosing the window, {kind} {short(plan.names)}: "
            told = part(report, done / tried, (done + 1) / tried, where)
            losses.append(_loss(model, plan, feats, told))
            done += 1
        chosen[kind] = plans[losses.index(min(losses))] if losses else plans[0]
    return chosen


def candidates(
    model: LoadedModel, budget: Plan | int, kinds: Sequence[str] | None = None
) -> dict[str, tuple[Plan, ...]]:
    """Kind → the plans that `baselines` chooses among: the windows of the size nearest to it."""
    wanted = _Wanted.of(model, budget)
    asked = _asked(budget, kinds)
    sizes = {kind: _sizes(wanted, kind) for kind in asked}
    met = {kind: _nearest(wanted, each) for kind, each in sizes.items()}
    found = {kind: plans for kind, plans in met.items() if plans}
    if not found or wanted.n_parameters >= model.n_parameters:
        least = [_least(model, each) for each in sizes.values() if each]
        able = f"a number between that and {min(least):,}" if least else "another kind"
        where = (
            f" in {' and '.join(wanted.stacks)}" if set(wanted.stacks) != set(_of(model)) else ""
        )
        raise PlanError(
            f"{wanted.n_parameters:,} parameters cannot be reached{where} by {_listed(asked)}: the "
            f"model has {model.n_parameters:,}. Ask for {able}."
        )
    return found


def unmet(
    model: LoadedModel, budget: Plan | int, kinds: Sequence[str] | None = None
) -> dict[str, str]:
    """Kind → why it has no plan at this budget, in a sentence; empty where every kind has one."""
    wanted = _Wanted.of(model, budget)
    said = {}
    for kind in _asked(budget, kinds):
        sizes = _sizes(wanted, kind)
        record = METHODS[kind]
        name = record.label
        if not sizes:
            reduces = issubclass(record.plan, Reduction)
            why = record.plan.unfit if reduces else _UNMERGEABLE  # type: ignore[attr-defined]
            said[kind] = f"{name} is left out: {why}."
        elif not _nearest(wanted, sizes):
            said[kind] = (
                f"{name} is left out: it leaves at least {_least(model, sizes):,} parameters, and "
                f"{wanted.n_parameters:,} were asked for."
            )
    return said


@dataclass(frozen=True)
class _Wanted:
    """What is asked for: a number of parameters, and whence they may be taken.

    groups: those of a merge, which the other methods merge as well.
    """

    model: LoadedModel
    n_parameters: int
    stacks: tuple[str, ...]
    merge: MergePlan | None

    @classmethod
    def of(cls, model: LoadedModel, budget: Plan | int) -> _Wanted:
        if model.plan is not None:
            raise PlanError(
                "This model is already merged or reduced. Take baselines of the original model."
            )
        expect(PlanError, budget=(budget, Plan | int))
        if not isinstance(budget, Plan):
            return cls(model, whole(PlanError, "budget", budget, 1), _of(model), None)
        budget.check(model.sublayers)
        stacks = tuple(dict.fromkeys(map(stack_of, budget.names))) or _of(model)
        merge = budget if isinstance(budget, MergePlan) else None
        return cls(model, parameters_left(model, budget), stacks, merge)

    @property
    def sublayers(self) -> list[FFSublayer]:
        return [each for each in self.model.sublayers if each.stack in self.stacks]


def _sizes(wanted: _Wanted, kind: str) -> _Sizes:
    """The plans of a kind by size, from the least that it takes; none where it does not fit."""
    chosen = wanted.sublayers
    names = tuple(each.name for each in chosen)
    plans: Any = METHODS[kind].plan
    if issubclass(plans, MergePlan) and wanted.merge is not None:
        return [(replace(wanted.merge, method=kind),)]
    if issubclass(plans, MergePlan):
        return _fitting(wanted.model, _windows(chosen, lambda groups: MergePlan(groups, kind), 2))
    if issubclass(plans, Windowed):
        over = _windows(chosen, lambda groups: plans.over(_flat(groups)), 1, plans.spared)
        return _fitting(wanted.model, over)
    return _around(wanted, plans.sizes(chosen), lambda size: plans.of_size(names, size))


def _windows(
    sublayers: Iterable[FFSublayer],
    plan: Callable[[tuple[tuple[str, ...], ...]], Plan],
    smallest: int,
    spared: int = 0,
) -> _Sizes:
    """For each number of adjacent layers, a plan for each place that they can start at.

    The same window is taken from each stack, which keeps `spared` layers at least.
    """
    stacks: dict[str, list[str]] = {}
    for sublayer in sublayers:
        stacks.setdefault(sublayer.stack, []).append(sublayer.name)
    shortest = min(len(names) for names in stacks.values())
    return [
        tuple(
            plan(tuple(tuple(names[start : start + size]) for names in stacks.values()))
            for start in range(shortest - size + 1)
        )
        for size in range(smallest, shortest - spared + 1)
    ]


def _fitting(model: LoadedModel, sizes: _Sizes) -> _Sizes:
    """Without the windows that cannot be taken: of several shapes, or of a layer that must stay."""
    kept = (tuple(plan for plan in plans if fits(plan, model.sublayers)) for plans in sizes)
    return [plans for plans in kept if plans]


def _around(wanted: _Wanted, sizes: range, plan: Callable[[int], Plan]) -> _Sizes:
    """Of many sizes, the smallest model's and the two on either side of the budget."""
    above = bisect_left(
        sizes, wanted.n_parameters, key=lambda size: parameters_left(wanted.model, plan(size))
    )
    places = sorted({0, above - 1, above} & set(range(len(sizes))), reverse=True)
    return [(plan(sizes[place]),) for place in places]


def _nearest(wanted: _Wanted, sizes: _Sizes) -> tuple[Plan, ...]:
    """The plans of the size that comes nearest to the budget; none if all leave more."""
    if not sizes or _least(wanted.model, sizes) > wanted.n_parameters:
        return ()

    def missed(plans: tuple[Plan, ...]) -> int:
        left = (parameters_left(wanted.model, plan) for plan in plans)
        return min(abs(count - wanted.n_parameters) for count in left)

    return min(sizes, key=missed)


def _least(model: LoadedModel, sizes: _Sizes) -> int:
    return min(parameters_left(model, plan) for plans in sizes for plan in plans)


def _loss(model: LoadedModel, plan: Plan, feats: Features | None, report: Report) -> float:
    loss = evaluate(apply(model, plan, feats), "validation", report).loss
    return math.inf if math.isnan(loss) else loss


def _asked(budget: Plan | int, kinds: Sequence[str] | None) -> tuple[str, ...]:
    allowed = rivals(budget)
    if kinds is None:
        return allowed
    expect(PlanError, kinds=(kinds, Collection[str]))
    for kind in kinds:
        if isinstance(budget, Plan) and kind == budget.method:
            raise PlanError(
                f"kind is {kind!r}, and so is what it is compared with. Name one or more of "
                f"{', '.join(allowed)}."
            )
        one_of(PlanError, "kind", kind, allowed)
    return tuple(kind for kind in allowed if kind in kinds)


def _of(model: LoadedModel) -> tuple[str, ...]:
    return tuple(model.stacks)


def _flat(groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(name for group in groups for name in group)


def _listed(kinds: Sequence[str]) -> str:
    return f"{', '.join(kinds[:-1])} or {kinds[-1]}" if len(kinds) > 1 else kinds[0]

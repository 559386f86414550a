"""What merging is compared with: other plans that leave as many parameters."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import get_args

from ffmerge_core.compression.reducing import parameters_left
from ffmerge_core.errors import PlanError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import (
    DropFF,
    DropLayers,
    Factor,
    MergePlan,
    Method,
    Narrow,
    Plan,
    Reduction,
)


def baselines(model: LoadedModel, plan: MergePlan) -> tuple[Plan, ...]:
    """The same groups by every other method, then `at_budget` of what the merge leaves.

    Only stacks that the plan merges in are reduced. Raises `PlanError` if the plan does not fit.
    """
    plan.check(model.sublayers)
    stacks = {name.rsplit(".", 1)[0] for group in plan.groups for name in group}
    n_parameters = model.n_parameters - plan.parameters_removed(model.sublayers)
    return (
        *(replace(plan, method=method) for method in get_args(Method) if method != plan.method),
        *at_budget(model, n_parameters, tuple(stacks)),
    )


def at_budget(
    model: LoadedModel, n_parameters: int, stacks: Sequence[str] | None = None
) -> tuple[Reduction, ...]:
    """Plans of every kind that leave the nearest to `n_parameters`; of no kind that cannot.

    Every window of adjacent layers to drop, every window of FF sublayers to drop, then SVD and
    narrowing, evenly over all FF sublayers. stacks: those to take from, by default the model's
    own; the same window is taken from each. Layers are few and ranks many, so kinds miss the
    budget by different amounts: `compression.reducing.parameters_left` says what each leaves.
    Raises `PlanError`, saying what can be met, if no kind can leave so few or any so many.
    """
    if model.plan is not None:
        raise PlanError(
            "This model is already merged or reduced. Take baselines of the original model."
        )
    chosen = [each for each in model.sublayers if stacks is None or each.stack in stacks]
    if stacks is not None and (unknown := sorted(set(stacks) - set(model.stacks))):
        raise PlanError(
            f"There is no stack {unknown[0]!r}; this model has {', '.join(model.stacks)}."
        )
    ranks = range(1, min(Factor.most(each) for each in chosen) + 1)
    widths = (
        range(1, min(each.d_ff for each in chosen)) if all(map(Narrow.suits, chosen)) else range(0)
    )
    names = tuple(each.name for each in chosen)
    kinds: tuple[list[list[Reduction]], ...] = (
        _windows(chosen, DropLayers, spared=1),
        _windows(chosen, DropFF, spared=0),
        _around(model, n_parameters, ranks, lambda rank: Factor(names, rank)),
        _around(model, n_parameters, widths, lambda width: Narrow(names, width)),
    )
    found: list[Reduction] = []
    least = model.n_parameters
    for sizes in filter(None, kinds):
        counts = [[parameters_left(model, plan) for plan in plans] for plans in sizes]
        fewest = min(min(each) for each in counts)
        least = min(least, fewest)
        if fewest <= n_parameters:
            nearest = [min(abs(count - n_parameters) for count in each) for each in counts]
            found += sizes[nearest.index(min(nearest))]
    if not found or n_parameters >= model.n_parameters:
        where = f" in {' and '.join(stacks)}" if stacks else ""
        raise PlanError(
            f"{n_parameters:,} parameters cannot be met: the model has {model.n_parameters:,}, and "
            f"reducing it{where} leaves {least:,} at the least. Ask for a number between these."
        )
    return tuple(found)


def _windows(
    sublayers: Iterable[FFSublayer], kind: Callable[[tuple[str, ...]], Reduction], spared: int
) -> list[list[Reduction]]:
    """A list for each number of adjacent layers, of a plan for each place they can start at."""
    stacks: dict[str, list[str]] = {}
    for sublayer in sublayers:
        stacks.setdefault(sublayer.stack, []).append(sublayer.name)
    shortest = min(len(names) for names in stacks.values())
    return [
        [
            kind(tuple(name for names in stacks.values() for name in names[start : start + size]))
            for start in range(shortest - size + 1)
        ]
        for size in range(1, shortest - spared + 1)
    ]


def _around(
    model: LoadedModel, n_parameters: int, sizes: range, plan: Callable[[int], Reduction]
) -> list[list[Reduction]]:
    """The smallest of many sizes, and the two on either side of the budget."""
    above = bisect_left(sizes, n_parameters, key=lambda size: parameters_left(model, plan(size)))
    places = sorted({0, above - 1, above} & set(range(len(sizes))))
    return [[plan(sizes[place])] for place in places]

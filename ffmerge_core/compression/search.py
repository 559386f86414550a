"""Which window of adjacent FF sublayers to merge: all of them tried, none of them tuned.

One calibration pass serves every window (Verma et al., "Select"). Scores are of validation data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ffmerge_core.analysis.features import Features, similarity_matrix
from ffmerge_core.analysis.prediction import MEAN_CKA, MEAN_CORRELATION
from ffmerge_core.checks import expect, one_of
from ffmerge_core.compression.merging import apply
from ffmerge_core.compression.reducing import fits, parameters_left
from ffmerge_core.compression.running import evaluate
from ffmerge_core.errors import PlanError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import (
    ANCHORS,
    METHODS,
    Anchor,
    MergePlan,
    Plan,
    Windowed,
    searched,
)
from ffmerge_core.plan.words import short, stack_of
from ffmerge_core.progress import Report, silent, steps
from ffmerge_core.tasks.evaluation import Evaluation


class Window(NamedTuple):
    """Adjacent sublayers, a group for each stack, and the layer that they start at."""

    start: int
    groups: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for group in self.groups for name in group)


def windows(sublayers: Sequence[FFSublayer], remove: int, stack: str | None = None) -> list[Window]:
    """Every window whose merge removes `remove` FF sublayers.

    stack: of a model with two, the one to take from; "both" takes half from each, from the
    same layer on. Raises `PlanError`, saying what can be removed, if there is no such window.
    """
    stacks = _chosen(sublayers, stack)
    share, left = divmod(remove, len(stacks))
    most = min(len(names) for names in stacks.values()) - 1
    if most < 1:
        raise PlanError(
            f"A stack of {' and '.join(stacks)} has only one FF sublayer, and a merge needs two or "
            "more of one stack. Search another stack."
        )
    if left or not 1 <= share <= most:
        where = " and ".join(f"the {len(names)} of {name}" for name, names in stacks.items())
        able = f"{len(stacks)} to {most * len(stacks)} can be"
        if len(stacks) > 1:
            able += ", an even number, half of them from each"
        raise PlanError(f"{remove} FF sublayers cannot be removed from {where}; {able}.")
    every = _windows(stacks.values(), share + 1)
    # Where none can be merged, a merge of the first says why.
    return [each for each in every if fits(MergePlan(each.groups), sublayers)] or every


def search_windows(
    model: LoadedModel,
    feats: Features,
    remove: int,
    *,
    methods: Sequence[str] = ("permute",),
    anchors: Sequence[Anchor] = ("first",),
    stack: str | None = None,
    report: Report = silent,
    before: Evaluation | None = None,
    similarity: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Merge and score every window by every method (paper, section 3, "Select").

    A window is adjacent sublayers of a stack. Methods that have an anchor are tried with each of
    `anchors`, the others once. One merged model is in memory at a time.

    Parameters
    ----------
    model : LoadedModel
        The original, with a task.
    feats : Features
        From `calibrate`, of the same weights.
    remove : int
        FF sublayers to remove; a window has one more, in each stack that is searched.
    methods : sequence of str, default ("permute",)
        "layer drop" takes windows that leave the number of parameters nearest to the merge's.
    anchors : sequence of {"first", "middle", "last"}, default ("first",)
        The middle of two layers is the first of them, and is not tried again.
    stack : str, optional
        Of a model with two, the one to take from; "both" takes half from each.
    report : Report, optional
        Told how far it is; may raise `Cancelled`.
    before : Evaluation, optional
        The model's own validation score, if it is at hand.
    similarity : mapping of str to DataFrame, optional
        By stack, the CKA matrix of the FF outputs, if it is at hand.

    Returns
    -------
    DataFrame
        A row a window, best first by the validation loss. Columns: start (a layer), method, anchor
        (empty for a method without one), layers (in words), plan (for `apply`), n_parameters; the
        task's metric, loss and loss change (paired), each with low and high; and, of merges,
        mean CKA and mean aligned correlation over the pairs of a group.

    Raises
    ------
    PlanError
        If no window removes that many, and for arguments of another type.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> feats = fm.calibrate(model, tokens=2_000)
    >>> table = fm.search_windows(model, feats, remove=10)
    >>> len(table), int(table.n_parameters[0])
    (2, 271178)
    """
    expect(PlanError, model=(model, LoadedModel), feats=(feats, Features))
    expect(PlanError, before=(before, Evaluation | None), similarity=(similarity, Mapping | None))
    expect(PlanError, remove=(remove, int), report=(report, Callable))
    tried = _candidates(model, remove, methods, anchors, stack)
    merged = list(dict.fromkeys(window for window, plan in tried if isinstance(plan, MergePlan)))
    stacks = {stack_of(group[0]) for window in merged for group in window.groups}
    step = steps(report, 1 + len(stacks) + len(merged) + len(tried))
    told = step("Scoring the original")
    before = before or evaluate(model, report=told)
    cka = dict(similarity or {})
    for name in sorted(stacks):
        told = step(f"Comparing the layers of the {name}")
        if name not in cka:
            cka[name] = similarity_matrix(feats, stack=name, report=told)
    alike = {
        window: _alike(feats, cka, window, step(f"Matching the neurons of {short(window.names)}"))
        for window in merged
    }
    rows = []
    for window, plan in tried:
        told = step(f"Scoring {plan.method}, {short(window.names)}")
        row = _tried(model, window, plan, feats, before, told)
        rows.append(row | alike.get(window, {MEAN_CKA: np.nan, MEAN_CORRELATION: np.nan}))
    return pd.DataFrame(rows).sort_values("loss", kind="stable", ignore_index=True)


def _candidates(
    model: LoadedModel,
    remove: int,
    methods: Sequence[str],
    anchors: Sequence[Anchor],
    stack: str | None,
) -> list[tuple[Window, Plan]]:
    expect(PlanError, methods=(methods, Collection[str]), anchors=(anchors, Collection[str]))
    merges = windows(model.sublayers, remove, stack)
    for anchor in anchors:
        one_of(PlanError, "anchor", anchor, ANCHORS)
    if not anchors:
        raise PlanError(f"No anchor was named; name one or more of {', '.join(ANCHORS)}.")
    in_order = [anchor for anchor in ANCHORS if anchor in anchors]
    found: list[tuple[Window, Plan]] = []
    for method in dict.fromkeys(methods):
        one_of(PlanError, "method", method, searched())
        plans: Any = METHODS[method].plan
        if issubclass(plans, MergePlan):
            found += [
                (window, plan) for window in merges for plan in _merges(window, method, in_order)
            ]
        else:
            left = parameters_left(model, MergePlan(merges[0].groups))
            stacks = _chosen(model.sublayers, stack).values()
            found += [
                (window, plans.over(window.names))
                for window in _nearest(model, stacks, plans, left)
            ]
    if not found:
        raise PlanError(f"No method was named; name one or more of {', '.join(searched())}.")
    return found


def _merges(window: Window, method: str, anchors: Sequence[Anchor]) -> Iterable[MergePlan]:
    """A plan an anchor, where another one makes another merge."""
    plans: dict[object, MergePlan] = {}
    for anchor in anchors:
        plan = MergePlan(window.groups, method, anchor)
        plans.setdefault(plan.uses_anchor and tuple(map(plan.anchor_of, plan.groups)), plan)
    return plans.values()


def _nearest(
    model: LoadedModel,
    stacks: Collection[Sequence[str]],
    plans: type[Windowed],
    n_parameters: int,
) -> list[Window]:
    """Windows of so many layers that what is left is nearest to `n_parameters`."""
    most = min(len(names) for names in stacks) - plans.spared
    sizes = [
        [each for each in _windows(stacks, size) if fits(plans.over(each.names), model.sublayers)]
        for size in range(1, most + 1)
    ]

    def missed(every: list[Window]) -> int:
        return abs(parameters_left(model, plans.over(every[0].names)) - n_parameters)

    return min(filter(None, sizes), key=missed, default=[])


def _chosen(sublayers: Sequence[FFSublayer], stack: str | None) -> dict[str, list[str]]:
    """Stack → its names in layer order, of the stacks that are searched."""
    stacks: dict[str, list[str]] = {}
    for sublayer in sublayers:
        stacks.setdefault(sublayer.stack, []).append(sublayer.name)
    if stack is None and len(stacks) > 1:
        raise PlanError(
            f"This model has the stacks {' and '.join(stacks)}; say which to search: "
            f"{', '.join(stacks)} or both."
        )
    if stack not in (None, "both", *stacks):
        raise PlanError(f"There is no stack {stack!r}; this model has {' and '.join(stacks)}.")
    return {name: names for name, names in stacks.items() if stack in (None, "both", name)}


def _windows(stacks: Collection[Sequence[str]], size: int) -> list[Window]:
    shortest = min(len(names) for names in stacks)
    return [
        Window(start, tuple(tuple(names[start : start + size]) for names in stacks))
        for start in range(shortest - size + 1)
    ]


def _alike(
    feats: Features, cka: Mapping[str, pd.DataFrame], window: Window, report: Report
) -> dict[str, float]:
    """Means over the pairs of each group. cka: a matrix a stack."""
    pairs = [pair for group in window.groups for pair in combinations(group, 2)]
    similar: list[Any] = []
    matched: list[float] = []
    for done, (one, other) in enumerate(pairs):
        report(done, len(pairs), "")
        similar.append(cka[stack_of(one)].loc[one, other])
        matched.append(feats.match(one, other).after)
    return {MEAN_CKA: float(np.mean(similar)), MEAN_CORRELATION: float(np.mean(matched))}


def _tried(
    model: LoadedModel,
    window: Window,
    plan: Plan,
    feats: Features,
    before: Evaluation,
    report: Report,
) -> dict[str, Any]:
    """A row of the table; what the plan made is given up."""
    report(0, 1, "")
    reduced = apply(model, plan, feats)
    after = evaluate(reduced, report=report)
    change = after.versus(before)
    row: dict[str, Any] = {
        "start": window.start,
        "method": plan.method,
        "anchor": plan.anchor if isinstance(plan, MergePlan) and plan.uses_anchor else "",
        "layers": short(window.names),
        "plan": plan,
        "n_parameters": reduced.n_parameters,
    }
    for name, value, interval in (
        (after.metric, after.value, after.interval),
        ("loss", after.loss, after.loss_interval),
        ("loss change", change.loss, change.loss_interval),
    ):
        row |= {name: value, f"{name} low": interval[0], f"{name} high": interval[1]}
    return row

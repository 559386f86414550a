"""Baselines as runs of the history: carried out like the run that they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ffmerge_core.errors import Cancelled, FFMergeError, Interrupted
from ffmerge_core.plan import METHODS, NOTHING_MERGED, Plan, Recipe
from ffmerge_core.plan.fitting import same_but
from ffmerge_core.progress import Report, part, silent
from ffmerge_core.reporting import recoveries
from ffmerge_core.reporting.recording import record
from ffmerge_core.reporting.run import Run
from ffmerge_core.reporting.runs import RunStore

if TYPE_CHECKING:
    from ffmerge_core.compression.result import RunResult

# The untouched original, tuned as the others are: what tuning alone gains.
CONTROL = "control"


@dataclass(frozen=True)
class Carried:
    """One baseline's run, or the sentence by which it failed. again: it was there already."""

    kind: str
    run: Run | None
    error: str | None = None
    again: bool = False


def recipes(plans: Mapping[str, Plan], like: Recipe, *, control: bool = True) -> dict[str, Recipe]:
    """Kind → its recipe: all as in `like`, its recovery and int8 among it, but for the plan.

    control: with that of the original too, where `like` has a recovery.
    """
    found = {kind: replace(like, plan=plan) for kind, plan in plans.items()}
    if control and like.recovery is not None:
        found[CONTROL] = replace(like, plan=NOTHING_MERGED)
    return found


def record_baselines(
    store: RunStore,
    wanted: Mapping[str, Recipe],
    run: Callable[[Recipe, Report, Path | None], RunResult],
    report: Report = silent,
) -> Iterator[Carried]:
    """Each recipe as a run, one after the other, told when it is over.

    wanted: with their revisions (`compression.running.fixed`), all of one source. One that the
    history has a finished run of is not made again; one that fails does not stop the others.
    run: is given the folder of a recovery's checkpoints, or None. A recovery that is cancelled
    is no baseline, having had less than the others: it is marked cancelled, and gone on with
    when the same is asked for again.
    """
    for index, (kind, recipe) in enumerate(wanted.items()):
        n = len(wanted)
        said = f"{title(kind)}, {index + 1} of {n}: "
        told = part(report, index / n, (index + 1) / n, said)
        told(0, 1, "starting")
        known = _finished(store, recipe)
        if known is not None:
            yield Carried(kind, known, again=True)
            continue
        try:
            yield Carried(kind, store.get(_run(store, recipe, run, told)))
        except Cancelled:
            raise
        except FFMergeError as error:
            yield Carried(kind, None, str(error))


def _run(
    store: RunStore,
    recipe: Recipe,
    run: Callable[[Recipe, Report, Path | None], RunResult],
    report: Report,
) -> str:
    """The run's id."""

    def whole(recipe: Recipe, report: Report, folder: Path | None = None) -> RunResult:
        try:
            return run(recipe, _without_the_best_so_far(report), folder)
        except _Ended as ended:
            raise Cancelled(str(ended)) from None

    if recipe.recovery is None:
        return record(store, recipe, recoveries.name_of(recipe), whole, report)[0]
    return recoveries.record_recovery(store, recipe, whole, report)[0]


class _Ended(Interrupted):
    """A cancel that a recovery must not take for the wish to keep its best so far."""


def _without_the_best_so_far(report: Report) -> Report:
    def told(
        step: int, total: int, message: str, values: Mapping[str, float] | None = None
    ) -> None:
        try:
            report(step, total, message, values)
        except Interrupted:
            raise
        except Cancelled as error:
            raise _Ended(str(error)) from None

    return told


def _finished(store: RunStore, recipe: Recipe) -> Run | None:
    for run in store.list(recipe.source):
        if run.status != "done":
            continue
        with suppress(FFMergeError):  # of another version
            known = Recipe.from_dict(run.recipe)
            # Another version of Python is no matter where the data are the same.
            if same_but(known, recipe, "python"):
                return run
    return None


def title(kind: str) -> str:
    """ "Layer drop" of "layer drop"; of the control too."""
    return METHODS[kind].label if kind in METHODS else kind.capitalize()

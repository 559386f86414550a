"""Carrying out a recipe as a run of the history, whoever asks: the app or the command line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ffmerge_core.compression.cost import versions
from ffmerge_core.errors import Cancelled, FFMergeError, Interrupted
from ffmerge_core.plan import Recipe
from ffmerge_core.progress import Report, silent
from ffmerge_core.reporting.runs import RunStore

if TYPE_CHECKING:
    from ffmerge_core.compression.result import RunResult


def record(
    store: RunStore,
    recipe: Recipe,
    name: str,
    work: Callable[[Recipe, Report], RunResult],
    report: Report = silent,
) -> tuple[str, RunResult]:
    """The run's id in the history, and what `work(recipe, report)` gave.

    recipe: with its revisions (`compression.running.fixed`), for it is stored before the work.
    What `work` raises is raised here too, once the run is marked failed or cancelled.
    """
    run = store.start(recipe.to_dict(), recipe.source, name, versions())
    try:
        result = work(recipe, report)
        store.finish(
            run.id,
            result.record(),
            result.seconds,
            result.peak_memory,
            recipe=result.recipe.to_dict(),
        )
    except Interrupted:
        # The run stays "running" and its process ends, by which the next server knows it.
        raise
    except (Cancelled, KeyboardInterrupt):
        store.cancel(run.id)
        raise
    except Exception as error:
        known = isinstance(error, FFMergeError)
        said = str(error) if known else f"It stopped on an unexpected {type(error).__name__}."
        # The history may be what failed: then the first error is the one to tell.
        with suppress(FFMergeError):
            store.fail(run.id, said)
        raise
    return run.id, result

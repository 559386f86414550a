"""Recoveries as runs of the history: carried out, gone on with, given up."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ffmerge_core.compression.resuming import Underway, underway
from ffmerge_core.errors import FFMergeError, PlanError
from ffmerge_core.plan import Recipe, Recovery, plan_in_words
from ffmerge_core.progress import Report, silent
from ffmerge_core.reporting.recording import record
from ffmerge_core.reporting.run import Run
from ffmerge_core.reporting.runs import LONGEST_NAME, RunStore

if TYPE_CHECKING:
    from ffmerge_core.compression.result import RunResult


@dataclass(frozen=True)
class Unfinished:
    """A recovery that ended before its time, and how far it came."""

    run: Run
    recipe: Recipe
    folder: Path
    underway: Underway


def folder_of(store: RunStore, recipe: Recipe) -> Path:
    """Where the recovery of a recipe, with its revisions, keeps its checkpoints."""
    text = json.dumps(recipe.to_dict(), sort_keys=True)
    return store.path.parent / "recoveries" / hashlib.sha256(text.encode()).hexdigest()[:32]


def record_recovery(
    store: RunStore,
    recipe: Recipe,
    run: Callable[[Recipe, Report, Path], RunResult],
    report: Report = silent,
) -> tuple[str, RunResult]:
    """As `record`, with the recovery's folder for `run`; it goes once the run ended well.

    The same recipe goes on from what is there. Raises `PlanError` while it is at work elsewhere.
    """
    folder = folder_of(store, recipe)
    # Two at work in one folder would take each other's files for left-overs.
    store.mark_interrupted()
    if any(
        known.status == "running" and _folder_of_run(store, known) == folder
        for known in store.list(recipe.source)
    ):
        raise PlanError("This recovery is already running. Wait for it, or cancel it.")
    done = record(
        store, recipe, name_of(recipe), lambda recipe, report: run(recipe, report, folder), report
    )
    give_up(folder)
    return done


def unfinished(store: RunStore, runs: Sequence[Run]) -> list[Unfinished]:
    """The recoveries among these runs, newest first, that can be gone on with."""
    found: list[Unfinished] = []
    seen: set[Path] = set()
    for run in runs:
        folder = _folder_of_run(store, run)
        if folder is None or folder in seen:
            continue
        seen.add(folder)
        known = underway(folder)
        if known is not None and run.status not in ("running", "done"):
            found.append(Unfinished(run, Recipe.from_dict(run.recipe), folder, known))
    return found


def give_up(folder: Path) -> None:
    """Delete a recovery's checkpoints. What cannot be deleted stays, and does no harm."""
    shutil.rmtree(folder, ignore_errors=True)


def name_of(recipe: Recipe) -> str:
    """What a run is called at first: "Permute encoder 3–4, anchor first, recovered, int8"."""
    after = (", recovered" if recipe.recovery else "") + (
        f", {recipe.quantize}" if recipe.quantize else ""
    )
    return plan_in_words(recipe.plan)[: LONGEST_NAME - len(after)] + after


def recovery_in_words(recovery: Recovery) -> str:
    """ "200 steps, batches of 32, learning rate 0.0003, distilled from the original"."""
    steps = f"{recovery.steps:,} {'step' if recovery.steps == 1 else 'steps'}"
    if recovery.until is not None:
        steps = f"{recovery.until:,} of {steps}"
    parts = [
        steps,
        f"batches of {recovery.batch_size}",
        f"learning rate {recovery.learning_rate:g}",
    ]
    if recovery.distill:
        parts.append("distilled from the original")
    if recovery.lora_rank is not None:
        parts.append(f"LoRA of rank {recovery.lora_rank}")
    return ", ".join(parts)


def _folder_of_run(store: RunStore, run: Run) -> Path | None:
    try:
        recipe = Recipe.from_dict(run.recipe)
    except FFMergeError:
        return None  # of another version
    return folder_of(store, recipe) if recipe.recovery is not None else None

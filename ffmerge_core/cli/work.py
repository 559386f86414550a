"""What several verbs do: open a model, carry out a recipe as a run, save the result."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffmerge_core.cli.tables import (
    recovery_lines,
)
from ffmerge_core.cli.terminal import note, say, say_json, say_table, write_text
from ffmerge_core.errors import DataError
from ffmerge_core.plan import Curve
from ffmerge_core.progress import Report
from ffmerge_core.reporting import recoveries
from ffmerge_core.reporting.before_after import before_and_after_rows, how_scored
from ffmerge_core.reporting.costs import batch_rows, costs_note, step_rows
from ffmerge_core.reporting.folders import data_folder
from ffmerge_core.reporting.formats import count, megabytes
from ffmerge_core.reporting.recording import record
from ffmerge_core.reporting.run import Run
from ffmerge_core.reporting.runs import RunStore
from ffmerge_core.reporting.stored import made

if TYPE_CHECKING:
    import ffmerge_core as fm
    from ffmerge_core.plan import Recipe


def history() -> RunStore:
    """The app's own; raises `StorageError` if its folder cannot be written."""
    return RunStore(data_folder())


def opened(
    source: str,
    data: str | None,
    fidelity: bool,
    report: Report,
    tokenize: str | None = None,
    allow_bin: bool = False,
) -> fm.LoadedModel:
    """A model with data to measure it on; raises `DataError` if there is none."""
    report(0, 1, "Starting PyTorch")
    import ffmerge_core as fm

    model = fm.load(
        source,
        task=data,
        report=report,
        fidelity=fidelity,
        tokenize=tokenize,
        allow_bin=allow_bin,
    )
    if model.task is None:
        raise DataError(
            f"{model.source} has no data of its own, so it cannot be measured. Give --data digits, "
            "or --data with the path of your own data or hf:org/name."
        )
    return model


def opened_for(recipe: Recipe, report: Report) -> fm.LoadedModel:
    """The model of a recipe, measured as it says."""
    return opened(
        recipe.source, recipe.data, recipe.fidelity, report, recipe.tokenize, recipe.allow_bin
    )


def run_recipe(
    store: RunStore, model: fm.LoadedModel, recipe: Recipe, report: Report
) -> tuple[str, fm.RunResult]:
    """A pinned recipe on its model, as a run of the history; the run's id, and the result.

    A recovery that was killed goes on from its last checkpoint.
    """
    import ffmerge_core as fm
    from ffmerge_core.compression.resuming import underway

    def run(recipe: Recipe, report: Report, folder: Path | None = None) -> fm.RunResult:
        return fm.run(recipe, report, model=model, folder=folder)

    if recipe.recovery is None:
        return record(store, recipe, recoveries.name_of(recipe), run, report)
    if known := underway(recoveries.folder_of(store, recipe)):
        note(f"Continuing from step {known.step} of {known.asked}.")
    return recoveries.record_recovery(store, recipe, run, report)


def add_test_split(store: RunStore, id: str, result: fm.RunResult, report: Report) -> None:
    """The final score, of both models, added to a run."""
    import ffmerge_core as fm
    from ffmerge_core.compression.result import scores_record

    before, after = (
        fm.evaluate(model, "test", report) for model in (result.original, result.merged)
    )
    store.update_result(id, scores_record(before, after))


def write_recipe(path: Path, recipe: Recipe) -> None:
    """As a file that `ffmerge run` reads."""
    write_text(path, json.dumps(recipe.to_dict(), indent=2, ensure_ascii=False) + "\n")


def exported(
    model: fm.LoadedModel,
    folder: Path,
    layout: str,
    overwrite: bool,
    report: Report,
    *,
    result: fm.RunResult | None = None,
) -> dict[str, Any]:
    """Save a model; what is then on disk.

    result: where the model comes from. Its original is then saved the same way for a moment:
    its own files may be of another precision, and would not tell what merging saves.
    """
    import ffmerge_core as fm
    from ffmerge_core.storage.placing import called

    recipe = result.recipe if result else None
    saved = fm.save(model, folder, layout, recipe, overwrite, report)
    sizes: dict[str, Any] = {"saved": {**asdict(saved), "folder": str(saved.folder)}}
    if result is not None:
        with tempfile.TemporaryDirectory(dir=saved.folder.parent, prefix=".ffmerge-") as spare:
            place = Path(spare) / "original"
            with called(place, f"a copy of the original beside {saved.folder}"):
                whole = fm.save(result.original, place, layout, report=report)
        sizes["original"] = {"n_parameters": whole.n_parameters, "n_bytes": whole.n_bytes}
    return sizes


def say_exported(sizes: Mapping[str, Any]) -> None:
    say_table(
        (f"Saved, {sizes['saved']['layout']}", "Parameters in the files", "On disk"),
        [
            (label, count(sizes[name]["n_parameters"]), megabytes(sizes[name]["n_bytes"]))
            for label, name in (("Original", "original"), ("This model", "saved"))
            if name in sizes
        ],
    )
    note(f"Saved to {sizes['saved']['folder']}")


def show_run(store: RunStore, id: str, sizes: Mapping[str, Any] | None, *, as_json: bool) -> None:
    """A finished run, and what was saved of it. `ffmerge run` reads the JSON again."""
    run = store.get(id)
    if as_json:
        say_json(asdict(run) if sizes is None else {**asdict(run), "export": sizes})
    else:
        _say_run(run, sizes)
    note(f"Kept in the run history as “{run.name}”: {store.path}")
    if store.notice:
        note(store.notice)


def _say_run(run: Run, sizes: Mapping[str, Any] | None) -> None:
    result = run.result or {}
    after = made(run.recipe)
    say_table(("", "Original", after, "Change"), before_and_after_rows(result))
    say("In brackets: 95% intervals over examples; a change is paired, example by example.")
    for line in how_scored(result):
        say(line)
    say()
    say_table(("What it cost", "Seconds", "Peak memory"), step_rows(run))
    say(costs_note(run))
    if timed := batch_rows(result):
        say()
        say_table(("Speed on this machine", "Original", after), timed)
    if sizes is not None:
        say()
        say_exported(sizes)
    if curve := result.get("recovery"):
        say()
        for line in recovery_lines(Curve.from_dict(curve), run.recipe):
            say(line)

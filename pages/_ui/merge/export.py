"""Taking a merge away: its model in a folder or a zip, and its recipe."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_STORED, ZipFile

import pandas as pd
import streamlit as st

from ffmerge_core import demos
from ffmerge_core.kinds import resolve
from ffmerge_core.plan import MergePlan, Recipe, plan_from_dict, plan_in_words
from ffmerge_core.progress import Report
from ffmerge_core.reporting.folders import data_folder
from ffmerge_core.reporting.formats import count, megabytes
from ffmerge_core.reporting.runs import Run
from ffmerge_core.reporting.stored import made
from ffmerge_core.storage.layouts import LAYOUTS, Layout
from pages._ui.pieces.job_panel import job_panel, latest_job, start_job
from pages._ui.pieces.widgets import Download, download_row

if TYPE_CHECKING:
    import ffmerge_core as fm

LONGEST_SLUG = 60
# Streamlit holds a download in memory while it is fetched.
LARGEST_ZIP = 200_000_000


@dataclass(frozen=True)
class Made:
    """A folder that was written for a run. weights: bytes of its weights' files."""

    folder: Path
    weights: int
    total: int


def export(run: Run, result: fm.RunResult | None) -> None:
    """Sizes, every layout, its files, and the recipe."""
    folder = _folder(run)
    saved = {layout: _made(folder / layout) for layout in LAYOUTS}
    _sizes(run, saved)
    columns = st.columns(len(LAYOUTS), gap="large")
    recipe = Recipe.from_dict(run.recipe)
    for (layout, record), column in zip(LAYOUTS.items(), columns, strict=True):
        with column:
            st.markdown(record.sentence)
            if reason := why_not(record, recipe):
                st.info(reason)
                continue
            _save(run, result, folder / layout, layout, again=saved[layout] is not None)
            if (found := saved[layout]) is not None:
                _fetch(found, f"{folder.name}-{layout}.zip")
    st.markdown(
        "The **recipe** records everything that made this model. On the command line, `ffmerge run "
        "recipe.json` carries it out and gets the same numbers. Here, the Model page opens it."
    )
    download_row(
        Download(
            "Recipe (JSON)",
            "recipe.json",
            json.dumps(recipe.to_dict(), indent=2, ensure_ascii=False) + "\n",
            "application/json",
        ),
        key=f"recipe-{run.id}",
    )


def why_not(layout: Layout, recipe: Recipe) -> str | None:
    """Why what a recipe makes is not written in a layout, in a sentence; None if it is."""
    reason: str | None = resolve(layout.why_not)(recipe.plan, recipe.quantize)
    return reason


def _folder(run: Run) -> Path:
    """Where a run's exports go: a name for people, and the run's own."""
    words = re.sub(r"[^a-z0-9]+", "-", plan_in_words(plan_from_dict(run.recipe["plan"])).lower())
    return data_folder() / "exports" / f"{words[:LONGEST_SLUG].strip('-')}-{run.id[:8]}"


def _made(folder: Path) -> Made | None:
    """What lies there; None if nothing, or nothing whole, does."""
    try:
        sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    except OSError:
        return None
    if not sizes:
        return None
    return Made(folder, _weights(sizes), sum(sizes.values()))


def _weights(sizes: dict[Path, int]) -> int:
    return sum(size for path, size in sizes.items() if path.suffix == ".safetensors")


def _sizes(run: Run, saved: dict[str, Made | None]) -> None:
    result, recipe = run.result or {}, Recipe.from_dict(run.recipe)
    original, merged = result["original"], result["merged"]
    source, name = _made(_source_folder(run.source)), made(run.recipe)
    rows = [("Original", original, source)]
    for layout, record in LAYOUTS.items():
        if why_not(record, recipe) is None:
            # Copies are tied again when a folder is opened here, but not by other programs.
            whole = record.copies and isinstance(recipe.plan, MergePlan)
            rows.append((f"{name}, {layout}", original if whole else merged, saved[layout]))
    table = pd.DataFrame(
        [
            (
                name,
                count(size["n_parameters"]),
                megabytes(size["weight_bytes"]),
                megabytes(found.weights) if found else "not saved yet",
            )
            for name, size, found in rows
        ],
        columns=["", "Parameters in the file", "Memory once loaded", "Weights on disk"],
    ).set_index("")
    st.table(table)
    if source is not None and source.weights < 0.75 * original["weight_bytes"]:
        st.caption(
            "The original's file keeps its weights in 16 bits. A model saved here keeps the 32 "
            "bits that its weights have in memory."
        )


def _source_folder(source: str) -> Path:
    if source.startswith(demos.PREFIX):
        return Path(str(files(demos))) / demos.package(source)
    return Path(source)


def _save(run: Run, result: fm.RunResult | None, folder: Path, layout: str, *, again: bool) -> None:
    kind = f"{layout} export"
    job = latest_job(kind)
    st.button(
        f"Save {layout} again" if again else f"Save {layout}",
        key=f"save-{layout}",
        icon=":material/save:",
        disabled=result is None or (job is not None and job.active),
        on_click=start_job,
        args=(kind, f"Saving the {layout} layout"),
        kwargs={"work": partial(_written, result, folder, layout), "key": run.id},
        help=None if result else "The merged model is not in memory. Rebuild it first.",
    )
    if job is not None and job.key == run.id:
        job_panel(job)


def _written(result: fm.RunResult, folder: Path, layout: str, report: Report) -> None:
    import ffmerge_core as fm

    fm.save(
        result.merged,
        folder,
        layout,
        recipe=result.recipe,
        overwrite=True,
        report=report,
    )


def _fetch(made: Made, file_name: str) -> None:
    st.caption(f"Saved in this folder, {megabytes(made.total)} in all:")
    st.code(str(made.folder), language=None, wrap_lines=True)
    if made.total > LARGEST_ZIP:
        st.caption(f"Above {megabytes(LARGEST_ZIP)} no zip is offered. Copy the folder instead.")
        return
    download_row(
        Download("Zip", file_name, partial(_zipped, made.folder), "application/zip"),
        key="export",
    )


def _zipped(folder: Path) -> bytes:
    """The folder as a zip. Not compressed: weights hardly shrink, and it would take long."""
    # On disk first, so that memory holds the zip once and not while it grows.
    with tempfile.TemporaryFile() as file:
        with ZipFile(file, "w", ZIP_STORED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder.parent))
        file.seek(0)
        return file.read()

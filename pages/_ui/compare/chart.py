"""The chart of runs: which score, on which split, against parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ffmerge_core.plan import Recipe, plan_in_words
from ffmerge_core.reporting.figures import RunPoint, compare_chart, to_html
from ffmerge_core.reporting.recoveries import recovery_in_words
from ffmerge_core.reporting.runs import Run
from ffmerge_core.reporting.scores import figures_of
from ffmerge_core.reporting.stored import method_of
from ffmerge_core.tasks.metrics import metric
from pages._ui.compare.table import figure_of, score_names, stored_figures
from pages._ui.pieces.widgets import Download, download_row
from pages._ui.state.subject import Subject


def chart(subject: Subject, runs: Sequence[Run]) -> None:
    scored = {split for run in runs for split in _changes(run)}
    names = score_names(subject, runs)
    left, right = st.columns(2)
    score = left.segmented_control(
        "Score",
        names,
        default=names[0],
        required=True,
        # Each kind of score has a choice of its own: another model may lack this one's.
        key=f"compare_score_{names[0]}",
        persist_state="session",
    )
    split = right.segmented_control(
        "Split",
        ("validation", "test"),
        default="validation",
        required=True,
        key="compare_split",
        persist_state="session",
        disabled="test" not in scored,
        help="Choices are made on the validation split. The test split has figures only for runs "
        "whose final score was asked for.",
    )
    split = split if split in scored else "validation"
    points = _original(subject, runs, score, split) + _merged(runs, score, split)
    figure = compare_chart(points, metric(score))
    st.plotly_chart(figure, key="compare", config={"displaylogo": False})
    st.caption(
        "Bars are 95% bootstrap intervals over examples. Runs with nearly the same number of "
        "parameters are drawn a little apart. The exact number shows when you point at a run, and "
        "in the table. A Pareto front joins the models that no other model beats with as few "
        "parameters."
    )
    download_row(
        Download("Figure (HTML)", "compare.html", lambda: to_html(figure), "text/html"),
        key="compare-figure",
    )


def _changes(run: Run) -> Mapping[str, Any]:
    """Split → paired difference, for the splits that the run was scored on."""
    changes: Mapping[str, Any] = (run.result or {}).get("difference") or {}
    return changes


def _original(subject: Subject, runs: Sequence[Run], score: str, split: str) -> list[RunPoint]:
    """The untouched model, as a run scored it, on the data that runs have, or else its card."""
    scored = [stored_figures(run, "original", split) for run in runs]
    if known := subject.scores.get(split):
        scored.append(figures_of(known))
    figure = next((figures[score] for figures in scored if score in figures), None)
    if figure is None:
        return []
    return [
        RunPoint(
            "original", "Original", subject.n_parameters, *figure,
            plan="nothing merged", is_original=True, method="original",
        )
    ]  # fmt: skip


def _merged(runs: Sequence[Run], score: str, split: str) -> list[RunPoint]:
    points = []
    for run in runs:
        figures = stored_figures(run, "merged", split)
        if score in figures:
            recipe = Recipe.from_dict(run.recipe)
            n_parameters = figure_of(run, "merged", "n_parameters")
            points.append(
                RunPoint(
                    run.id, run.name, n_parameters, *figures[score],
                    plan=plan_in_words(recipe.plan), is_original=False,
                    method=method_of(run.recipe),
                    recovered=recovery_in_words(recipe.recovery) if recipe.recovery else None,
                    quantized=recipe.quantize,
                )
            )  # fmt: skip
    return points

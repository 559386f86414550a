"""The table of runs: filtering it, drawing it, and which rows are selected."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import pandas as pd
import streamlit as st

from ffmerge_core.plan import layers_in_words, plan_from_dict
from ffmerge_core.reporting.runs import Run
from ffmerge_core.reporting.scores import Stored, figures_of
from ffmerge_core.reporting.stored import method_of, recovery_steps
from ffmerge_core.tasks.metrics import Metric, metric
from pages._ui.state.subject import Subject

STATUS_HELP = (
    "done, failed, cancelled, or interrupted (the server stopped while it ran; start it again)"
)

AFTER = {
    "Recovered": "Fine-tuned after the plan was carried out, for at most this many steps.",
    "Weights": "How the FF and attention weights are kept.",
}
NOT_RECOVERED, WHOLE = "no", "float32"


def filtered(runs: Sequence[Run]) -> list[Run]:
    left, right = st.columns([2, 3])
    text = left.text_input(
        "Filter",
        key="filter",
        placeholder="Words in the name, a status, a layer",
        icon=":material/search:",
    )
    methods = sorted({method_of(run.recipe) for run in runs})
    chosen = right.pills("Methods", methods, selection_mode="multi", key="filter_methods")
    words = text.lower().split()
    return [
        run
        for run in runs
        if all(word in _searchable(run) for word in words)
        and (not chosen or method_of(run.recipe) in chosen)
    ]


def _searchable(run: Run) -> str:
    return f"{run.name} {run.status} {json.dumps(run.recipe['plan'])}".lower()


def table(subject: Subject, runs: Sequence[Run]) -> list[Run]:
    """The table; returns the selected runs."""
    if not runs:
        st.info("No run matches the filter.")
        return []
    scores = score_names(subject, runs)
    frame = pd.DataFrame([_row(run, subject, scores) for run in runs])
    own = metric(scores[0])
    tested = f"Test {own.name}"
    # What no run has is no column.
    bare = [name for name in AFTER if frame[name].isin([NOT_RECOVERED, WHOLE]).all()]
    bare += [tested] if frame[tested].isna().all() else []
    frame = frame.drop(columns=bare)
    number = st.column_config.NumberColumn
    unit = " In percentage points." if own.percent else ""
    columns: dict[str, Any] = {
        metric(name).label: number(format=_format(metric(name)), help="On the validation split.")
        for name in scores
    }
    event: Any = st.dataframe(
        frame,
        key=table_key(runs),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        column_config=columns
        | {
            "Status": st.column_config.TextColumn(help=STATUS_HELP),
            "Parameters": number(format="localized"),
            "Saved": number(
                format="%.1f%%", help="Share of the original's parameters that is saved."
            ),
            "Change": number(
                format=f"%+.{own.digits}f",
                help=f"Change of the {own.name} on the validation split: merged minus original, "
                f"paired example by example.{unit}",
            ),
            **{name: st.column_config.TextColumn(help=said) for name, said in AFTER.items()},
            tested: number(format=_format(own), help="Filled in by a final score."),
            "Seconds": number(format="%.1f"),
            "Peak memory": number(format="%.0f MB", help="Peak memory of the whole process."),
            "When": st.column_config.DatetimeColumn(format="distance"),
        },
    )
    return [runs[row] for row in event["selection"]["rows"] if row < len(runs)]


def _row(run: Run, subject: Subject, scores: Sequence[str]) -> dict[str, Any]:
    validation = stored_figures(run, "merged", "validation")
    change = stored_figures(run, "difference", "validation")
    test = stored_figures(run, "merged", "test")
    own = scores[0]
    return {
        "Name": run.name,
        "Status": run.status,
        "Layers": layers_in_words(plan_from_dict(run.recipe["plan"])),
        "Method": method_of(run.recipe),
        "Recovered": _steps(run),
        "Weights": run.recipe.get("quantize") or WHOLE,
        "Parameters": figure_of(run, "merged", "n_parameters"),
        "Saved": _saved(run, subject),
        metric(own).label: _shown(own, validation),
        "Change": _shown(own, change),
        **{metric(name).label: _shown(name, validation) for name in scores[1:]},
        f"Test {own}": _shown(own, test),
        "Seconds": sum(run.seconds.values()) if run.seconds else None,
        "Peak memory": run.peak_memory / 1e6 if run.peak_memory else None,
        "When": run.created,
    }


def score_names(subject: Subject, runs: Sequence[Run]) -> list[str]:
    """The figures that the model or any run of it has, the metric first."""
    scores = [subject.scores.get("validation")]
    scores += [figure_of(run, "merged", "validation") for run in runs]
    return list(dict.fromkeys(name for score in scores if score for name in figures_of(score)))


def stored_figures(run: Run, part: str, split: str) -> Mapping[str, Stored]:
    """A run's figures by name; none where it was not scored."""
    score = figure_of(run, part, split)
    return figures_of(score) if score else {}


def _steps(run: Run) -> str:
    """ "200 steps", as asked for; an early stop is told on the Recover page."""
    steps = recovery_steps(run.recipe)
    if steps is None:
        return NOT_RECOVERED
    return f"{steps:,} step" + ("" if steps == 1 else "s")


def _shown(name: str, figures: Mapping[str, Stored]) -> float | None:
    """In the unit of `_format`."""
    if name not in figures:
        return None
    return figures[name].value * (100 if metric(name).percent else 1)


def _format(metric: Metric) -> str:
    return f"%.{metric.digits}f" + ("%%" if metric.percent else "")


def table_key(runs: Sequence[Run]) -> str:
    """A name of exactly these rows: a selection is of positions, and must not outlive them."""
    return "runs-" + sha256(" ".join(run.id for run in runs).encode()).hexdigest()[:16]


def figure_of(run: Run, *path: str) -> Any:
    """One figure of a run's result; None if it has none."""
    value: Any = run.result
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _saved(run: Run, subject: Subject) -> float | None:
    left = figure_of(run, "merged", "n_parameters")
    return None if left is None else 100 * (1 - left / subject.n_parameters)

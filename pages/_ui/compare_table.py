"""The table of runs: filtering it, drawing it, and which rows are selected."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import pandas as pd
import streamlit as st

from ffmerge_core.reporting.runs import Run
from pages._ui.subject import Subject, short

STATUS_HELP = (
    "done, failed, cancelled, or interrupted (the server stopped while it ran; start it again)"
)


def filtered(runs: Sequence[Run]) -> list[Run]:
    left, right = st.columns([2, 3])
    text = left.text_input(
        "Filter",
        key="filter",
        placeholder="Words in the name, a status, a layer",
        icon=":material/search:",
    )
    methods = sorted({run.recipe["plan"]["method"] for run in runs})
    chosen = right.pills("Methods", methods, selection_mode="multi", key="filter_methods")
    words = text.lower().split()
    return [
        run
        for run in runs
        if all(word in _searchable(run) for word in words)
        and (not chosen or run.recipe["plan"]["method"] in chosen)
    ]


def _searchable(run: Run) -> str:
    return f"{run.name} {run.status} {json.dumps(run.recipe['plan'])}".lower()


def table(subject: Subject, runs: Sequence[Run]) -> list[Run]:
    """The table; returns the selected runs."""
    rows = [
        {
            "Name": run.name,
            "Status": run.status,
            "Groups": "; ".join(short(group) for group in run.recipe["plan"]["groups"]),
            "Method": run.recipe["plan"]["method"],
            "Parameters": figure_of(run, "merged", "n_parameters"),
            "Saved": _saved(run, subject),
            "Accuracy": _percent(figure_of(run, "merged", "validation", "value")),
            "Change": _percent(figure_of(run, "difference", "validation", "value")),
            "Loss": figure_of(run, "merged", "validation", "loss"),
            "Test accuracy": _percent(figure_of(run, "merged", "test", "value")),
            "Seconds": sum(run.seconds.values()) if run.seconds else None,
            "Peak memory": run.peak_memory / 1e6 if run.peak_memory else None,
            "When": run.created,
        }
        for run in runs
    ]
    if not rows:
        st.info("No run matches the filter.")
        return []
    frame = pd.DataFrame(rows)
    if frame["Test accuracy"].isna().all():
        frame = frame.drop(columns="Test accuracy")
    number = st.column_config.NumberColumn
    event: Any = st.dataframe(
        frame,
        key=table_key(runs),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "Status": st.column_config.TextColumn(help=STATUS_HELP),
            "Parameters": number(format="localized"),
            "Saved": number(format="%.1f%%", help="Share of the original's parameters."),
            "Accuracy": number(format="%.1f%%", help="On the validation split."),
            "Change": number(
                format="%+.1f", help="In percentage points, paired, on the validation split."
            ),
            "Loss": number(format="%.3f", help="On the validation split."),
            "Test accuracy": number(format="%.1f%%", help="After a final score."),
            "Seconds": number(format="%.1f"),
            "Peak memory": number(format="%.0f MB", help="Of the whole process."),
            "When": st.column_config.DatetimeColumn(format="distance"),
        },
    )
    return [runs[row] for row in event["selection"]["rows"] if row < len(runs)]


def table_key(runs: Sequence[Run]) -> str:
    """A name of exactly these rows: a selection is of positions, and must not outlive them."""
    return "runs-" + sha256(" ".join(run.id for run in runs).encode()).hexdigest()[:16]


def figure_of(run: Run, *path: str) -> Any:
    """One figure of a run's result; None if it has none."""
    value: Any = run.result
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _saved(run: Run, subject: Subject) -> float | None:
    left = figure_of(run, "merged", "n_parameters")
    return None if left is None else 100 * (1 - left / subject.n_parameters)

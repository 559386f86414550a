"""All runs of the opened model: a chart against parameters, and the table behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from ffmerge_core.errors import FFMergeError
from ffmerge_core.plan import Recipe
from ffmerge_core.reporting.figures import RunPoint, compare_chart, to_html
from ffmerge_core.reporting.runs import Run
from pages._ui.opened import opened_subject
from pages._ui.shared import current_workspace, run_store
from pages._ui.subject import Subject, plan_in_words, short
from pages._ui.widgets import Download, count, download_row, empty_state, guarded

STATUS_HELP = (
    "done, failed, cancelled, or interrupted (the server stopped while it ran; start it again)"
)


def chart(subject: Subject, runs: Sequence[Run]) -> None:
    scored = {split for run in runs for split in _changes(run)}
    left, right = st.columns(2)
    metric = left.segmented_control(
        "Score",
        ("accuracy", "loss"),
        default="accuracy",
        required=True,
        key="compare_metric",
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
        help="The test split has figures for runs whose final score was asked for.",
    )
    split = split if split in scored else "validation"
    points = [_original(subject, metric, split)] if split in subject.scores else []
    points += [_point(run, metric, split) for run in runs if split in _changes(run)]
    figure = compare_chart(points, metric)
    st.plotly_chart(figure, key="compare", config={"displaylogo": False})
    download_row(
        Download("Figure (HTML)", "compare.html", lambda: to_html(figure), "text/html"),
        key="compare-figure",
    )


def _changes(run: Run) -> Mapping[str, Any]:
    """Split → paired difference, for the splits that the run was scored on."""
    changes: Mapping[str, Any] = (run.result or {}).get("difference") or {}
    return changes


def _original(subject: Subject, metric: str, split: str) -> RunPoint:
    return _as_point(
        "original", "Original", subject.n_parameters, subject.scores[split], metric,
        plan="nothing merged", method="original",
    )  # fmt: skip


def _point(run: Run, metric: str, split: str) -> RunPoint:
    merged = (run.result or {})["merged"]
    plan = run.recipe["plan"]
    return _as_point(
        run.id, run.name, merged["n_parameters"], merged[split], metric,
        plan=plan_in_words(plan), method=plan["method"],
    )  # fmt: skip


def _as_point(
    id: str,
    name: str,
    n_parameters: int,
    score: Mapping[str, Any],
    metric: str,
    plan: str,
    method: str,
) -> RunPoint:
    loss = metric == "loss"
    low, high = score["loss_interval"] if loss else score["interval"]
    return RunPoint(
        id=id,
        name=name,
        n_parameters=n_parameters,
        value=score["loss"] if loss else score["value"],
        low=low,
        high=high,
        plan=plan,
        is_original=id == "original",
        method=method,
        higher_is_better=not loss,
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
            "Anchor": run.recipe["plan"]["anchor"],
            "Parameters": _figure(run, "merged", "n_parameters"),
            "Saved": _saved(run, subject),
            "Accuracy": _percent(_figure(run, "merged", "validation", "value")),
            "Change": _percent(_figure(run, "difference", "validation", "value")),
            "Loss": _figure(run, "merged", "validation", "loss"),
            "Test accuracy": _percent(_figure(run, "merged", "test", "value")),
            "Seconds": sum(run.seconds.values()) if run.seconds else None,
            "Peak memory": run.peak_memory / 1e6 if run.peak_memory else None,
            "When": run.created,
        }
        for run in runs
    ]
    number = st.column_config.NumberColumn
    event: Any = st.dataframe(
        pd.DataFrame(rows),
        key=f"runs-{st.session_state.get('table', 0)}",
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "Status": st.column_config.TextColumn(help=STATUS_HELP),
            "Parameters": number(format="localized"),
            "Saved": number(format="%.1f %%", help="Share of the original's parameters."),
            "Accuracy": number(format="%.1f %%", help="On the validation split."),
            "Change": number(format="%+.1f", help="Points, on the validation split."),
            "Loss": number(format="%.3f", help="On the validation split."),
            "Test accuracy": number(format="%.1f %%", help="After a final score."),
            "Seconds": number(format="%.1f"),
            "Peak memory": number(format="%.0f MB", help="Of the whole process."),
            "When": st.column_config.DatetimeColumn(format="distance"),
        },
    )
    return [runs[row] for row in event["selection"]["rows"] if row < len(runs)]


def _figure(run: Run, *path: str) -> Any:
    value: Any = run.result or {}
    for key in path:
        value = value.get(key) or {}
    return value if value != {} else None


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _saved(run: Run, subject: Subject) -> float | None:
    left = _figure(run, "merged", "n_parameters")
    return None if left is None else 100 * (1 - left / subject.n_parameters)


def actions(selected: Sequence[Run], subject: Subject) -> None:
    one = selected[0] if len(selected) == 1 else None
    if not selected:
        st.caption("Select rows of the table to open, rename or delete runs.")
    for run in selected:
        if run.error:
            st.error(f"{run.name}: {run.error}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        opened = st.button(
            "Open",
            disabled=one is None,
            icon=":material/open_in_new:",
            help="Take its groups back to the Similarity page and its result to the Merge page.",
        )
        st.button(
            f"Delete {len(selected)}" if len(selected) > 1 else "Delete",
            disabled=not selected,
            icon=":material/delete:",
            on_click=_delete,
            args=([run.id for run in selected],),
        )
        if st.session_state.get("deleted"):
            st.button("Undo delete", icon=":material/undo:", on_click=_restore)
    if one is not None:
        with st.form(f"rename-{one.id}", border=False):
            row = st.container(horizontal=True, vertical_alignment="bottom")
            name = row.text_input("Name of the selected run", one.name)
            renamed = row.form_submit_button("Rename", icon=":material/edit:")
        if renamed:
            run_store().rename(one.id, name)
            _fresh_table()
            st.rerun()
    if opened and one is not None:
        open_run(one, subject)


def open_run(run: Run, subject: Subject) -> None:
    """Restore a run's groups and choices, and go to the Similarity page."""
    recipe = Recipe.from_dict(run.recipe)
    workspace = current_workspace()
    workspace.set_groups(recipe.plan.groups, subject.sublayers)
    workspace.choose(
        method=recipe.plan.method, anchor=recipe.plan.anchor, tokens=recipe.tokens, seed=recipe.seed
    )
    workspace.open_run(run.id)
    st.switch_page("pages/similarity.py")


def _delete(ids: Sequence[str]) -> None:
    try:
        st.session_state["deleted"] = run_store().delete(ids)
    except FFMergeError as error:
        st.session_state["problem"] = str(error)
    _fresh_table()


def _restore() -> None:
    try:
        run_store().restore(st.session_state.pop("deleted"))
    except FFMergeError as error:
        st.session_state["problem"] = str(error)
    _fresh_table()


def _fresh_table() -> None:
    # Selected rows are positions: after a change they would be other runs.
    st.session_state["table"] = st.session_state.get("table", 0) + 1


with guarded():
    subject = opened_subject("Compare")
    store = run_store()
    runs = store.list(subject.source)
    if store.notice:
        st.warning(store.notice)
    if st.session_state.get("problem"):
        st.error(st.session_state.pop("problem"))
    if not runs and not st.session_state.get("deleted"):
        empty_state(
            "No merge of this model was run yet. Pick groups, merge them, and each run appears "
            "here against the original.",
            "pages/similarity.py",
            "Pick groups",
        )
    else:
        chart(subject, runs)
        shown = filtered(runs)
        actions(table(subject, shown), subject)
        st.caption(f"{count(len(shown))} of {count(len(runs))} runs are shown and downloaded.")
        download_row(
            Download("Table (CSV)", "runs.csv", lambda: store.to_csv(shown), "text/csv"),
            Download(
                "Everything (JSON)", "runs.json", lambda: store.to_json(shown), "application/json"
            ),
            key="runs-files",
        )

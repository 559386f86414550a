"""All runs of the opened model: a chart against parameters, and the table behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ffmerge_core.errors import FFMergeError
from ffmerge_core.plan import MergePlan, Recipe, plan_from_dict, plan_in_words
from ffmerge_core.reporting.figures import RunPoint, compare_chart, to_html
from ffmerge_core.reporting.runs import LONGEST_NAME, Run
from ffmerge_core.reporting.scores import figures_of
from ffmerge_core.tasks.metrics import metric
from pages._ui.compare_table import figure_of, filtered, score_names, stored_figures, table
from pages._ui.opened import opened_subject
from pages._ui.shared import current_workspace, run_store
from pages._ui.subject import Opened, Subject
from pages._ui.widgets import Download, count, download_row, empty_state, guarded


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
        help="The test split has figures for runs whose final score was asked for.",
    )
    split = split if split in scored else "validation"
    points = _original(subject, runs, score, split) + _merged(runs, score, split)
    figure = compare_chart(points, metric(score))
    st.plotly_chart(figure, key="compare", config={"displaylogo": False})
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
        plan = plan_from_dict(run.recipe["plan"])
        if score in figures:
            n_parameters = figure_of(run, "merged", "n_parameters")
            points.append(
                RunPoint(
                    run.id, run.name, n_parameters, *figures[score],
                    plan=plan_in_words(plan), is_original=False, method=plan.method,
                )
            )  # fmt: skip
    return points


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
            name = row.text_input("Name of the selected run", one.name, max_chars=LONGEST_NAME)
            renamed = row.form_submit_button("Rename", icon=":material/edit:")
        if renamed:
            with guarded():
                run_store().rename(one.id, name)
                st.rerun()
    if opened and one is not None:
        open_run(one, subject)


def open_run(run: Run, subject: Subject) -> None:
    """Restore a run's groups and choices, and go to them; of another plan, to its result."""
    recipe = Recipe.from_dict(run.recipe)
    workspace, plan = current_workspace(), recipe.plan
    workspace.open_run(run.id)
    if not isinstance(plan, MergePlan) or not plan.groups:
        st.switch_page("pages/merge.py")
    workspace.set_groups(plan.groups, subject.sublayers)
    workspace.choose(
        method=plan.method,
        anchor=plan.anchor,
        tokens=recipe.tokens,
        seed=recipe.seed,
        int8=recipe.quantize == "int8",
    )
    st.switch_page("pages/similarity.py")


def _delete(ids: Sequence[str]) -> None:
    try:
        st.session_state["deleted"] = run_store().delete(ids)
    except FFMergeError as error:
        st.session_state["problem"] = str(error)


def _restore() -> None:
    try:
        run_store().restore(st.session_state.pop("deleted"))
    except FFMergeError as error:
        st.session_state["problem"] = str(error)


def comparable(runs: Sequence[Run], subject: Subject) -> list[Run]:
    """Runs of what is open: these weights, this data, with a plan that is known here."""
    mine, other_data, other, unknown = [], 0, 0, 0
    for run in runs:
        try:
            recipe = Recipe.from_dict(run.recipe)
        except FFMergeError:
            unknown += 1
            continue
        if Opened.of(recipe) != subject.opened:
            other_data += 1
        elif recipe.revision not in (None, subject.revision):
            other += 1
        else:
            mine.append(run)
    for n, what in (
        (other_data, f"of {subject.source} measured on other data, or in another way,"),
        (other, f"of other weights at {subject.source}"),
        (unknown, "with plans of another version"),
    ):
        if n == 1:
            st.info(f"1 run {what} is not shown.")
        elif n:
            st.info(f"{count(n)} runs {what} are not shown.")
    return mine


with guarded():
    subject = opened_subject("Compare")
    store = run_store()
    runs = comparable(store.list(subject.source), subject)
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

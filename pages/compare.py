"""All runs of the opened model: a chart against parameters, and the table behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from ffmerge_core.errors import FFMergeError
from ffmerge_core.plan import Recipe
from ffmerge_core.reporting.formats import count
from ffmerge_core.reporting.runs import LONGEST_NAME, Run
from ffmerge_core.tasks.metrics import METRICS
from pages._ui.compare.baselines import baselines
from pages._ui.compare.chart import chart
from pages._ui.compare.table import filtered, table
from pages._ui.pieces.opened import opened_subject
from pages._ui.pieces.widgets import Download, download_row, empty_state, guarded
from pages._ui.state.recipes import can_restore, restore
from pages._ui.state.shared import current_workspace, run_store
from pages._ui.state.subject import Subject


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
            help="Shows the run's groups on the Similarity page and its result on the Merge page.",
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
    workspace, merges = current_workspace(), can_restore(recipe.plan)
    if merges:
        restore(workspace, recipe, subject)
    workspace.open_run(run.id)
    st.switch_page("pages/similarity.py" if merges else "pages/merge.py")


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


def _unknown(run: Run) -> str | None:
    """What of a run's scores is not known here, if anything."""
    scores = ((run.result or {}).get("merged") or {}).get("validation")
    if scores and scores["metric"] not in METRICS:
        return f"measured by {scores['metric']}, a metric that is not registered,"
    return None


def comparable(runs: Sequence[Run], subject: Subject) -> list[Run]:
    """Runs of what is open, as it is now, with a plan that is known here; the others counted."""
    mine = []
    others: Counter[str] = Counter()
    for run in runs:
        unlike = subject.unlike_run(run.recipe) or _unknown(run)
        if unlike is None:
            mine.append(run)
        else:
            others[unlike] += 1
    for what, n in sorted(others.items()):
        if n == 1:
            st.info(f"1 run {what} is not shown.")
        else:
            st.info(f"{count(n)} runs {what} are not shown.")
    return mine


with guarded():
    subject = opened_subject("Compare")
    store = run_store()
    runs = comparable(store.list(subject.source), subject)
    if st.session_state.get("problem"):
        st.error(st.session_state.pop("problem"))
    selected: list[Run] = []
    if not runs and not st.session_state.get("deleted"):
        empty_state(
            "No merge of this model has been run yet. Pick groups and merge them. Each run then "
            "appears here, beside the original.",
            "pages/similarity.py",
            "Pick groups",
        )
    else:
        chart(subject, runs)
        shown = filtered(runs)
        selected = table(subject, shown)
        actions(selected, subject)
        st.caption(
            f"{count(len(shown))} of {count(len(runs))} runs are shown. The downloads hold the "
            "same runs."
        )
        download_row(
            Download("Table (CSV)", "runs.csv", lambda: store.to_csv(shown), "text/csv"),
            Download(
                "Everything (JSON)", "runs.json", lambda: store.to_json(shown), "application/json"
            ),
            key="runs-files",
        )
    st.divider()
    baselines(subject, runs, selected)

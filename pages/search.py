"""Every window of adjacent FF sublayers merged and scored, and groups by clustering."""

from __future__ import annotations

import streamlit as st

from pages._ui.pieces.job_panel import job_panel, latest_job, start_job
from pages._ui.pieces.opened import opened_subject
from pages._ui.pieces.widgets import empty_state, guarded
from pages._ui.search.choice import choose
from pages._ui.search.clusters import clusters
from pages._ui.search.found import Found, Search, find_windows, searches
from pages._ui.search.results import (
    best_window,
    chart,
    describe,
    prediction,
    windows_table,
)
from pages._ui.state.subject import Subject


def search_or_job(search: Search, subject: Subject) -> None:
    """The button, and how far the search is."""
    job = latest_job("search")
    st.button(
        "Search windows",
        type="primary",
        icon=":material/search:",
        disabled=(job is not None and job.active) or searches().get(search) is not None,
        on_click=start_job,
        args=("search", f"Searching windows, {describe(search)}"),
        kwargs={
            "work": lambda report: find_windows(search, search.stacks(subject), report),
            "key": search,
        },
        help="Merges every window by every method, and scores each result on the validation split, "
        "the examples that choices are made on.",
    )
    if job is not None and job.status != "done" and (job.active or job.key == search):
        job_panel(job)


def shown(search: Search | None, subject: Subject) -> Found | None:
    """What was found by the chosen search, or else by the last one: this tab's, or any tab's."""
    known = searches()
    last = st.session_state.get("search_shown")
    found = (search and known.get(search)) or (last and known.get(last))
    mine = (subject.opened, subject.revision)
    if found is None or (found.search.opened, found.search.revision) != mine:
        every = [
            each for each in known.values() if (each.search.opened, each.search.revision) == mine
        ]
        found = every[-1] if every else None
    if found is not None:
        st.session_state["search_shown"] = found.search
    return found


def results(found: Found, subject: Subject) -> None:
    best_window(found, subject)
    chart(found)
    st.subheader("Every window")
    windows_table(found, subject)
    st.subheader("Does similarity predict damage?")
    prediction(found)


with guarded():
    subject = opened_subject("Search")
    if subject.merged:
        empty_state(
            "This model was compressed before it was saved, so there is nothing to search. Open "
            "the original on the Model page.",
            "pages/model.py",
            "Open a model",
        )
        st.stop()
    search = choose(subject)
    if search is not None:
        search_or_job(search, subject)
    found = shown(search, subject)
    if found is not None:
        st.divider()
        if found.search != search:
            st.info(
                f"The results below are of another search: {describe(found.search)}. Press Search "
                "windows to search with what is chosen now."
            )
        results(found, subject)
    if search is not None:
        clusters(search, subject)

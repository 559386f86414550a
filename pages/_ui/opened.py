"""The model that this tab has opened, on every page."""

from __future__ import annotations

import streamlit as st

from pages._ui.job_panel import job_panel, latest_job, start_job
from pages._ui.navigation import require_app
from pages._ui.shared import current_workspace, history, shelf
from pages._ui.subject import DEFAULT_SOURCE, Subject
from pages._ui.widgets import count


def opened_subject(title: str) -> Subject:
    """Head the page with `title` and the opened model's name.

    A folder that this server has not opened yet (it was restarted) is opened first; until
    then, or if it cannot be, the page ends here.
    """
    require_app()
    workspace = current_workspace()
    source = workspace.source or DEFAULT_SOURCE
    subject = shelf().subject(source)
    st.title(title)
    if notice := history().notice:
        st.warning(notice)
    if subject is None:
        _open_again(source)
        st.stop()
    if workspace.source is None:
        workspace.set_source(source)
    st.caption(
        f"**{subject.title}** · {subject.source} · {count(subject.n_parameters)} parameters · "
        f"{len(subject.sublayers)} FF sublayers"
    )
    return subject


def _open_again(source: str) -> None:
    job, models = latest_job("open"), shelf()
    again = st.session_state.pop("open_again", False)
    # A job that is done opened it before, and the shelf has dropped it since.
    if job is None or job.key != source or job.status == "done" or again:
        job = start_job(
            "open", f"Opening {source}", lambda report: models.open(source, report), key=source
        )
    job_panel(job)
    if not job.active:
        with st.container(horizontal=True):
            st.button("Try again", on_click=st.session_state.update, kwargs={"open_again": True})
            st.button(
                "Back to the demo",
                on_click=current_workspace().set_source,
                args=(DEFAULT_SOURCE,),
                help="Clears the groups that were picked on this model. Its runs stay.",
            )

"""The model that this tab has opened, on every page."""

from __future__ import annotations

import streamlit as st

from ffmerge_core.reporting.formats import count
from pages._ui.pieces.job_panel import job_panel, latest_job, start_job
from pages._ui.pieces.navigation import require_app
from pages._ui.state.jobs import Job
from pages._ui.state.shared import current_workspace, history, shelf
from pages._ui.state.subject import DEFAULT, Opened, Subject


def opened_subject(title: str) -> Subject:
    """Head the page with `title` and the opened model's name.

    A model that this server has not opened yet (it was restarted) is opened first; until
    then, or if it cannot be, the page ends here.
    """
    require_app()
    workspace = current_workspace()
    opened = workspace.opened or DEFAULT
    subject = shelf().subject(opened)
    st.title(title)
    if notice := history().notice:
        st.warning(notice)
    if subject is None:
        _open_again(opened)
        st.stop()
    if workspace.opened is None:
        workspace.open(opened)
    if workspace.fit(subject.sublayers):
        st.info(
            "The FF sublayers that you picked earlier are not all in this model. Your groups were "
            "cleared."
        )
    on = "" if opened.from_card else f" · measured on {subject.data}"
    against = ", compared with the original" if opened.fidelity else ""
    against += f", BLEU by {opened.tokenize}" if opened.tokenize else ""
    st.caption(
        f"**{subject.title}** · {subject.source} · {count(subject.n_parameters)} parameters · "
        f"{len(subject.sublayers)} FF sublayers{on}{against}"
    )
    return subject


def open_model(wanted: Opened, anew: bool = False) -> Job | None:
    """Turn this tab to a model; the job that opens it, if it must be loaded to be described.

    The model that is open stays so until the other one is. anew: read it even if it was read
    before, since its files may have changed.
    """
    workspace, models = current_workspace(), shelf()
    if not anew and models.subject(wanted) is not None:
        workspace.open(wanted)
        return None
    return start_job(
        "open",
        f"Opening {wanted.source}",
        lambda report: models.open(wanted, report),
        # What is open has its full paths, which may be others than those asked for.
        lambda ended: workspace.open(ended.result) if ended.result else None,
        # With where it was asked for, so that what it says is not shown on another model.
        key=(workspace.opened, wanted),
    )


def _open_again(opened: Opened) -> None:
    job, workspace = latest_job("open"), current_workspace()
    again = st.session_state.pop("open_again", False)
    # A job that is done opened it before, and the shelf has dropped it since.
    if job is None or job.key != (opened, opened) or job.status == "done" or again:
        job = open_model(opened, anew=True)
    assert job is not None, "what is read anew has a job"
    job_panel(job)
    if not job.active:
        with st.container(horizontal=True):
            st.button("Try again", on_click=st.session_state.update, kwargs={"open_again": True})
            if not opened.on_its_own:
                st.button("Back to its own data", on_click=workspace.open, args=(opened.itself,))
            st.button(
                "Back to the demo",
                on_click=workspace.open,
                args=(DEFAULT,),
                help="The groups that you picked on this model are kept with it.",
            )

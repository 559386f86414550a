"""This tab's jobs on a page: starting one, its progress and Cancel, one line about its end."""

from __future__ import annotations

from collections.abc import Hashable

import streamlit as st

from pages._ui.pieces.widgets import duration
from pages._ui.state.jobs import Job, OnEnd, Work
from pages._ui.state.shared import current_workspace, job_registry


def start_job(
    kind: str, title: str, work: Work, on_end: OnEnd | None = None, key: Hashable = None
) -> Job:
    """`JobRegistry.submit` for this tab, remembered so that a restart can be told."""
    workspace = current_workspace()

    def ended(job: Job) -> None:
        if on_end is not None:
            on_end(job)
        # A server that stops cancels its jobs: those stay remembered, and are interrupted.
        if job.status != "cancelled":
            workspace.job_ended(kind)

    # Before submitting: a quick job may be over, and forgotten, before the next line runs.
    workspace.job_started(kind)
    return job_registry().submit(workspace.id, kind, title, work, ended, key)


def latest_job(kind: str, *, said: bool = False) -> Job | None:
    """This tab's newest job of a kind; if a restart of the server took it, a notice says so.

    said: the page says it itself.
    """
    workspace = current_workspace()
    job = job_registry().latest(workspace.id, kind)
    if (job is None or not job.active) and kind in workspace.jobs:
        workspace.job_ended(kind)
        if job is None and not said:
            st.warning(
                f"The last {kind} job was interrupted because the server stopped. Nothing was "
                "changed. Start it again."
            )
    return job


def needed(kind: str, title: str, work: Work, key: Hashable, again: str) -> None:
    """The job that makes what this place of the page shows, begun without a press.

    again: the label of the button that begins it anew once it was cancelled or failed.
    """
    job = latest_job(kind)
    pressed = st.session_state.pop(f"again-{kind}", False)
    # A job that is done and left nothing: the shelf has dropped it since.
    if job is None or job.key != key or job.status == "done" or pressed:
        job = start_job(kind, title, work, key=key)
    job_panel(job)
    if not job.active:
        st.button(again, on_click=st.session_state.update, kwargs={f"again-{kind}": True})


def job_panel(job: Job) -> None:
    """Show `job`; when it ends, rerun the app once so that the page shows its result."""
    if job.active:
        _watch(job.id)
    elif job.status == "done":
        st.success(f"{job.title}: done in {duration(job.seconds)}.")
    elif job.status == "cancelled":
        st.info("Cancelled: nothing was changed.")
    else:
        st.error(job.error)


@st.fragment(run_every=0.5)
def _watch(job_id: str) -> None:
    job = job_registry().get(job_id)
    if job is None or not job.active:
        # The rerun draws the page without this fragment, and with it the polling ends.
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.progress(job.fraction, text=_status_line(job), width="stretch")
        st.button(
            "Cancel",
            key=f"cancel-{job.id}",
            on_click=job_registry().cancel,
            args=(job.id,),
            disabled=job.stopping,
        )


def _status_line(job: Job) -> str:
    if job.status == "waiting":
        jobs = "1 job" if job.ahead == 1 else f"{job.ahead} jobs"
        return f"{job.title}: waiting for {jobs} to finish first."
    if job.stopping:
        return f"{job.title}: stopping after the current batch…"
    line = f"{job.message or job.title} · {duration(job.seconds)}"
    if job.seconds_left is not None:
        line += f", about {duration(job.seconds_left)} left"
    return line

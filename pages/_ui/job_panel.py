"""A job on a page: its progress and a Cancel while it lasts, one line about its end after."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from pages._ui.jobs import Job
from pages._ui.shared import job_registry
from pages._ui.widgets import duration

OnDone = Callable[[Job], None]


def job_panel(job: Job, on_done: OnDone | None = None) -> None:
    """Show `job`; when it ends, rerun the app once so that the page shows its result.

    on_done: called once in the tab that watched the job end, for one-off reactions. The
    result itself belongs in `job.result`, which a refreshed page still finds.
    """
    if job.active:
        _watch(job.id, on_done)
    elif job.status == "done":
        st.success(f"{job.title}: done in {duration(job.seconds)}.")
    elif job.status == "cancelled":
        st.info("Cancelled: nothing was changed.")
    else:
        st.error(job.error)


@st.fragment(run_every=0.5)
def _watch(job_id: str, on_done: OnDone | None) -> None:
    job = job_registry().get(job_id)
    if job is None or not job.active:
        if job is not None and on_done is not None:
            on_done(job)
        # The rerun draws the page without this fragment, and with it the polling ends.
        st.rerun()
    bar, button = st.columns([5, 1], vertical_alignment="bottom")
    bar.progress(job.fraction, text=_status_line(job))
    button.button(
        "Cancel",
        key=f"cancel-{job.id}",
        on_click=job_registry().cancel,
        args=(job.id,),
        disabled=job.stopping,
        width="stretch",
    )


def _status_line(job: Job) -> str:
    if job.status == "waiting":
        jobs = "1 job" if job.ahead == 1 else f"{job.ahead} jobs"
        return f"{job.title}: waiting for {jobs} ahead."
    if job.stopping:
        return f"{job.title}: stopping after the current batch…"
    line = f"{job.message or job.title} · {duration(job.seconds)}"
    if job.seconds_left is not None:
        line += f", about {duration(job.seconds_left)} left"
    return line

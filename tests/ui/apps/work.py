"""Jobs of one tab: one that lasts, one that works, one that fails."""

import time

import streamlit as st

from ffmerge_core.errors import PlanError
from ffmerge_core.progress import Report
from pages._ui.pieces.job_panel import job_panel, latest_job, start_job


def slow(report: Report) -> str:
    for step in range(600):
        report(step, 600, f"Batch {step} of 600")
        time.sleep(0.05)
    return "slow result"


def quick(report: Report) -> str:
    report(1, 2, "Halfway")
    time.sleep(0.5)
    return "quick result"


def refused(report: Report) -> str:
    raise PlanError("A group needs at least two to merge.")


st.title("Work")
st.session_state.setdefault("runs", 0)
st.session_state.runs += 1
for title, function in (("Slow", slow), ("Quick", quick), ("Refused", refused)):
    if st.button(title):
        start_job("work", title, function)
job = latest_job("work")
if job is not None:
    job_panel(job)
    if job.result is not None:
        st.text(f"result: {job.result}")
st.text(f"whole runs: {st.session_state.runs}")

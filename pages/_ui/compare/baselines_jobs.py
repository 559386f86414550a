"""Baselines as a job: each a run of the history, on the page as soon as it is over."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from ffmerge_core.plan import Plan, Recipe
from ffmerge_core.progress import Report, part
from ffmerge_core.reporting.baseline_runs import recipes, record_baselines, title
from ffmerge_core.reporting.formats import count
from ffmerge_core.reporting.runs import RunStore
from pages._ui.pieces.job_panel import job_panel, latest_job, start_job
from pages._ui.state.jobs import Job
from pages._ui.state.shared import current_workspace, job_registry, run_store, shelf
from pages._ui.state.shelf import Shelf
from pages._ui.state.subject import Opened, Subject

JOB = "baselines"


@dataclass(frozen=True)
class Asked:
    """like: what all are alike in. budget: its plan, or a number of parameters.

    control: with the original, tuned as the others are.
    """

    like: Recipe
    budget: Plan | int
    kinds: tuple[str, ...]
    control: bool


@dataclass(frozen=True)
class Done:
    """there_already: runs. said: a sentence for each that is left out or failed."""

    there_already: int
    said: tuple[str, ...]


def work(models: Shelf, store: RunStore, asked: Asked, report: Report) -> Done:
    """Choose the plans and carry them out; runs on the jobs' thread."""
    model = models.load(Opened.of(asked.like), report)
    from ffmerge_core.compression.budget import baselines, unmet
    from ffmerge_core.compression.running import pinned

    # A run's recipe keeps its revisions, so that weights that changed since are refused.
    like = pinned(asked.like, model)
    choosing = 1 / (1 + len(asked.kinds))
    plans, said = {}, []
    if asked.kinds:
        plans = baselines(model, asked.budget, asked.kinds, part(report, 0, choosing))
        said += unmet(model, asked.budget, asked.kinds).values()
    wanted = recipes(plans, like, control=asked.control)
    done = list(record_baselines(store, wanted, models.replay, part(report, choosing, 1)))
    said += [f"{title(each.kind)} failed: {each.error}" for each in done if each.error]
    return Done(sum(each.again for each in done), tuple(said))


def latest() -> Job | None:
    """The tab's newest baselines; if a stop of the server took them, a notice says so, once."""
    workspace = current_workspace()
    stopped = JOB in workspace.jobs and job_registry().latest(workspace.id, JOB) is None
    if stopped:
        st.warning(
            "The baselines were interrupted because the server stopped. The finished ones are "
            "kept. Run the baselines again to do the rest."
        )
    return latest_job(JOB, said=stopped)


def run_button(asked: Asked, job: Job | None) -> None:
    models, store = shelf(), run_store()
    st.button(
        "Run baselines",
        type="primary",
        icon=":material/balance:",
        disabled=job is not None and job.active,
        on_click=start_job,
        args=(JOB, "Baselines"),
        kwargs={"work": lambda report: work(models, store, asked, report), "key": asked},
    )


def progress(subject: Subject, job: Job | None) -> None:
    """How far the baselines are, or how they ended."""
    # What was asked of another model is told there.
    if job is None or not isinstance(job.key, Asked) or Opened.of(job.key.like) != subject.opened:
        return
    if job.status == "cancelled":
        st.info(
            "Cancelled. The finished baselines are kept. Run the baselines again to do the rest."
        )
        return
    job_panel(job)
    if job.active:
        st.caption("Each baseline is shown when it is finished. Cancel keeps the finished ones.")
        _land(job.id, subject.source, _states(subject.source))
    elif isinstance(job.result, Done):
        _say(job.result)


def _say(done: Done) -> None:
    if done.there_already:
        n = done.there_already
        st.caption(
            f"{count(n)} of these {'was' if n == 1 else 'were'} run before and "
            f"{'is' if n == 1 else 'are'} shown as {'it was' if n == 1 else 'they were'}."
        )
    for sentence in done.said:
        st.info(sentence)


@st.fragment(run_every=1.0)
def _land(job_id: str, source: str, drawn: frozenset[tuple[str, str]]) -> None:
    """Draw the page again when a run has begun or ended since it was drawn."""
    job = job_registry().get(job_id)
    if job is not None and job.active and _states(source) != drawn:
        st.rerun()


def _states(source: str) -> frozenset[tuple[str, str]]:
    return frozenset((run.id, run.status) for run in run_store().list(source))

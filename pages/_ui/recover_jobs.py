"""A recovery as a job: started, watched with its curve, gone on with after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from ffmerge_core.compression.resuming import underway
from ffmerge_core.plan import Recipe
from ffmerge_core.progress import Report
from ffmerge_core.reporting.figures import recovery_chart
from ffmerge_core.reporting.recoveries import (
    Unfinished,
    carry_out,
    folder_of,
    give_up,
    name_of,
    recovery_in_words,
    unfinished,
)
from ffmerge_core.reporting.run import Run
from ffmerge_core.reporting.runs import RunStore
from ffmerge_core.tasks.metrics import metric
from pages._ui.job_panel import job_panel, latest_job, start_job
from pages._ui.shared import current_workspace, job_registry, run_store, shelf
from pages._ui.shelf import Shelf
from pages._ui.subject import Opened, Subject


def recover(models: Shelf, store: RunStore, recipe: Recipe, report: Report) -> str:
    """Carry out a recipe with a recovery as a run of the history; returns the run's id."""
    models.load(Opened.of(recipe), report)
    run_id, result = carry_out(store, recipe, models.replay, report)
    models.results.put(run_id, result)
    return run_id


def start(recipe: Recipe) -> None:
    workspace, models, store = current_workspace(), shelf(), run_store()
    start_job(
        "recover",
        name_of(recipe),
        lambda report: recover(models, store, recipe, report),
        lambda ended: workspace.open_run(ended.result) if ended.result else None,
        key=recipe,
    )


def recover_button(recipe: Recipe) -> None:
    job = latest_job("recover")
    st.button(
        "Recover",
        type="primary",
        icon=":material/healing:",
        disabled=job is not None and job.active,
        on_click=start,
        args=(recipe,),
    )


def progress(subject: Subject) -> bool:
    """The tab's recovery while it waits or runs, or how its job ended; whether it is active."""
    job = latest_job("recover")
    # A job that is done speaks of its own run only, while that is the one shown.
    if job is None or (job.status == "done" and job.result != current_workspace().run_id):
        return False
    job_panel(job)
    if job.active:
        st.caption("Cancel keeps the best weights so far and scores them, once there is a score.")
        assert isinstance(job.key, Recipe)
        if Opened.of(job.key) == subject.opened:
            score = subject.scores["validation"]
            _live(job.id, folder_of(run_store(), job.key), score["metric"], score["value"])
    return job.active


@st.fragment(run_every=1.0)
def _live(job_id: str, folder: Path, name: str, original: float) -> None:
    job, known = job_registry().get(job_id), underway(folder)
    if job is None or not job.active:
        return
    if known is None:
        st.caption("The curve begins with the first score on the validation split.")
        return
    figure = recovery_chart(known.points, metric(name), known.asked, original=original)
    st.plotly_chart(figure, key="recovery-live", config={"displaylogo": False})


def offer_to_go_on(runs: Sequence[Run]) -> None:
    """Recoveries of this model that a kill or an error ended, each with a way on."""
    job = latest_job("recover")
    if job is not None and job.active:
        return
    for known in unfinished(run_store(), runs):
        _offer(known)


def _offer(known: Unfinished) -> None:
    step, recovery = known.underway.step, known.recipe.recovery
    assert recovery is not None, "an unfinished recovery has one"
    with st.container(border=True):
        st.markdown(
            f"**{known.run.name}** was {known.run.status} at step {step} of "
            f"{known.underway.asked} or later ({recovery_in_words(recovery)})."
        )
        if known.run.error:
            st.caption(known.run.error)
        with st.container(horizontal=True):
            st.button(
                f"Go on from step {step}",
                key=f"go-on-{known.run.id}",
                icon=":material/resume:",
                on_click=start,
                args=(known.recipe,),
            )
            st.button(
                "Give it up",
                key=f"give-up-{known.run.id}",
                icon=":material/delete:",
                on_click=give_up,
                args=(known.folder,),
                help="Deletes its checkpoint; the run stays in the history.",
            )

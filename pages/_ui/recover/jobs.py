"""A recovery as a job: started, watched with its curve, gone on with after a restart."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ffmerge_core.compression.resuming import underway
from ffmerge_core.plan import Recipe
from ffmerge_core.progress import Report
from ffmerge_core.reporting.recoveries import (
    Unfinished,
    folder_of,
    give_up,
    name_of,
    record_recovery,
    recovery_in_words,
    unfinished,
)
from ffmerge_core.reporting.run import Run
from ffmerge_core.reporting.runs import RunStore
from pages._ui.pieces.job_panel import job_panel, latest_job, start_job
from pages._ui.recover.choice import is_recovered
from pages._ui.recover.live import StepLosses, live_curve, step_losses
from pages._ui.state.shared import current_workspace, run_store, shelf
from pages._ui.state.shelf import Shelf
from pages._ui.state.subject import Opened, Subject

_CAUSES = {
    "interrupted": "was interrupted because the server or the program that ran it stopped",
    "failed": "failed",
    "cancelled": "was cancelled before its best weights could be kept as a run",
}


def recover(models: Shelf, store: RunStore, recipe: Recipe, report: Report) -> str:
    """Carry out a recipe with a recovery as a run of the history; returns the run's id."""
    models.load(Opened.of(recipe), report)
    run_id, result = record_recovery(store, recipe, models.replay, report)
    models.results.put(run_id, result)
    return run_id


def start(recipe: Recipe) -> None:
    workspace, models, store, live = current_workspace(), shelf(), run_store(), step_losses()

    def work(report: Report) -> str:
        known = underway(folder_of(store, recipe))
        losses = live.put(workspace.id, StepLosses(known.step if known else 0))
        return recover(models, store, recipe, losses.listening(report))

    start_job(
        "recover",
        name_of(recipe),
        work,
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
        st.caption(
            "Cancel keeps the best weights so far and scores them. This needs a first score on the "
            "validation split."
        )
        assert isinstance(job.key, Recipe)
        if Opened.of(job.key) == subject.opened:
            score, folder = subject.scores["validation"], folder_of(run_store(), job.key)
            live_curve(job.id, job.owner, folder, score["metric"], score["value"])
    return job.active


def offer_to_go_on(runs: Sequence[Run]) -> None:
    """Recoveries of this model that a kill or an error ended, each with a way on."""
    found = unfinished(run_store(), runs)
    newest = next((run.id for run in runs if is_recovered(run)), None)
    # Its offer says what happened, so that one message does.
    said = any(known.run.id == newest and known.run.status == "interrupted" for known in found)
    job = latest_job("recover", said=said)
    if job is None or not job.active:
        for known in found:
            _offer(known)


def _offer(known: Unfinished) -> None:
    step, recovery = known.underway.step, known.recipe.recovery
    assert recovery is not None, "an unfinished recovery has one"
    with st.container(border=True):
        st.markdown(f"**{known.run.name}** {_CAUSES[known.run.status]}. {_kept(known)}")
        if known.run.error:
            st.caption(known.run.error)
        st.caption(recovery_in_words(recovery))
        with st.container(horizontal=True):
            st.button(
                f"Continue from step {step}" if step else "Start again",
                key=f"go-on-{known.run.id}",
                icon=":material/resume:",
                on_click=start,
                args=(known.recipe,),
            )
            st.button(
                "Discard it",
                key=f"give-up-{known.run.id}",
                icon=":material/delete:",
                on_click=give_up,
                args=(known.folder,),
                help="Deletes its checkpoint. The run stays in the history.",
            )


def _kept(known: Unfinished) -> str:
    step, asked = known.underway.step, known.underway.asked
    if not step:
        return f"It had not reached its first check, so its {asked} steps start again."
    return f"What it had learnt by step {step} of {asked} is kept, and it can continue from there."

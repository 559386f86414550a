"""Merge the picked groups, and read what it cost."""

from __future__ import annotations

import streamlit as st

from ffmerge_core.errors import DataError
from ffmerge_core.plan import ANCHORS, METHODS, REPAIRS, Recipe, merges, short
from ffmerge_core.reporting.recoveries import name_of
from ffmerge_core.reporting.runs import Run
from pages._ui.merge.alignment import alignment
from pages._ui.merge.changed import what_changed
from pages._ui.merge.export import export
from pages._ui.merge.try_out import try_out
from pages._ui.pieces.job_panel import job_panel, latest_job, start_job
from pages._ui.pieces.opened import opened_subject
from pages._ui.pieces.results import before_and_after
from pages._ui.pieces.savings import savings
from pages._ui.pieces.widgets import (
    choose_weights,
    empty_state,
    guarded,
    next_step,
    weights_label,
    without_anchor,
)
from pages._ui.state.recipes import LARGEST_SEED, recipe_of
from pages._ui.state.shared import current_workspace, run_store, shelf
from pages._ui.state.subject import Opened, Subject


def choose(subject: Subject) -> Recipe:
    workspace = current_workspace()
    chosen = workspace.settings
    for key in ("method", "anchor", "quantize", "repair"):
        st.session_state.setdefault(key, getattr(chosen, key))
    left, middle, right = st.columns([4, 2, 4], gap="large")
    method = left.radio(
        "Method", merges(), key="method", format_func=lambda name: METHODS[name].line
    )
    anchor = middle.radio(
        "Anchor",
        ANCHORS,
        key="anchor",
        format_func=str.capitalize,
        disabled="anchor" not in METHODS[method].needs,
        help="The anchor is the layer of each group that the others are aligned to, or copied "
        "from. In a group of even size, the middle is the earlier of the two middle layers. "
        + without_anchor(merges()),
    )
    with left:
        seed = (
            choose_draw(chosen.plan_seed) if "seed" in METHODS[method].needs else chosen.plan_seed
        )
        repair = choose_repair() if REPAIRS else chosen.repair
        quantize = choose_weights("quantize")
    workspace.choose(method=method, anchor=anchor, plan_seed=seed, repair=repair, quantize=quantize)
    with right:
        for number, group in enumerate(workspace.groups, start=1):
            st.markdown(f"**{number}** · {short(group)} · {len(group)} layers")
        savings(subject)
        if quantize:
            st.caption(
                f"This is the memory before the weights are rounded to {weights_label(quantize)}."
            )
    return recipe_of(workspace.state)


def choose_repair() -> str:
    """What is done to the shared sublayers after the merge."""
    return st.segmented_control(
        "Repair",
        ("", *REPAIRS),
        required=True,
        key="repair",
        format_func=lambda name: REPAIRS[name].label if name else "None",
        help=" ".join(record.sentence for record in REPAIRS.values()),
    )


def choose_draw(chosen: int) -> int:
    """The seed of a method that draws weights."""
    # Not before: a key that no widget has would outlive the seed that is restored meanwhile.
    st.session_state.setdefault("plan_seed", chosen)
    seed = st.number_input(
        "Seed of the draw",
        0,
        LARGEST_SEED,
        key="plan_seed",
        width=220,
        help="This seed decides which random weights are drawn. The seed on the Similarity page "
        "decides which calibration tokens are drawn.",
    )
    return int(seed)


def merge_button(recipe: Recipe) -> None:
    store, workspace, models = run_store(), current_workspace(), shelf()
    job = latest_job("merge")
    name = name_of(recipe)
    st.button(
        "Merge",
        type="primary",
        icon=":material/merge:",
        disabled=job is not None and job.active,
        on_click=start_job,
        args=("merge", "Merge"),
        kwargs={
            "work": lambda report: models.merge(recipe, name, store, report),
            "on_end": lambda ended: workspace.open_run(ended.result) if ended.result else None,
        },
    )
    # A job that is done speaks of its own run only, while that is the one shown.
    if job is not None and (job.status != "done" or job.result == workspace.run_id):
        job_panel(job)


def opened_run(subject: Subject) -> Run | None:
    """The run that this tab made or opened last, if it is one of what is open."""
    workspace = current_workspace()
    if workspace.run_id is None:
        return None
    try:
        run = run_store().get(workspace.run_id)
    except DataError:
        # Deleted meanwhile, perhaps by another tab.
        workspace.open_run(None)
        return None
    mine = Opened.of(Recipe.from_dict(run.recipe)) == subject.opened
    return run if mine and run.result is not None else None


def show(run: Run) -> None:
    st.divider()
    st.header(run.name)
    before_and_after(run)
    recipe = Recipe.from_dict(run.recipe)
    result = shelf().results.get(run.id)
    final_score(run, recipe)
    alignment(run, result)
    st.subheader("What changed")
    if result is None:
        load_again(run, recipe)
    else:
        what_changed(result)
        st.subheader("Try it")
        try_out(run.id, result)
    st.subheader("Export")
    with guarded():
        export(run, result)
    next_step("pages/recover.py", "Recover some of the cost by a short fine-tune")
    next_step("pages/compare.py", "Compare with the original and other merges")


def final_score(run: Run, recipe: Recipe) -> None:
    """The test split, scored only when asked for: choices belong to the validation split."""
    job, models, store = latest_job("final"), shelf(), run_store()
    if "test" not in ((run.result or {}).get("difference") or {}):
        st.button(
            "Final score",
            on_click=start_job,
            args=("final", "Final score"),
            kwargs={
                "work": lambda report: models.final_score(run.id, recipe, store, report),
                "key": run.id,
            },
            disabled=job is not None and job.active,
            icon=":material/flag:",
            help="Scores both models on the test split, the examples that no choice is made on. Do "
            "it once, for the merge that you settled on. If you choose a merge by its test "
            "figures, they look better than they are.",
        )
    if job is not None and job.key == run.id and (job.active or job.error):
        job_panel(job)


def load_again(run: Run, recipe: Recipe) -> None:
    """A stored run's models are not in memory after a restart; its recipe makes them again."""
    job, models = latest_job("reload"), shelf()
    st.info(
        "The merged model of this run is no longer in memory. It can be rebuilt from the run's "
        "recipe."
    )
    st.button(
        "Rebuild it",
        on_click=start_job,
        args=("reload", "Rebuilding the merged model"),
        kwargs={
            "work": lambda report: models.reload(run.id, recipe, report),
            "key": run.id,
        },
        disabled=job is not None and job.active,
    )
    if job is not None and job.key == run.id and (job.active or job.error):
        job_panel(job)


with guarded():
    subject = opened_subject("Merge")
    if subject.merged:
        empty_state(
            "This model was compressed before it was saved. It cannot be merged again here, or "
            "saved in another layout. Open the original on the Model page.",
            "pages/model.py",
            "Open a model",
        )
        st.stop()
    if current_workspace().groups:
        merge_button(choose(subject))
    else:
        draft = current_workspace().draft
        picked = f"You picked {short(draft)}, but did not add it as a group. " if draft else ""
        empty_state(
            picked + "There is no group to merge yet. Pick layers that resemble each other on the "
            "Similarity page.",
            "pages/similarity.py",
            "Pick groups",
        )
    run = opened_run(subject)
    if run is not None:
        show(run)

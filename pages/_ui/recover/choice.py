"""What is recovered, and how: a plan of this model's runs, and the options of its fine-tune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from ffmerge_core.plan import NOTHING_MERGED, Recipe, Recovery, plan_in_words
from ffmerge_core.plan.fitting import same_but
from ffmerge_core.reporting.formats import count
from ffmerge_core.reporting.recoveries import recovery_in_words
from ffmerge_core.reporting.run import Run
from pages._ui.pieces.widgets import choose_weights, numbered, weights_label
from pages._ui.state.recipes import LARGEST_SEED
from pages._ui.state.shared import current_workspace, run_store
from pages._ui.state.subject import Subject

DEFAULT = Recovery()


def runs_of(subject: Subject) -> list[Run]:
    """The runs of what is open, newest first, however they ended."""
    runs = run_store().list(subject.source)
    return [run for run in runs if subject.unlike_run(run.recipe) is None]


def untuned(run: Run) -> Recipe:
    """A run's recipe without recovery and int8: what every recovery of its plan begins with."""
    return replace(Recipe.from_dict(run.recipe), recovery=None, quantize=None)


def plans(runs: Sequence[Run]) -> dict[Recipe, str]:
    """Every recipe that can be recovered → what it is called, newest first, the original last.

    A recovered or int8 run stands for its plan where the history has no plain run of it.
    """
    done = [run for run in runs if run.result is not None]
    named: dict[Recipe, str] = {}
    for run in sorted(done, key=lambda run: not is_plain(run)):
        recipe = untuned(run)
        if is_plain(run) or not any(is_of_plan(run, known) for known in named):
            name = run.name if is_plain(run) else plan_in_words(recipe.plan)
            named.setdefault(recipe, numbered(name, named.values()))
    if named and not any(recipe.plan == NOTHING_MERGED for recipe in named):
        original = replace(next(iter(named)), plan=NOTHING_MERGED)
        named[original] = numbered(plan_in_words(NOTHING_MERGED), named.values())
    return named


def is_recovered(run: Run) -> bool:
    return Recipe.from_dict(run.recipe).recovery is not None


def is_plain(run: Run) -> bool:
    """Whether its plan was carried out and nothing after it."""
    return Recipe.from_dict(run.recipe) == untuned(run)


def is_of_plan(run: Run, plan: Recipe) -> bool:
    """Whether a run carries out this plan; its recovery may have drawn by another seed."""
    return same_but(untuned(run), plan, "seed", "python")


def choose_plan(runs: Sequence[Run]) -> Recipe:
    """The plan that is recovered: at first that of the run which this tab made or opened.

    runs: one of them has a result at least.
    """
    named, open_run = plans(runs), current_workspace().run_id
    recipes = list(named)
    mine = [
        recipe
        for run in runs
        if run.id == open_run
        for recipe in sorted(recipes, key=lambda known: known != untuned(run))
        if is_of_plan(run, recipe)
    ]
    chosen = st.selectbox(
        "Run",
        recipes,
        index=recipes.index(mine[0]) if mine else 0,
        format_func=named.__getitem__,
        # Another run opened elsewhere is another choice here.
        key=f"recover_run_{open_run}",
        help="The plan of this run is carried out again, and the model that it makes is "
        "fine-tuned: trained a little more on the training split. The original, fine-tuned in "
        "the same way, shows what fine-tuning alone gains.",
    )
    return chosen or recipes[0]


def choose_recovery(plan: Recipe, runs: Sequence[Run]) -> Recipe:
    """The plan's recipe with a recovery, and with rounded weights if they are wanted.

    runs: where the run that is open has them, they are wanted here at first.
    """
    left, middle, right = st.columns(3)
    steps = left.number_input(
        "Steps",
        1,
        1_000_000,
        DEFAULT.steps,
        step=50,
        key="recover_steps",
        persist_state="session",
        help="The most steps that are taken. Training stops earlier if the loss on the validation "
        "split no longer falls.",
    )
    rate = middle.number_input(
        "Learning rate",
        1e-8,
        10.0,
        DEFAULT.learning_rate,
        step=1e-4,
        format="%g",
        key="recover_rate",
        persist_state="session",
        help="The highest learning rate. It is reached after a warm-up over a tenth of the steps. "
        "After that it falls to 0.",
    )
    batch_size = right.number_input(
        "Batch size",
        1,
        4096,
        DEFAULT.batch_size,
        key="recover_batch",
        persist_state="session",
        help="The number of training examples in each step.",
    )
    distill = st.toggle(
        "Distil from the original",
        key="recover_distill",
        persist_state="session",
        disabled=plan.fidelity,
        help="Half of the loss is then the distance to the original's predictions. If the model is "
        "measured by fidelity, all of the loss is that distance already.",
    )
    open_run = next((run for run in runs if run.id == current_workspace().run_id), None)
    # Another run opened elsewhere is another choice here.
    key = f"recover_weights_{open_run.id if open_run else None}"
    of_run = Recipe.from_dict(open_run.recipe).quantize if open_run else None
    st.session_state.setdefault(key, of_run or "")
    quantize: Any = choose_weights(key, persist_state="session")
    rank, seed = _for_big_models(plan)
    recovery = Recovery(
        int(steps), float(rate), int(batch_size), distill and not plan.fidelity, rank
    )
    often = "step" if recovery.interval == 1 else f"{count(recovery.interval)} steps"
    st.caption(
        f"{recovery_in_words(recovery)}. The model is scored on the validation split every "
        f"{often}. The best weights are kept, which may be those of the start. Weights that merged "
        "layers share (tied weights) stay shared."
        + (f" At the end they are rounded to {weights_label(quantize)}." if quantize else "")
    )
    return replace(plan, recovery=recovery, seed=seed, quantize=quantize or None)


def _for_big_models(plan: Recipe) -> tuple[int | None, int]:
    with st.expander("Options for big models, and the seed"):
        left, right = st.columns(2)
        rank = left.number_input(
            "LoRA rank",
            1,
            4096,
            None,
            placeholder="Off: all weights are trained",
            key="recover_rank",
            persist_state="session",
            help="Trains only low-rank adapters, and adds them to the weights at the end.",
        )
        seed = right.number_input(
            "Seed",
            0,
            LARGEST_SEED,
            None,
            placeholder=f"As in the run: {plan.seed}",
            key="recover_seed",
            persist_state="session",
            help="The seed decides the order of the training examples. As in the merge, it also "
            "decides which calibration tokens are drawn, so another seed may align the "
            "neurons a little differently.",
        )
    return rank, plan.seed if seed is None else seed

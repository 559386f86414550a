"""Baselines of a run, or at a number of parameters: chosen, started, told of."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ffmerge_core.plan import METHODS, NOTHING_MERGED, Plan, Recipe, rivals
from ffmerge_core.reporting.baseline_runs import CONTROL
from ffmerge_core.reporting.formats import count
from ffmerge_core.reporting.recoveries import recovery_in_words
from ffmerge_core.reporting.runs import Run
from ffmerge_core.reporting.stored import is_merge, is_original, method_of
from pages._ui.compare.baselines_jobs import Asked, latest, progress, run_button
from pages._ui.compare.table import figure_of
from pages._ui.pieces.widgets import numbered
from pages._ui.state.shared import current_workspace
from pages._ui.state.subject import Subject

A_NUMBER = "A number of parameters"
CONTROL_LABEL = "Original, same fine-tuning"
CONTROL_HELP = (
    f"**{CONTROL_LABEL}** shows what fine-tuning does alone, or with rounding if the run has one."
)


def baselines(subject: Subject, runs: Sequence[Run], selected: Sequence[Run]) -> None:
    """The section: what is asked for, a button, and how far its job is.

    selected: rows of the table; the first with a result is the default.
    """
    st.subheader("Baselines")
    if subject.merged:
        st.info(
            "This model was compressed before it was saved. Baselines start from an original "
            "model. Open the original on the Model page."
        )
        return
    st.caption(
        "A baseline is another way to leave about the same number of parameters. Each one becomes "
        "a run on the same chart. A window, the run of adjacent layers that a baseline changes, is "
        "chosen by the validation loss, before any fine-tuning."
    )
    job = latest()
    asked = _choose(subject, runs, selected)
    if asked is not None:
        run_button(asked, job)
    progress(subject, job)


def _choose(subject: Subject, runs: Sequence[Run], selected: Sequence[Run]) -> Asked | None:
    """What the controls ask for; None while no kind is chosen."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = _run(runs, selected)
        like = Recipe.from_dict(run.recipe) if run else _of_number(subject)
        budget: Plan | int = like.plan if run else _number(subject)
    kinds = rivals(budget)
    # The control is a baseline of what was tuned alone.
    options = (*kinds, CONTROL) if like.recovery else kinds
    chosen = st.pills(
        "Kinds",
        options,
        selection_mode="multi",
        default=options,
        # Other kinds are another choice.
        key=f"baselines_kinds_{'_'.join(options)}",
        persist_state="session",
        format_func=lambda name: CONTROL_LABEL if name == CONTROL else METHODS[name].label,
        help=" ".join((*(METHODS[name].sentence for name in kinds), CONTROL_HELP)),
    )
    st.caption(_same_for_all(like, run))
    if not chosen:
        st.info("Choose one kind or more.")
        return None
    return Asked(like, budget, tuple(kind for kind in kinds if kind in chosen), CONTROL in chosen)


def _run(runs: Sequence[Run], selected: Sequence[Run]) -> Run | None:
    """The run whose number of parameters is to be left; None for a number that is given.

    At first the row selected, or else the run that this tab made or opened, or else a merge.
    """
    done = [run for run in runs if run.result is not None and not is_original(run.recipe)]
    by_id = {run.id: run for run in done}
    open_run = current_workspace().run_id
    pointed_at = [id for id in (*(run.id for run in selected), open_run) if id in by_id]
    # The paper's method first: the other merges may be baselines of an earlier one.
    merges = [run for run in done if is_merge(run.recipe)]
    merges.sort(key=lambda run: [*METHODS].index(method_of(run.recipe)))
    default = next(iter((*pointed_at, *(run.id for run in merges), A_NUMBER)))
    labels = {A_NUMBER: A_NUMBER}
    for run in reversed(done):  # an older one keeps its label when another of its name lands
        left = count(figure_of(run, "merged", "n_parameters"))
        labels[run.id] = numbered(f"{run.name} · {left} parameters", labels.values())
    ids = [*by_id, A_NUMBER]
    chosen = st.selectbox(
        "Match the parameters of",
        ids,
        index=ids.index(default),
        format_func=labels.__getitem__,
        # Another row selected or run opened is another choice; a baseline that lands is none.
        key=f"baselines_of_{pointed_at[0] if pointed_at else None}",
        persist_state="session",
        help="Baselines of a merge use the same groups, the same recovery and the same int8 "
        "weights.",
    )
    return by_id.get(chosen)


def _of_number(subject: Subject) -> Recipe:
    settings = current_workspace().settings
    return Recipe(
        source=subject.source,
        plan=NOTHING_MERGED,
        data=subject.opened.data,
        fidelity=subject.opened.fidelity,
        tokenize=subject.opened.tokenize,
        allow_bin=subject.opened.allow_bin,
        tokens=settings.tokens,
        seed=settings.seed,
    )


def _number(subject: Subject) -> int:
    """By default, what merging a third of the FF sublayers leaves."""
    ff = [sublayer.n_parameters for sublayer in subject.sublayers]
    return int(
        st.number_input(
            "Parameters",
            1,
            subject.n_parameters - 1,
            subject.n_parameters - sum(ff[: max(1, round(len(ff) / 3))]),
            step=1_000,
            key=f"baselines_number_{subject.source}_{subject.n_parameters}",
            persist_state="session",
            width=220,
            help=f"The original has {count(subject.n_parameters)} parameters. Each kind of "
            "baseline comes as near to your number as its layers, ranks or neurons allow.",
        )
    )


def _same_for_all(like: Recipe, run: Run | None) -> str:
    """What the baselines have in common."""
    said = f"{count(like.tokens)} calibration tokens, seed {like.seed}"
    if run is None:
        return f"Not fine-tuned, with {said}."
    recovery = like.recovery
    tuned = (
        f"Fine-tuned in the same way: {recovery_in_words(recovery)}"
        if recovery
        else "Not fine-tuned"
    )
    int8 = f", then rounded to {like.quantize}" if like.quantize else ""
    return f"{tuned}{int8}, with {said}, as in {run.name}."

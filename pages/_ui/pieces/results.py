"""What a merge cost and what it matched, as the stored run has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from ffmerge_core.reporting.before_after import before_and_after_rows, how_scored, speed_rows
from ffmerge_core.reporting.costs import batch_rows, costs_note, step_rows
from ffmerge_core.reporting.runs import Run
from ffmerge_core.reporting.stored import made, ties_only
from pages._ui.pieces.widgets import weights_label


def before_and_after(run: Run) -> None:
    """The table, split by split, and the paired differences in sentences."""
    result = run.result or {}
    rows = [*before_and_after_rows(result), *speed_rows(result, run.recipe)]
    columns = ["", "Original", made(run.recipe), "Change"]
    st.table(pd.DataFrame(rows, columns=columns).set_index(""))
    st.caption(
        "Brackets hold 95% bootstrap intervals over examples. The change is paired: both models "
        f"are compared example by example. {what_it_saves(run.recipe)}"
    )
    for line in how_scored(result):
        st.caption(line)
    what_it_cost(run)


def what_it_cost(run: Run) -> None:
    """Seconds and peak memory by step, and what a batch takes of both models."""
    if not (steps := step_rows(run)):
        return
    with st.expander("What it cost"):
        table = pd.DataFrame(steps, columns=["Step", "Seconds", "Peak memory"])
        st.table(table.set_index("Step"))
        st.caption(costs_note(run))
        if timed := batch_rows(run.result or {}):
            speed = pd.DataFrame(timed, columns=["Speed", "Original", made(run.recipe)])
            st.table(speed.set_index("Speed"))
            st.caption(
                "Both models were timed on one batch of the validation split, taking turns. On a "
                "busy machine, compare these times only with each other."
            )


def what_it_saves(recipe: Mapping[str, Any]) -> str:
    if made(recipe) in ("Fine-tuned", "Unchanged"):
        if quantize := recipe.get("quantize"):
            return f"Nothing was merged. All that is saved is saved by {weights_label(quantize)}."
        return "Nothing was merged, so nothing is saved. This run is the control."
    if not ties_only(recipe):
        return "Parameters, memory and speed are three different things, and each has its own row."
    return (
        "The merged sublayers are tied: they share one set of weights. Tying saves parameters and "
        "memory, but no compute, because the shared sublayer still runs at every position. A "
        "difference in speed is noise of the machine."
    )

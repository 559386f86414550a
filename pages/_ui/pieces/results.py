"""What a merge cost and what it matched, as the stored run has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from ffmerge_core.reporting.costs import batch_costs, costs_note, step_costs
from ffmerge_core.reporting.runs import Run
from ffmerge_core.reporting.scores import Stored, figures_of, made
from ffmerge_core.tasks.metrics import metric
from pages._ui.pieces.widgets import WEIGHTS, count, megabytes, percent

if TYPE_CHECKING:
    pass


def before_and_after(run: Run) -> None:
    """The table, split by split, and the paired differences in sentences."""
    result = run.result or {}
    original, merged = result["original"], result["merged"]
    saved = original["n_parameters"] - merged["n_parameters"]
    lighter = original["weight_bytes"] - merged["weight_bytes"]
    rows = [
        (
            "Parameters",
            count(original["n_parameters"]),
            count(merged["n_parameters"]),
            f"−{count(saved)} (−{percent(saved / original['n_parameters'])})" if saved else "none",
        ),
        (
            "Memory of the weights" + (", part of them int8" if result.get("quantized") else ""),
            megabytes(original["weight_bytes"]),
            megabytes(merged["weight_bytes"]),
            f"−{megabytes(lighter)}" if lighter else "none",
        ),
    ]
    for split in result["difference"]:
        rows += _score_rows(result, split)
    rows += _speed_row(result, run.recipe)
    columns = ["", "Original", made(run.recipe), "Change"]
    st.table(pd.DataFrame(rows, columns=columns).set_index(""))
    st.caption(
        "In brackets: 95% bootstrap intervals over examples; the change is paired, example by "
        f"example. {what_it_saves(run.recipe)}"
    )
    for split in result["difference"]:
        if notes := original[split].get("notes"):
            said = " · ".join(f"{name}: {note}" for name, note in notes.items())
            st.caption(f"**{split.capitalize()}** · {said}")
    what_it_cost(run)


def what_it_cost(run: Run) -> None:
    """Seconds and peak memory by step, and what a batch takes of both models."""
    if not (steps := step_costs(run)):
        return
    with st.expander("What it cost"):
        table = pd.DataFrame(
            [
                (
                    each.step,
                    "not stored" if each.seconds is None else f"{each.seconds:,.1f}",
                    "not stored"
                    if each.peak_memory is None
                    else _whole_megabytes(each.peak_memory),
                )
                for each in steps
            ],
            columns=["Step", "Seconds", "Peak memory"],
        )
        st.table(table.set_index("Step"))
        st.caption(costs_note(run))
        if timed := batch_costs(run.result or {}):
            rows = [(what, f"{before:,.1f}", f"{after:,.1f}") for what, before, after in timed]
            speed = pd.DataFrame(rows, columns=["Speed", "Original", made(run.recipe)])
            st.table(speed.set_index("Speed"))
            st.caption(
                "On one batch of the validation split, the models taking turns: on a busy machine "
                "compare them with each other alone."
            )


def _whole_megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f} MB"


def what_it_saves(recipe: Mapping[str, Any]) -> str:
    if made(recipe) in ("Tuned", "Same"):
        if quantize := recipe.get("quantize"):
            return f"Nothing was merged: what is saved is saved by {WEIGHTS[quantize]} alone."
        return "Nothing was merged, so nothing is saved: this is the control."
    if not _ties_only(recipe):
        return "Parameters, memory and speed are three things; each has its row."
    return (
        "Tying saves parameters and memory, not compute: the merged sublayer still runs at every "
        "position, and a difference in speed is the machine's noise."
    )


def _ties_only(recipe: Mapping[str, Any]) -> bool:
    return recipe["plan"].get("kind", "merge") == "merge" and not recipe.get("quantize")


def _speed_row(
    result: Mapping[str, Any], recipe: Mapping[str, Any]
) -> list[tuple[str, str, str, str]]:
    """What was timed, both models taking turns; runs of an earlier version timed nothing."""
    timed = result.get("latency")
    if not timed:
        return []
    before, after = timed["original"], timed["merged"]
    change = after["per_second"] / before["per_second"] - 1
    return [
        (
            f"Speed, {before['unit']} a second",
            f"{before['per_second']:,.0f}",
            f"{after['per_second']:,.0f}",
            # A share would look like a gain where both models do the same work.
            "the same work" if _ties_only(recipe) else f"{change:+.0%}".replace("-", "−"),
        )
    ]


def _score_rows(result: Mapping[str, Any], split: str) -> list[tuple[str, str, str, str]]:
    before = result["original"][split]
    after, change = (figures_of(result[part][split]) for part in ("merged", "difference"))
    rows = []
    for name, figure in figures_of(before).items():
        label, say = f"{split.capitalize()} {name}", metric(name)
        if name == before["metric"]:
            # Here for all the rows of the split.
            label += f", {count(before['n'])} {result.get('examples', 'examples')}"
        rows.append(
            (
                label,
                _with_interval(figure, say.text),
                _with_interval(after[name], say.text),
                _with_interval(change[name], say.change_text),
            )
        )
    if alike := metric(before["metric"]).alike:
        label = f"{split.capitalize()} {alike}"
        rows.append((label, "", percent(result["difference"][split]["agreement"]), ""))
    return rows


def _with_interval(figure: Stored, form: Callable[[float], str]) -> str:
    """ "−2.5 points (−3.9 to −1.1)": the unit once."""
    low, high = (form(end).removesuffix(" points") for end in (figure.low, figure.high))
    return f"{form(figure.value)} ({low} to {high})"

"""Results as tables of text; the numbers are written as the app writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ffmerge_core.plan import Curve
from ffmerge_core.reporting.costs import batch_costs, step_costs
from ffmerge_core.reporting.scores import LOSS, Stored, figures_of, made
from ffmerge_core.tasks.metrics import metric

if TYPE_CHECKING:
    import pandas as pd

    from ffmerge_core.reporting.run import Run

Row = tuple[str, ...]
Rows = list[Row]
Record = Mapping[str, Any]


def count(number: int) -> str:
    """604810 -> "604,810"."""
    return f"{number:,}"


def megabytes(n_bytes: float) -> str:
    """Decimal megabytes: 2419240 -> "2.42 MB"."""
    return f"{n_bytes / 1e6:,.2f} MB"


def figure_text(name: str, figure: Stored) -> str:
    """ "97.3% (96.1% to 98.2%)"."""
    text = metric(name).text
    return f"{text(figure.value)} ({text(figure.low)} to {text(figure.high)})"


def change_text(name: str, figure: Stored) -> str:
    """ "−2.5 points (−3.9 to −1.1)"."""
    text = metric(name).change_text
    low, high = (text(end).removesuffix(" points") for end in (figure.low, figure.high))
    return f"{text(figure.value)} ({low} to {high})"


def evaluation_rows(summary: Record) -> Rows:
    """One row a figure, with its 95 % interval."""
    return [(name, figure_text(name, figure)) for name, figure in figures_of(summary).items()]


def before_and_after(result: Record) -> Rows:
    """A run's result: parameters, then each split's figures and their paired difference."""
    original, merged = result["original"], result["merged"]
    saved = original["n_parameters"] - merged["n_parameters"]
    share = saved / original["n_parameters"]
    lighter = original["weight_bytes"] - merged["weight_bytes"]
    rows: Rows = [
        (
            "Parameters",
            count(original["n_parameters"]),
            count(merged["n_parameters"]),
            f"−{count(saved)} (−{100 * share:.1f}%)" if saved else "none",
        ),
        (
            "Memory of the weights" + (", part of them int8" if result.get("quantized") else ""),
            megabytes(original["weight_bytes"]),
            megabytes(merged["weight_bytes"]),
            f"−{megabytes(lighter)}" if lighter else "none",
        ),
    ]
    for split in result["difference"]:
        rows += _split_rows(result, split)
    return rows


def cost_rows(run: Run) -> Rows:
    """One row a step: seconds, and the peak memory where the run was stored with it."""
    return [
        (
            each.step,
            "" if each.seconds is None else f"{each.seconds:,.1f}",
            "" if each.peak_memory is None else f"{each.peak_memory / 1e6:,.0f} MB",
        )
        for each in step_costs(run)
    ]


def batch_rows(result: Record) -> Rows:
    """What a batch takes of both models; none of a run that was stored without it."""
    return [
        (what, f"{before:,.1f}", f"{after:,.1f}") for what, before, after in batch_costs(result)
    ]


def recovery_lines(curve: Curve, recipe: Record) -> list[str]:
    """How a recovery ended, what it gained, and whom the gain is compared with."""
    own, loss, first = metric(curve.metric).text, metric(LOSS).text, curve.points[0]
    best = next(point for point in curve.points if point.step == curve.best_step)
    return [
        curve.in_words,
        f"Before the recovery: {curve.metric} {own(first.value)}, loss {loss(first.loss)}; after "
        f"it: {own(best.value)}, {loss(best.loss)}.",
        "Nothing was merged: this is what tuning alone gains."
        if made(recipe) == "Tuned"
        else "The original was not fine-tuned: a gain over it may come from further training, not "
        "from the plan.",
    ]


def _split_rows(result: Record, split: str) -> Rows:
    before, after, change = (result[part][split] for part in ("original", "merged", "difference"))
    was, now, by = figures_of(before), figures_of(after), figures_of(change)
    n = f", {count(before['n'])} {result.get('examples', 'examples')}"
    rows: Rows = [
        (
            f"{split.capitalize()} {name}{n if name == before['metric'] else ''}",
            figure_text(name, was[name]),
            figure_text(name, now[name]),
            change_text(name, by[name]),
        )
        for name in was
    ]
    if alike := metric(before["metric"]).alike:
        agreement = metric("top-1 agreement").text(change["agreement"])
        rows.append((f"{split.capitalize()} {alike}", "", agreement, ""))
    return rows


def matrix_rows(matrix: pd.DataFrame) -> tuple[Row, Rows]:
    """The column titles and rows; columns are the layers' indices, rows their full names."""
    titles = ("", *(str(name).rsplit(".", 1)[1] for name in matrix.columns))
    rows = [
        (str(name), *(f"{value:.2f}" for value in values))
        for name, values in zip(matrix.index, matrix.to_numpy(), strict=True)
    ]
    return titles, rows


def sublayer_rows(sublayers: Sequence[Record]) -> Rows:
    """One row an FF sublayer, given as `FFSublayer.to_dict()`."""
    return [
        (
            each["name"],
            count(each["d_model"]),
            count(each["d_ff"]),
            each["activation"] + (", gated" if each["w_gate"] else ""),
            count(each["n_parameters"]),
        )
        for each in sublayers
    ]

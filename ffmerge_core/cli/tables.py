"""Results as tables of text; the numbers are written as the app writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ffmerge_core.tasks.metrics import metric

if TYPE_CHECKING:
    import pandas as pd

Row = tuple[str, ...]
Rows = list[Row]
Record = Mapping[str, Any]


def count(number: int) -> str:
    """604810 -> "604,810"."""
    return f"{number:,}"


def megabytes(n_bytes: float) -> str:
    """Decimal megabytes: 2419240 -> "2.42 MB"."""
    return f"{n_bytes / 1e6:,.2f} MB"


def figures_of(summary: Record) -> Iterator[tuple[str, float, Sequence[float]]]:
    """Name, value and interval of each figure of an `Evaluation.summary()`, the loss last.

    Also of a paired difference, which has the same fields. Runs stored earlier lack "others".
    """
    yield summary["metric"], summary["value"], summary["interval"]
    for name, figure in summary.get("others", {}).items():
        yield name, figure["value"], figure["interval"]
    yield "loss", summary["loss"], summary["loss_interval"]


def figure_text(name: str, value: float, interval: Sequence[float]) -> str:
    """ "97.3% (96.1% to 98.2%)"."""
    text = metric(name).text
    return f"{text(value)} ({text(interval[0])} to {text(interval[1])})"


def change_text(name: str, value: float, interval: Sequence[float]) -> str:
    """ "−2.5 points (−3.9 to −1.1)"."""
    text = metric(name).change_text
    low, high = (text(end).removesuffix(" points") for end in interval)
    return f"{text(value)} ({low} to {high})"


def evaluation_rows(summary: Record) -> Rows:
    """One row a figure, with its 95 % interval."""
    return [(figure[0], figure_text(*figure)) for figure in figures_of(summary)]


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
            f"−{count(saved)} (−{100 * share:.1f}%)",
        ),
        (
            "Memory of the weights",
            megabytes(original["weight_bytes"]),
            megabytes(merged["weight_bytes"]),
            f"−{megabytes(lighter)}",
        ),
    ]
    for split, change in result["difference"].items():
        rows += _split_rows(split, original[split], merged[split], change)
    return rows


def _split_rows(split: str, before: Record, after: Record, change: Record) -> Rows:
    three = zip(figures_of(before), figures_of(after), figures_of(change), strict=True)
    rows: Rows = [
        (
            f"{split.capitalize()} {was[0]}" + ("" if number else f", n = {count(before['n'])}"),
            figure_text(*was),
            figure_text(*now),
            change_text(*by),
        )
        for number, (was, now, by) in enumerate(three)
    ]
    agreement = metric("top-1 agreement").text(change["agreement"])
    return [*rows, (f"{split.capitalize()} predictions that agree", "", agreement, "")]


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

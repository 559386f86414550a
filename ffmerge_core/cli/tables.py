"""Results as tables of text; the numbers are written as the app writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ffmerge_core.plan import Curve
from ffmerge_core.reporting.formats import count, figure_text
from ffmerge_core.reporting.scores import LOSS, figures_of
from ffmerge_core.reporting.stored import made
from ffmerge_core.tasks.metrics import metric

if TYPE_CHECKING:
    import pandas as pd


Row = tuple[str, ...]
Rows = list[Row]
Record = Mapping[str, Any]


def evaluation_rows(summary: Record) -> Rows:
    """One row a figure, with its 95 % interval."""
    return [(name, figure_text(name, figure)) for name, figure in figures_of(summary).items()]


def recovery_lines(curve: Curve, recipe: Record) -> list[str]:
    """How a recovery ended, what it gained, and whom the gain is compared with."""
    own, loss, first = metric(curve.metric).text, metric(LOSS).text, curve.points[0]
    best = next(point for point in curve.points if point.step == curve.best_step)
    return [
        curve.in_words,
        f"Before the recovery: {curve.metric} {own(first.value)}, loss {loss(first.loss)}; after "
        f"it: {own(best.value)}, {loss(best.loss)}.",
        "Nothing was merged, so this shows what fine-tuning gains alone."
        if made(recipe) == "Fine-tuned"
        else "The original was not fine-tuned, so a gain over it may come from further training "
        "and not from the plan.",
    ]


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

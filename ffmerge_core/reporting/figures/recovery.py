"""How a recovery went: losses and the metric by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError
from ffmerge_core.palette import BLUE, GREEN, NEUTRAL, ORANGE, VERMILLION
from ffmerge_core.plan import CurvePoint
from ffmerge_core.reporting.figures.compare import EDGE
from ffmerge_core.reporting.figures.style import lay_out
from ffmerge_core.tasks.metrics import Metric, metric

LOSS = metric("loss")


def recovery_chart(
    points: Sequence[CurvePoint],
    metric: Metric,
    steps: int,
    best_step: int | None = None,
    original: float | None = None,
    each_step: Sequence[tuple[int, float]] = (),
) -> go.Figure:
    """Training and validation loss, and below them the metric on validation.

    steps: where the axis ends. best_step: marked, None while it is not known.
    original: the untouched model's value of the metric, dashed. each_step: (step, training
    loss), drawn faintly behind the means that the points have.
    """
    expect(
        DataError,
        "fm.recover(model).curve.points are some.",
        points=(points, Collection[CurvePoint]),
    )
    expect(
        DataError, metric=(metric, Metric), steps=(steps, int), best_step=(best_step, int | None)
    )
    expect(DataError, original=(original, float | None), each_step=(each_step, Collection))
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.08)
    if each_step:
        _draw_steps(figure, each_step)
    _draw(figure, 1, points, "training loss", ORANGE, lambda p: p.training_loss, LOSS)
    _draw(figure, 1, points, "validation loss", BLUE, lambda p: p.loss, LOSS)
    _draw(figure, 2, points, f"validation {metric.name}", GREEN, lambda p: p.value, metric)
    best = next((point for point in points if point.step == best_step), None)
    if best is not None:
        _mark(figure, best, metric)
    if original is not None:
        figure.add_hline(
            y=original,
            row=2,
            line={"color": VERMILLION, "width": 1, "dash": "dash"},
            annotation={
                "text": f"original: {metric.text(original)}",
                "x": 0,
                "xanchor": "left",
                "yanchor": "bottom",
            },
        )
    lay_out(figure, height=480)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"t": 50},
        showlegend=True,
    )
    margin = 0.02 * steps
    figure.update_xaxes(range=[-margin, steps + margin], zeroline=False)
    figure.update_xaxes(title="step", row=2)
    losses = [loss for point in points for loss in (point.training_loss, point.loss)]
    figure.update_yaxes(
        title="loss, lower is better",
        range=_span([*losses, *(loss for _, loss in each_step)], from_zero=True),
        zeroline=False,
        row=1,
    )
    figure.update_yaxes(
        title=metric.axis,
        tickformat=".1%" if metric.percent else None,
        range=_span([original, *(point.value for point in points)]),
        zeroline=False,
        row=2,
    )
    # What a reader zoomed into stays while the curve grows.
    figure.update_layout(uirevision="recovery")
    return figure


def _span(values: Iterable[float | None], *, from_zero: bool = False) -> list[float] | None:
    """A range around the values with round ends: it seldom moves while the curve grows.

    from_zero: it begins at 0 where the values come within half of their way to it.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    low, high = min(known), max(known)
    margin = max(0.05 * (high - low), 0.01 * abs(high)) or 1.0
    width = high - low + 2 * margin
    unit = 10 ** math.floor(math.log10(width))
    step = next(unit * share for share in (0.5, 1, 2, 5) if width <= 5 * unit * share)
    top = step * math.ceil((high + margin) / step)
    if from_zero and 0 <= low <= high / 2:
        return [0.0, top]
    return [step * math.floor((low - margin) / step), top]


def _draw_steps(figure: go.Figure, each_step: Sequence[tuple[int, float]]) -> None:
    known = [(step, loss) for step, loss in each_step if math.isfinite(loss)]
    figure.add_scatter(
        x=[step for step, _ in known],
        y=[loss for _, loss in known],
        mode="lines",
        name="training loss, each step",
        line={"color": ORANGE, "width": 1},
        opacity=0.5,
        hovertext=[
            f"<b>step {step}</b><br>training loss {LOSS.text(loss)}" for step, loss in known
        ],
        hoverinfo="text",
        row=1,
        col=1,
    )


def _draw(
    figure: go.Figure,
    row: int,
    points: Sequence[CurvePoint],
    name: str,
    colour: str,
    of: Callable[[CurvePoint], float | None],
    said: Metric,
) -> None:
    # What is not finite has no place on an axis: the line ends before it.
    known = [
        (point.step, value)
        for point in points
        if (value := of(point)) is not None and math.isfinite(value)
    ]
    figure.add_scatter(
        x=[step for step, _ in known],
        y=[value for _, value in known],
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 2},
        marker={"size": 7},
        hovertext=[f"<b>step {step}</b><br>{name} {said.text(value)}" for step, value in known],
        hoverinfo="text",
        row=row,
        col=1,
    )


def _mark(figure: go.Figure, best: CurvePoint, metric: Metric) -> None:
    for row, value in ((1, best.loss), (2, best.value)):
        if not math.isfinite(value):
            continue
        figure.add_scatter(
            x=[best.step],
            y=[value],
            mode="markers",
            name="kept",
            showlegend=row == 1,
            marker={"color": VERMILLION, "symbol": "star", "size": 15, "line": EDGE},
            hovertext=[
                f"<b>step {best.step}, kept</b><br>validation loss {LOSS.text(best.loss)}<br>"
                f"{metric.name} {metric.text(best.value)}"
            ],
            hoverinfo="text",
            row=row,
            col=1,
        )
    figure.add_vline(x=best.step, line={"color": NEUTRAL, "width": 1, "dash": "dot"})

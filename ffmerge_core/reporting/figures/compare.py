"""What merging cost: score against parameters, for all runs of a model."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap

import plotly.graph_objects as go

from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError
from ffmerge_core.palette import NEUTRAL, VERMILLION
from ffmerge_core.plan.methods import METHODS, UNMARKED, Mark
from ffmerge_core.reporting.figures.style import lay_out
from ffmerge_core.tasks.metrics import Metric

ORIGINAL = "original"
EDGE = {"color": "rgba(255, 255, 255, 0.7)", "width": 1}
HOVER_WIDTH = 60
# Of the parameter axis: nearer than APART, markers would cover each other; a crowd takes WIDEST.
APART, WIDEST = 0.012, 0.08


@dataclass(frozen=True)
class RunPoint:
    """One model in the chart.

    value: its score, with the ends of its interval. plan: in words, for the hover.
    is_original: untouched, so that its method does not matter. method: "permute", "layer drop",
    …; "original" of what was tuned or rounded and not merged. recovered: how, in words, if it
    was. quantized: "int8", if it is.
    """

    id: str
    name: str
    n_parameters: int
    value: float
    low: float
    high: float
    plan: str
    is_original: bool
    method: str
    recovered: str | None = None
    quantized: str | None = None

    @property
    def look(self) -> tuple[str, str]:
        """Colour and symbol: open while nothing was tuned, with a dot where weights are rounded."""
        colour, symbol = mark_of(self.kind)
        tuned, rounded = "" if self.recovered else "-open", "-dot" if self.quantized else ""
        return colour, symbol + tuned + rounded

    @property
    def kind(self) -> str:
        """What the legend calls it."""
        return ORIGINAL if self.is_original else self.method


def mark_of(method: str) -> Mark:
    """How a method, or the original, is drawn on every chart."""
    if method == ORIGINAL:
        return Mark(VERMILLION, "star")
    return METHODS[method].mark if method in METHODS else UNMARKED


def pareto_front(points: Sequence[RunPoint], metric: Metric) -> list[RunPoint]:
    """The points that no other beats, by rising parameters and then as given.

    A point is beaten by one that has no more parameters and no worse value, and is
    strictly better in one of the two; equal points stay together. A value that is not a
    number is never on the front.
    """
    expect(DataError, points=(points, Collection[RunPoint]), metric=(metric, Metric))
    known = [point for point in points if not math.isnan(point.value)]
    front = [point for point in known if not any(_beats(other, point, metric) for other in known)]
    return sorted(front, key=lambda point: point.n_parameters)


def compare_chart(points: Sequence[RunPoint], metric: Metric) -> go.Figure:
    """Score against parameters, with intervals, the original and the Pareto front.

    Every point's `customdata` is [run id], for picking.
    """
    figure = go.Figure()
    front = pareto_front(points, metric)
    if len(front) > 1:
        _draw_front(figure, front)
    hover, places = _hover_texts(points, metric), _places(points)
    kinds = dict.fromkeys((ORIGINAL, *METHODS, *(point.kind for point in points)))
    for kind in kinds:
        mine = [point for point in points if point.kind == kind]
        # The filled ones first: the legend shows the first of a kind.
        looks = sorted({point.look for point in mine}, key=lambda look: ("-open" in look[1], look))
        for number, look in enumerate(looks):
            alike = [point for point in mine if point.look == look]
            _draw_points(figure, alike, places, hover, kind, look, in_legend=number == 0)
    originals = [point for point in points if point.is_original]
    if originals:
        _draw_reference(figure, originals[0].value, metric)
    _draw_key(figure, points)
    lay_out(figure, height=480)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"t": 50},
        showlegend=True,
    )
    figure.update_xaxes(
        title="parameters", tickformat="~s", zeroline=False, nticks=8, range=_span(points)
    )
    figure.update_yaxes(
        title=metric.axis,
        tickformat=".1%" if metric.percent else None,
        zeroline=False,
    )
    return figure


def _beats(one: RunPoint, other: RunPoint, metric: Metric) -> bool:
    sign = 1 if metric.higher_is_better else -1
    smaller = other.n_parameters - one.n_parameters
    better = sign * (one.value - other.value)
    return smaller >= 0 and better >= 0 and (smaller > 0 or better > 0)


def _draw_front(figure: go.Figure, front: Sequence[RunPoint]) -> None:
    # Between two points of the front the best known model is the smaller one.
    figure.add_scatter(
        x=[point.n_parameters for point in front],
        y=[point.value for point in front],
        mode="lines",
        line={"shape": "hv", "color": NEUTRAL, "width": 2, "dash": "dot"},
        name="Pareto front",
        hoverinfo="skip",
    )


def _draw_points(
    figure: go.Figure,
    points: Sequence[RunPoint],
    places: dict[str, float],
    hover: dict[tuple[int, float], str],
    name: str,
    look: tuple[str, str],
    *,
    in_legend: bool,
) -> None:
    """Points of one look."""
    colour, symbol = look
    figure.add_scatter(
        x=[places[point.id] for point in points],
        y=[point.value for point in points],
        error_y={
            "type": "data",
            "array": [point.high - point.value for point in points],
            "arrayminus": [point.value - point.low for point in points],
            "thickness": 1,
            "width": 4,
            "color": colour,
        },
        customdata=[[point.id] for point in points],
        mode="markers",
        marker={
            "color": colour,
            "symbol": symbol,
            "size": 16 if name == ORIGINAL else 12,
            # A light edge keeps filled neighbours apart.
            "line": {"color": colour, "width": 2} if "-open" in symbol else EDGE,
        },
        name=name,
        legendgroup=name,
        showlegend=in_legend,
        hovertext=[hover[point.n_parameters, point.value] for point in points],
        hoverinfo="text",
        # A picked run must not fade the others.
        unselected={"marker": {"opacity": 1}},
    )


def _draw_key(figure: go.Figure, points: Sequence[RunPoint]) -> None:
    """What the fillings mean, in the legend alone, once there are two of them."""
    key: dict[str, str] = {}
    if any(point.recovered for point in points):
        key |= {"filled: recovered": "circle", "open: not recovered": "circle-open"}
    if any(point.quantized for point in points):
        key |= {"dot: int8": "circle-open-dot"}
    for name, symbol in key.items():
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker={
                "color": NEUTRAL,
                "symbol": symbol,
                "size": 10,
                "line": {"color": NEUTRAL, "width": 2},
            },
            name=name,
            hoverinfo="skip",
        )


def _draw_reference(figure: go.Figure, value: float, metric: Metric) -> None:
    figure.add_hline(
        y=value,
        line={"color": VERMILLION, "width": 1, "dash": "dash"},
        annotation={
            "text": f"original: {metric.text(value)}",
            # In the middle: the original stands at the right, the smallest run at the left.
            "x": 0.5,
            "xanchor": "center",
            "yanchor": "bottom",
        },
    )


def _places(points: Sequence[RunPoint]) -> dict[str, float]:
    """Run id → where it is drawn: runs of about as many parameters stand a little apart.

    Otherwise they cover each other, as baselines at one budget would. Runs of one look at exactly
    one place stay together: their hover names them all.
    """
    counts = sorted({point.n_parameters for point in points})
    span = counts[-1] - counts[0] if counts else 0
    near: list[list[int]] = []
    for count in counts:
        if near and count - near[-1][0] <= APART * span:
            near[-1].append(count)
        else:
            near.append([count])
    places = {}
    for together in near:
        mine = {
            point.id: (point.n_parameters, point.value, point.look)
            for point in points
            if point.n_parameters in together
        }
        ranks = sorted(set(mine.values()))
        middle = sum(count for count, _, _ in ranks) / len(ranks)
        step = span * min(APART, WIDEST / len(ranks))
        for id, place in mine.items():
            places[id] = middle + (ranks.index(place) - (len(ranks) - 1) / 2) * step
    return places


def _span(points: Sequence[RunPoint]) -> list[float] | None:
    """The parameter axis with a margin, wide enough for one point alone to have ticks."""
    counts = [point.n_parameters for point in points]
    if not counts:
        return None
    low, high = min(counts), max(counts)
    margin = 0.06 * (high - low) or 0.1 * high
    return [low - margin, high + margin]


def _hover_texts(points: Sequence[RunPoint], metric: Metric) -> dict[tuple[int, float], str]:
    """By place: all runs that lie there, for only the topmost marker is hovered."""
    texts: dict[tuple[int, float], list[str]] = {}
    for point in points:
        done = [point.plan]
        done += [f"recovered: {point.recovered}"] if point.recovered else []
        done += [f"weights in {point.quantized}"] if point.quantized else []
        text = (
            f"<b>{_wrapped(point.name)}</b><br>{'<br>'.join(map(_wrapped, done))}<br>"
            f"{point.n_parameters:,} parameters<br>{metric.name} "
            f"{metric.text(point.value)} ({metric.text(point.low)} to {metric.text(point.high)})"
        )
        texts.setdefault((point.n_parameters, point.value), []).append(text)
    return {place: "<br><br>".join(here) for place, here in texts.items()}


def _wrapped(text: str) -> str:
    """A user's words as lines that fit a hover label, no markup read into them."""
    return "<br>".join(escape(line) for line in wrap(text, HOVER_WIDTH))

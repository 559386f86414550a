"""What the search of windows found, and whether similarity foretold it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError
from ffmerge_core.palette import BLUE, NEUTRAL, VERMILLION
from ffmerge_core.reporting.figures.compare import EDGE, mark_of
from ffmerge_core.reporting.figures.style import GRID, colour_of, lay_out
from ffmerge_core.tasks.metrics import Metric, metric

Trace = dict[str, Any]

# Windows this far apart in score are only told from each other on a logarithmic axis.
WIDE_RATIO = 8
# Of a window's width, so that the intervals of two lines do not cover each other.
APART, WIDEST = 0.09, 0.8
# Anchor → the line and the ending of the symbol; the method gives colour and symbol.
ANCHORED = {"first": ("solid", ""), "middle": ("dash", "-open-dot"), "last": ("dot", "-open")}
LOSS = metric("loss")


@dataclass(frozen=True)
class WindowPoint:
    """One window by one method. value: its score, with the ends of its interval.

    start: its first layer. layers: in words. anchor: empty for a method without one.
    n_parameters: what it leaves.
    """

    start: int
    layers: str
    method: str
    n_parameters: int
    value: float
    low: float
    high: float
    anchor: str = ""


@dataclass(frozen=True)
class Damage:
    """How alike a window's layers are, and the loss after merging them.

    change: of the loss, paired, with the ends of its interval.
    """

    layers: str
    similarity: float
    loss: float
    change: float
    low: float
    high: float


def window_chart(
    points: Sequence[WindowPoint],
    metric: Metric,
    original: float,
    best: WindowPoint | None = None,
) -> go.Figure:
    """Score by where the window starts, a line a method and anchor; dashed, the original's score.

    best: marked by a star.
    """
    expect(DataError, points=(points, Collection[WindowPoint]), best=(best, WindowPoint | None))
    expect(DataError, metric=(metric, Metric), original=(original, float))
    figure = go.Figure()
    names = _names(points)
    lines = list(dict.fromkeys(names.values()))
    apart = min(APART, WIDEST / len(lines))
    places = {line: apart * (number - (len(lines) - 1) / 2) for number, line in enumerate(lines)}
    for line in lines:
        mine = sorted((p for p in points if names[p] == line), key=lambda point: point.start)
        _draw_line(figure, mine, metric, line, places[line])
    if best is not None:
        _draw_best(figure, best, names[best], places[names[best]])
    starts = [point.start for point in points]
    ends = [min(starts) - 0.5, max(starts) + 0.5]
    _draw_reference(figure, original, metric, ends)
    lay_out(figure, height=440)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"t": 50},
        showlegend=True,
    )
    figure.update_xaxes(
        title="first layer of the window",
        tickmode="linear" if max(starts) - min(starts) < 30 else "auto",
        dtick=1,
        zeroline=False,
        range=ends,
    )
    _score_axis(figure, [original, *(point.value for point in points)], metric)
    return figure


def damage_scatter(
    windows: Sequence[Damage], of: str, original: float, correlation: str | None
) -> go.Figure:
    """The loss after a merge against the window's similarity; dashed, the original's loss.

    of: what is on the axis, such as "mean CKA". The bars are of the paired change.
    correlation: the rank correlation with its interval, for the title; None where there is none.
    """
    expect(DataError, windows=(windows, Collection[Damage]), of=(of, str))
    expect(DataError, original=(original, float), correlation=(correlation, str | None))
    figure = go.Figure()
    figure.add_scatter(
        x=[window.similarity for window in windows],
        y=[window.loss for window in windows],
        error_y=_ends(windows, [window.change for window in windows]),
        mode="markers",
        marker={"color": BLUE, "size": 10, "line": EDGE},
        name="windows",
        hovertext=[
            f"<b>{window.layers}</b><br>{of} {window.similarity:.2f}<br>loss "
            f"{LOSS.text(window.loss)}, {LOSS.change_text(window.change)} "
            f"({LOSS.change_text(window.low)} to {LOSS.change_text(window.high)})"
            for window in windows
        ],
        hoverinfo="text",
    )
    alike = [window.similarity for window in windows]
    margin = 0.05 * (max(alike) - min(alike)) or 0.05
    ends = [min(alike) - margin, max(alike) + margin]
    _draw_reference(figure, original, LOSS, ends)
    title = f"Rank correlation {correlation}" if correlation else None
    lay_out(figure, height=400, title=title)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"t": 80 if title else 50},
    )
    figure.update_xaxes(title=f"{of} of the window's layers", zeroline=False, range=ends)
    _score_axis(figure, [original, *(window.loss for window in windows)], LOSS)
    return figure


def dendrogram(
    names: Sequence[str], linkage: np.ndarray, groups: Sequence[Sequence[str]], cut: float
) -> go.Figure:
    """The tree of a clustering: the higher two are joined, the less alike they are.

    names: of the n leaves. linkage: (n − 1, 4), SciPy's. groups: coloured, in the order in
    which groups are numbered elsewhere. cut: the distance at which the tree is cut, dashed.
    """
    from scipy.cluster.hierarchy import dendrogram as lay_tree

    expect(DataError, names=(names, Collection[str]), linkage=(linkage, np.ndarray))
    expect(DataError, groups=(groups, Collection[Collection[str]]), cut=(cut, float))
    owner = {name: number for number, group in enumerate(groups) for name in group}
    colours = [NEUTRAL if name not in owner else colour_of(owner[name]) for name in names]
    joins = sum(len(group) - 1 for group in groups)
    for number, child in enumerate(linkage[:, 0].astype(int)):
        # What is joined before the cut is of one group.
        colours.append(colours[child] if number < joins else NEUTRAL)
    tree = lay_tree(linkage, labels=list(names), no_plot=True, link_color_func=colours.__getitem__)
    figure = go.Figure()
    for across, up, colour in zip(tree["icoord"], tree["dcoord"], tree["color_list"], strict=True):
        # SciPy puts leaf i at 10 i + 5.
        figure.add_scatter(
            x=[(at - 5) / 10 for at in across],
            y=up,
            mode="lines",
            line={"color": colour, "width": 2.5 if colour != NEUTRAL else 1.5},
            hovertemplate=f"joined at {max(up):.3f}<extra></extra>",
            showlegend=False,
        )
    figure.add_hline(
        y=cut,
        line={"color": NEUTRAL, "width": 1, "dash": "dash"},
        annotation={"text": "cut", "xanchor": "right", "yanchor": "bottom"},
    )
    lay_out(figure, height=360)
    figure.update_xaxes(
        tickvals=list(range(len(names))),
        ticktext=tree["ivl"],
        tickangle=-45,
        showgrid=False,
        zeroline=False,
        range=[-0.5, len(names) - 0.5],
    )
    figure.update_yaxes(title="1 − CKA", rangemode="tozero", gridcolor=GRID)
    return figure


def _names(points: Sequence[WindowPoint]) -> dict[WindowPoint, str]:
    """Each point → its line's name, which tells the anchor where there are several."""
    several = len({point.anchor for point in points} - {""}) > 1
    return {
        point: f"{point.method}, {point.anchor}" if several and point.anchor else point.method
        for point in points
    }


def _draw_line(
    figure: go.Figure, points: Sequence[WindowPoint], metric: Metric, name: str, shift: float
) -> None:
    method, anchor = points[0].method, points[0].anchor
    colour, symbol = mark_of(method)
    dash, ending = ANCHORED.get("" if name == method else anchor, ("solid", ""))
    said = f"{method}, anchor {anchor}" if anchor else method
    figure.add_scatter(
        x=[point.start + shift for point in points],
        y=[point.value for point in points],
        error_y=_ends(points, [point.value for point in points]) | {"color": colour},
        mode="lines+markers",
        line={"color": colour, "width": 1.5, "dash": dash},
        marker={
            "color": colour,
            "symbol": symbol + ending,
            "size": 9,
            "line": {"color": colour, "width": 2} if ending else EDGE,
        },
        name=name,
        hovertext=[
            f"<b>{said}, {point.layers}</b><br>{metric.name} {metric.text(point.value)} "
            f"({metric.text(point.low)} to {metric.text(point.high)})<br>"
            f"{point.n_parameters:,} parameters"
            for point in points
        ],
        hoverinfo="text",
    )


def _draw_best(figure: go.Figure, best: WindowPoint, name: str, shift: float) -> None:
    figure.add_scatter(
        x=[best.start + shift],
        y=[best.value],
        mode="markers",
        marker={"color": VERMILLION, "symbol": "star", "size": 17, "line": EDGE},
        name=f"lowest loss: {name}, {best.layers}",
        hoverinfo="skip",
    )


def _draw_reference(figure: go.Figure, original: float, metric: Metric, ends: list[float]) -> None:
    """A dashed line that the legend names: written beside it, its name would cover points."""
    figure.add_scatter(
        x=ends,
        y=[original] * len(ends),
        mode="lines",
        line={"color": VERMILLION, "width": 1, "dash": "dash"},
        name=f"original: {metric.text(original)}",
        hoverinfo="skip",
    )


def _logarithmic(values: Sequence[float]) -> Trace:
    """An axis that writes 1, 2 and 5 of each power of ten, in full."""
    known = [value for value in values if value > 0 and np.isfinite(value)]
    low, high = math.log10(min(known)), math.log10(max(known))
    powers = range(math.floor(low) - 1, math.ceil(high) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _ends(points: Sequence[WindowPoint | Damage], values: Sequence[float]) -> Trace:
    """Error bars from the values to the points' intervals."""
    return {
        "type": "data",
        "array": [point.high - value for point, value in zip(points, values, strict=True)],
        "arrayminus": [value - point.low for point, value in zip(points, values, strict=True)],
        "thickness": 1,
        "width": 3,
    }


def _score_axis(figure: go.Figure, values: Sequence[float], metric: Metric) -> None:
    wide = _is_wide(values, metric)
    figure.update_yaxes(
        title=metric.axis + (" (logarithmic)" if wide else ""),
        tickformat=".0%" if metric.percent else None,
        zeroline=False,
        **(_logarithmic(values) if wide else {}),
    )


def _is_wide(values: Sequence[float], metric: Metric) -> bool:
    known = [value for value in values if np.isfinite(value)]
    return bool(known) and not metric.higher_is_better and max(known) > WIDE_RATIO * min(known) > 0

"""How neurons of two FF sublayers were matched."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError
from ffmerge_core.palette import BLUE, NEUTRAL
from ffmerge_core.reporting.figures.style import lay_out

MOST_PIXELS = 256


def matching_figure(
    correlation_before: np.ndarray, permutation: np.ndarray, names: tuple[str, str]
) -> go.Figure:
    """The correlation of all neuron pairs, as stored and with the matched on the diagonal.

    correlation_before: (d, d), rows = neurons of the anchor, columns = of the other.
    permutation: (d,), row j is matched to column permutation[j].
    names: (anchor, other). Above 256 neurons each pixel stands for a block of them, with
    its value of largest magnitude.
    Raises `DataError` if the shapes do not fit or it is no permutation.
    """
    expect(DataError, names=(names, Collection[str]))
    correlation = np.asarray(correlation_before, dtype=np.float32)
    order = np.asarray(permutation)
    d = len(order)
    if correlation.shape != (d, d) or not np.array_equal(np.sort(order), np.arange(d)):
        raise DataError(
            f"A correlation of shape {correlation.shape} and a matching of {d} neurons were "
            "found; the matching must name each column of a square correlation once."
        )
    matched = correlation[:, order]
    block = math.ceil(d / MOST_PIXELS)
    panels = [
        _panel("as stored", correlation, np.arange(d), block, names),
        _panel("matched", matched, order, block, names),
    ]
    figure = make_subplots(
        cols=2, horizontal_spacing=0.1, subplot_titles=[heading for heading, _ in panels]
    )
    for column, (_, heatmap) in enumerate(panels, start=1):
        figure.add_trace(heatmap, row=1, col=column)
    note = f" (each pixel: the strongest of {block} × {block} pairs)" if block > 1 else ""
    lay_out(figure, height=530, title=f"Correlation of {d:,} × {d:,} neurons{note}")
    # Room between the figure's title and those of its panels.
    figure.update_layout(margin={"t": 80, "b": 120}, coloraxis=_scale())
    figure.update_annotations(font={"size": 13})
    bare = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    figure.update_yaxes(constraintoward="top")
    figure.update_xaxes(bare, title=f"neurons of {names[1]}")
    figure.update_xaxes(title=f"neurons of {names[1]}, reordered", showticklabels=False, col=2)
    figure.update_yaxes(bare, range=[d - 0.5, -0.5], title=f"neurons of {names[0]}", col=1)
    figure.update_yaxes(bare, range=[d - 0.5, -0.5], showticklabels=False, col=2)
    for axis, anchor in (("yaxis", "x"), ("yaxis2", "x2")):
        figure.layout[axis].scaleanchor = anchor
    return figure


def alignment_bars(pairs: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Mean correlation of matched neurons before and after alignment, a row a pair.

    pairs: each {"anchor", "sublayer", "before", "after"}.
    """
    expect(DataError, pairs=(pairs, Collection[Mapping[str, Any]]))
    labels = [f"{pair['sublayer']} → {pair['anchor']}" for pair in pairs]
    figure = go.Figure()
    for key, name, colour in (
        ("before", "before alignment", NEUTRAL),
        ("after", "after alignment", BLUE),
    ):
        values = [float(pair[key]) for pair in pairs]
        figure.add_bar(
            x=values,
            y=labels,
            orientation="h",
            name=name,
            marker={"color": colour},
            text=[f"{value + 0.0:.2f}".replace("-0.00", "0.00") for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"%{{y}}, {name}: %{{x:.3f}}<extra></extra>",
        )
    lay_out(figure, height=120 + 48 * len(pairs))
    figure.update_layout(
        barmode="group",
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        margin={"t": 40, "r": 40},
    )
    lowest = min([0.0, *(float(pair[key]) for pair in pairs for key in ("before", "after"))])
    # A negative bar's number stands left of it.
    start = lowest - 0.1 if lowest < 0 else 0.0
    figure.update_xaxes(title="mean correlation of matched neurons", range=[start, 1])
    figure.update_yaxes(autorange="reversed")
    return figure


def shrink(values: np.ndarray, block: int) -> np.ndarray:
    """Each block of block × block values as the one of largest magnitude, sign kept.

    values: (d, d) → (⌈d / block⌉, ⌈d / block⌉); the last blocks may be smaller. A mean
    would wash out single matched neurons.
    """
    starts = np.arange(0, len(values), block)
    high, low = (
        function.reduceat(function.reduceat(values, starts, axis=0), starts, axis=1)
        for function in (np.maximum, np.minimum)
    )
    return np.where(high >= -low, high, low)


def _panel(
    heading: str, values: np.ndarray, columns: np.ndarray, block: int, names: tuple[str, str]
) -> tuple[str, go.Heatmap]:
    at = np.arange(0, len(values), block) + (block - 1) / 2
    first = columns[::block].astype(np.int32)
    heatmap = go.Heatmap(
        z=shrink(values, block),
        x=at,
        y=at,
        customdata=np.broadcast_to(first, (len(at), len(at))),
        coloraxis="coloraxis",
        hovertemplate=f"{names[0]} neuron %{{y}} · {names[1]} neuron %{{customdata}}: %{{z:.3f}}"
        "<extra></extra>"
        if block == 1
        else "strongest here: %{z:.3f}<extra></extra>",
    )
    mean = f"{np.diagonal(values).mean():.2f}".replace("-0.00", "0.00")
    return f"{heading}: mean of the diagonal {mean}", heatmap


def _scale() -> dict[str, Any]:
    return {
        "colorscale": "RdBu",
        "cmin": -1,
        "cmax": 1,
        "colorbar": {
            "orientation": "h", "thickness": 12, "lenmode": "fraction", "len": 0.5,
            "y": -0.2, "yanchor": "top", "tickvals": [-1, 0, 1],
            "title": {"text": "correlation", "side": "top"},
        },
    }  # fmt: skip

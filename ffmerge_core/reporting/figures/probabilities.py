"""What two classifiers make of one example."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import plotly.graph_objects as go

from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError
from ffmerge_core.palette import BLUE, NEUTRAL
from ffmerge_core.reporting.figures.style import lay_out


def probability_bars(
    classes: Sequence[str], original: np.ndarray, other: np.ndarray, name: str = "merged"
) -> go.Figure:
    """Class probabilities of both models, side by side. original, other: (n_classes,).

    name: of the other model.
    """
    expect(DataError, classes=(classes, Collection[str]), name=(name, str))
    expect(DataError, original=(original, Collection), other=(other, Collection))
    figure = go.Figure()
    for model, values, colour in (("original", original, NEUTRAL), (name, other, BLUE)):
        figure.add_bar(
            x=list(classes),
            y=[float(value) for value in values],
            name=model,
            marker_color=colour,
            hovertemplate="%{x}: %{y:.1%} (" + model + ")<extra></extra>",
        )
    figure.update_yaxes(range=[0, 1], tickformat=".0%", title="Probability")
    figure.update_xaxes(type="category", title="Class")
    figure.update_layout(legend={"orientation": "h", "y": 1.15, "x": 0})
    return lay_out(figure, height=260)

"""What the figures share: colours that colour-blind readers tell apart, and themes.

Backgrounds are transparent and text takes the theme's colour, so that one figure serves
a light and a dark page.
"""

from __future__ import annotations

import plotly.graph_objects as go

from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError
from ffmerge_core.palette import BLUE, NEUTRAL, PALETTE

CLEAR = "rgba(0, 0, 0, 0)"
GRID = "rgba(128, 128, 128, 0.25)"


def colour_of(number: int) -> str:
    """The colour of the number-th thing, from 0; it repeats after six."""
    return PALETTE[number % len(PALETTE)]


def text_on(colour: str) -> str:
    """Black or white, whichever reads better on a "#rrggbb" colour."""
    levels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    # Relative luminance and its point of equal contrast: WCAG 2.2.
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels)
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#FFFFFF"


def lay_out(figure: go.Figure, height: int, title: str | None = None) -> go.Figure:
    """Give a figure the common looks; height in pixels."""
    figure.update_layout(
        height=height,
        title={"text": title, "x": 0, "pad": {"l": 10}} if title else None,
        margin={"l": 10, "r": 10, "t": 50 if title else 20, "b": 10},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        hovermode="closest",
        modebar={"bgcolor": CLEAR, "color": NEUTRAL, "activecolor": BLUE},
    )
    figure.update_xaxes(gridcolor=GRID, zerolinecolor=GRID, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zerolinecolor=GRID, automargin=True)
    return figure


def to_html(figure: go.Figure) -> str:
    """An interactive page that needs no network: plotly's script stands inside it."""
    expect(DataError, figure=(figure, go.Figure))
    return str(figure.to_html(include_plotlyjs=True, full_html=True))

"""The layer-by-layer similarity heatmap, on which groups are picked and shown."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError
from ffmerge_core.reporting.figures.style import CLEAR, colour_of, lay_out, text_on

if TYPE_CHECKING:
    import pandas as pd

_SIMILARITY = "fm.similarity_matrix(feats) gives one."
# Room in cells around the outermost ones, without which their outlines are cut in half.
EDGE = 0.06
LABELLED_CELLS = 16
LINED_CELLS = 40
MOST_TICKS = 36
# Pixels around the square of cells: title above, axis and colour scale below.
ABOVE, BELOW = 50, 130
SCALE_DROP = 75
# Cividis is darker than black text can stand on up to its middle.
BRIGHT = 0.5
# Against cells from dark blue to yellow only a line with a white edge stands out.
CASING = "#FFFFFF"
DRAFT = "#000000"


def similarity_heatmap(
    matrix: pd.DataFrame,
    groups: Sequence[Sequence[str]] = (),
    draft: Sequence[str] = (),
    title: str | None = None,
) -> go.Figure:
    """Similarity of every pair of sublayers, with groups outlined.

    matrix: (n, n), rows = columns = sublayer names in layer order. Colours run from 0 to
    1; values outside are drawn at the ends, and told as they are on hover.
    groups: outlined and numbered from 1 in the order given; members that are not in the
    matrix (of another stack) are passed over. draft: outlined dashed.
    The last trace holds one transparent point a cell, `customdata` = [row, column]: it
    carries hover and selection, which a heatmap trace does not report to Streamlit.
    """
    import pandas as pd

    expect(DataError, _SIMILARITY, matrix=(matrix, pd.DataFrame), title=(title, str | None))
    expect(DataError, groups=(groups, Collection[Collection[str]]), draft=(draft, Collection[str]))
    names = _names(matrix)
    values = matrix.to_numpy(dtype=float)
    n = len(names)
    side = 480 if n <= LABELLED_CELLS else 600
    figure = go.Figure([*_colours(values, side), _cells(names, values, side)])
    lay_out(figure, height=ABOVE + side + BELOW, title=title)
    figure.update_layout(margin={"t": ABOVE, "b": BELOW})
    _outline_all(figure, names, groups, draft)
    _label_axes(figure, names, groups)
    return figure


def blocks(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Maximal runs of adjacent positions, as (first, last), in order."""
    runs: list[tuple[int, int]] = []
    for at in sorted(set(positions)):
        if runs and runs[-1][1] == at - 1:
            runs[-1] = (runs[-1][0], at)
        else:
            runs.append((at, at))
    return runs


def rectangles(positions: Sequence[int]) -> list[tuple[float, float, float, float]]:
    """Outlines (x0, y0, x1, y1) of all cells that pair two of the positions.

    One rectangle for each pair of runs of adjacent positions; cell i covers i ± 0.5.
    """
    runs = blocks(positions)
    return [
        (left - 0.5, top - 0.5, right + 0.5, bottom + 0.5)
        for top, bottom in runs
        for left, right in runs
    ]


def _names(matrix: pd.DataFrame) -> list[str]:
    names = [str(name) for name in matrix.index]
    if not names or names != [str(name) for name in matrix.columns]:
        raise DataError(
            f"A similarity table of {matrix.shape[0]} rows and {matrix.shape[1]} columns was "
            "found; it must have the same sublayers, at least one, as rows and as columns."
        )
    return names


def _colours(values: np.ndarray, side: int) -> list[go.Heatmap]:
    """The coloured cells; where they are few, bright ones once more with black text."""
    shown = np.clip(values, 0.0, 1.0)
    bright = shown >= BRIGHT
    common = {
        "zmin": 0.0, "zmax": 1.0, "colorscale": "Cividis", "xgap": 1, "ygap": 1,
        "hoverinfo": "skip", "texttemplate": "%{text}",
    }  # fmt: skip
    if len(values) > LABELLED_CELLS:
        # Between many small cells, lines would take more room than they part.
        line = 1 if len(values) <= LINED_CELLS else 0
        lines = {"xgap": line, "ygap": line, "texttemplate": None}
        return [go.Heatmap(common | lines, z=shown, colorbar=_scale(side))]
    text = np.array([[_short(value) for value in row] for row in values])
    return [
        go.Heatmap(
            common,
            z=shown,
            text=np.where(bright, "", text),
            textfont={"color": "#FFFFFF"},
            colorbar=_scale(side),
        ),
        go.Heatmap(
            common,
            z=np.where(bright, shown, np.nan),
            text=np.where(bright, text, ""),
            textfont={"color": "#000000"},
            showscale=False,
        ),
    ]


def _scale(side: int) -> dict[str, object]:
    """A colour scale under the cells, which stay in the middle of any page width."""
    return {
        "orientation": "h", "thickness": 12, "lenmode": "pixels", "len": side // 2,
        "y": -SCALE_DROP / side, "yanchor": "top", "tickvals": [0, 0.5, 1],
        "title": {"text": "similarity", "side": "top"},
    }  # fmt: skip


def _cells(names: Sequence[str], values: np.ndarray, side: int) -> go.Scatter:
    n = len(names)
    clear = {"marker": {"color": CLEAR}}
    return go.Scatter(
        x=[column for _ in range(n) for column in range(n)],
        y=[row for row in range(n) for _ in range(n)],
        customdata=[[row, column] for row in names for column in names],
        hovertext=[
            f"{row} · {column}: {_exact(values[i, j])}"
            for i, row in enumerate(names)
            for j, column in enumerate(names)
        ],
        hoverinfo="text",
        mode="markers",
        marker={"symbol": "square", "size": side / n, "color": CLEAR, "line": {"width": 0}},
        # Without these, plotly fades what is not selected.
        selected=clear,
        unselected=clear,
        showlegend=False,
    )


def _outline_all(
    figure: go.Figure, names: Sequence[str], groups: Sequence[Sequence[str]], draft: Sequence[str]
) -> None:
    position = {name: at for at, name in enumerate(names)}
    for number, group in enumerate(groups):
        members = [position[name] for name in group if name in position]
        for box in rectangles(members):
            _outline(figure, box, colour_of(number), "solid")
        for first, _ in blocks(members):
            figure.add_annotation(
                x=first - 0.5,
                y=first - 0.5,
                text=f"<b>{number + 1}</b>",
                showarrow=False,
                bgcolor=colour_of(number),
                font={"color": text_on(colour_of(number)), "size": 12},
                borderpad=2,
            )
    for box in rectangles([position[name] for name in draft if name in position]):
        _outline(figure, box, DRAFT, "dash")


def _outline(
    figure: go.Figure, box: tuple[float, float, float, float], colour: str, dash: str
) -> None:
    x0, y0, x1, y1 = box
    for line in (
        {"color": CASING, "width": 5},
        {"color": colour, "width": 3, "dash": dash},
    ):
        figure.add_shape(type="rect", x0=x0, y0=y0, x1=x1, y1=y1, line=line, fillcolor=CLEAR)


def _label_axes(figure: go.Figure, names: Sequence[str], groups: Sequence[Sequence[str]]) -> None:
    stack = names[0].rpartition(".")[0]
    n = len(names)
    owner = {name: number for number, group in enumerate(groups) for name in group}
    every = math.ceil(n / MOST_TICKS)
    shown = range(0, n, every)
    marks = [_mark(owner.get(names[at])) for at in shown]
    short = [names[at].rpartition(".")[2] for at in shown]
    common = {
        "title": {"text": f"{stack} FF sublayer".strip()},
        "tickvals": list(shown),
        "showgrid": False,
        "zeroline": False,
        "constrain": "domain",
        "ticks": "outside",
        "tickcolor": CLEAR,
        "ticklen": 4,
    }
    figure.update_xaxes(
        common,
        ticktext=[f"{label}<br>{mark}" for label, mark in zip(short, marks, strict=True)],
        range=[-0.5 - EDGE, n - 0.5 + EDGE],
    )
    figure.update_yaxes(
        common,
        ticktext=[f"{mark} {label}" for label, mark in zip(short, marks, strict=True)],
        range=[n - 0.5 + EDGE, -0.5 - EDGE],
        scaleanchor="x",
    )


def _mark(group: int | None) -> str:
    """A coloured square beside the label of a sublayer that is in a group."""
    return "" if group is None else f'<span style="color:{colour_of(group)}">■</span>'


def _short(value: float) -> str:
    """Two decimals without the leading zero: ".97", "1", "-.02"; nothing for NaN."""
    if not math.isfinite(value):
        return ""
    text = f"{value:.2f}".replace("-0.00", "0.00")
    return "1" if text == "1.00" else text.replace("0.", ".", 1)


def _exact(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "not defined"

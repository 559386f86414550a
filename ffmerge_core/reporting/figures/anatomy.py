"""What a model's parameters are made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import plotly.graph_objects as go

from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError
from ffmerge_core.reporting.figures.style import colour_of, lay_out, text_on

# A part below this share has no room for its label on the bar; the legend names it.
LABELLED_SHARE = 0.12


def anatomy_bar(anatomy: Sequence[tuple[str, int]]) -> go.Figure:
    """One bar of all parameters, divided by part, each with its share and count."""
    expect(DataError, anatomy=(anatomy, Collection))
    total = sum(count for _, count in anatomy)
    figure = go.Figure()
    for number, (part, count) in enumerate(anatomy):
        share = count / total if total else 0.0
        colour = colour_of(number)
        figure.add_bar(
            x=[count],
            y=[""],
            orientation="h",
            name=f"{part}: {count:,} ({share:.1%})",
            text=f"<b>{part}</b><br>{share:.1%}" if share >= LABELLED_SHARE else "",
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            marker={"color": colour, "line": {"width": 0}},
            insidetextfont={"color": text_on(colour)},
            hovertemplate=f"{part}: {count:,} parameters, {share:.1%} of all<extra></extra>",
        )
    lay_out(figure, height=210)
    figure.update_layout(
        barmode="stack",
        legend={"orientation": "h", "x": 0, "y": -0.6, "yanchor": "top", "traceorder": "normal"},
    )
    figure.update_xaxes(title="parameters", tickformat="~s", range=[0, total or 1])
    figure.update_yaxes(visible=False)
    return figure

"""The page's figures: as interactive pages, and as pictures where a browser is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from ffmerge_core.palette import VERMILLION
from ffmerge_core.reporting.figures.compare import EDGE, ORIGINAL, mark_of
from ffmerge_core.reporting.figures.search import WindowPoint, window_chart
from ffmerge_core.reporting.figures.style import lay_out
from ffmerge_core.reporting.folders import write_atomically
from ffmerge_core.reproduction.experiments import SHARES, TRIED
from ffmerge_core.reproduction.results import Found, Trial, number
from ffmerge_core.tasks.metrics import metric

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_WIDTH, _HEIGHT = 900, 480


def figures(found: Found) -> Iterator[tuple[str, str, go.Figure]]:
    """Name, title and figure of all that there are results for."""
    if found.of("main", tuned=False):
        yield "scores", "Test score against parameters, before and after tuning", _scores(found)
    if found.of("main", tuned=True, share="third"):
        yield "curves", "Validation loss while tuning, a third removed", _curves(found)
    if "third" in found.searches:
        yield "windows", "Every window at a third, before tuning, on validation", _windows(found)


def draw(found: Found, folder: Path) -> list[tuple[str, str, bool]]:
    """Write every figure to a folder; its name, its title, and whether there is a picture.

    The interactive page takes plotly's script from the network: inside it, each would be 5 MB.
    """
    drawn = []
    for name, title, figure in figures(found):
        page = figure.to_html(include_plotlyjs="cdn", full_html=True, div_id=name)
        write_atomically(folder / f"{name}.html", page.encode())
        drawn.append((name, title, _picture(figure, folder / f"{name}.png")))
    return drawn


def _scores(found: Found) -> go.Figure:
    figure, by = go.Figure(), found.metric
    for method in TRIED:
        for tuned in (False, True):
            mine = found.of("main", tuned=tuned, method=method)
            _score_line(figure, found, mine, method, tuned=tuned)
    for tuned in (False, True):
        mean = found.spread("value", "control", tuned=tuned, method="original")
        if mean is not None:
            figure.add_hline(
                y=mean.mean,
                line={"color": VERMILLION, "width": 1, "dash": "solid" if tuned else "dash"},
                name=f"original, {'tuned' if tuned else 'untuned'}",
                showlegend=True,
            )
    _lay_out(figure)
    figure.update_xaxes(title="parameters", tickformat="~s", zeroline=False)
    figure.update_yaxes(
        title=f"test {by.axis}",
        tickformat=".1%" if by.percent else None,
        type="linear" if by.higher_is_better else "log",
        zeroline=False,
    )
    return figure


def _score_line(
    figure: go.Figure, found: Found, trials: tuple[Trial, ...], method: str, *, tuned: bool
) -> None:
    colour, symbol = mark_of(method)
    by_share = {
        share: [each for each in trials if each.share == share]
        for share in SHARES
        if any(each.share == share for each in trials)
    }
    means = {
        share: found.spread("value", "main", tuned=tuned, method=method, share=share)
        for share in by_share
    }
    figure.add_scatter(
        x=[mine[0].n_parameters for mine in by_share.values()],
        y=[mean.mean for mean in means.values() if mean is not None],
        mode="lines+markers",
        line={"color": colour, "dash": "solid" if tuned else "dot", "width": 2 if tuned else 1},
        marker={
            "color": colour, "symbol": symbol if tuned else f"{symbol}-open", "size": 10,
            "line": EDGE if tuned else {"color": colour, "width": 1},
        },
        name=f"{method}, tuned" if tuned else f"{method}, untuned",
        hovertemplate="%{y}, %{x:,} parameters",
    )  # fmt: skip


def _curves(found: Found) -> go.Figure:
    figure = go.Figure()
    lines: Mapping[str, tuple[Trial, ...]] = {
        method: found.of("main", tuned=True, method=method, share="third") for method in TRIED
    } | {ORIGINAL: found.of("control", tuned=True)}
    for method, trials in lines.items():
        colour, symbol = mark_of(method)
        for number_, trial in enumerate(trials):
            points = trial.record["recovery"]["points"]
            figure.add_scatter(
                x=[point["step"] for point in points],
                y=[point["loss"] for point in points],
                mode="lines+markers",
                line={"color": colour, "width": 1.5},
                marker={"symbol": symbol, "size": 6},
                name=method,
                legendgroup=method,
                showlegend=number_ == 0,
                hovertemplate=f"{method}, seed {trial.seed}, step %{{x}}: %{{y:.3f}}",
            )
    _lay_out(figure)
    figure.update_xaxes(title="step", zeroline=False)
    figure.update_yaxes(title="validation loss, lower is better", type="log", zeroline=False)
    return figure


def _windows(found: Found) -> go.Figure:
    content = found.searches["third"]
    by = metric(content["original"]["metric"])
    points = [_point(row, by.name) for row in content["windows"]]
    return window_chart(points, by, content["original"]["value"], points[0])


def _point(row: Mapping[str, Any], name: str) -> WindowPoint:
    value, low, high = (number(row[key]) for key in (name, f"{name} low", f"{name} high"))
    return WindowPoint(
        row["start"], row["layers"], row["method"], row["n_parameters"], value, low, high
    )


def _lay_out(figure: go.Figure) -> None:
    lay_out(figure, height=_HEIGHT)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"t": 70},
        showlegend=True,
    )


def _picture(figure: go.Figure, path: Path) -> bool:
    """Write a figure as PNG; False where there is no browser that could draw it."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        return False
    # A picture may be seen on a dark page: it brings its own ground.
    plain = go.Figure(figure).update_layout(
        paper_bgcolor="white", plot_bgcolor="white", width=_WIDTH, font={"color": "#333333"}
    )
    with tempfile.TemporaryDirectory() as spare:
        page, picture = Path(spare) / "figure.html", Path(spare) / "figure.png"
        script = plain.to_html(include_plotlyjs=True, config={"displayModeBar": False})
        page.write_text(script, "utf-8")
        command = (
            browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu",
            f"--user-data-dir={spare}/profile", f"--window-size={_WIDTH + 16},{_HEIGHT + 16}",
            "--virtual-time-budget=10000", f"--screenshot={picture}", page.as_uri(),
        )  # fmt: skip
        try:
            subprocess.run(command, capture_output=True, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        if not picture.exists():
            return False
        write_atomically(path, picture.read_bytes())
    return True

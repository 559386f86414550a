"""What a recovery came to: how it ended, its curve, and the scores beside the original's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import streamlit as st

from ffmerge_core.plan import Curve, Recipe
from ffmerge_core.reporting.figures import recovery_chart, to_html
from ffmerge_core.reporting.recoveries import recovery_in_words
from ffmerge_core.reporting.run import Run
from ffmerge_core.tasks.metrics import metric
from pages._ui.recover_choice import is_of_plan
from pages._ui.results import before_and_after
from pages._ui.shared import current_workspace
from pages._ui.widgets import Download, download_row, figure_row, next_step


def curve_of(run: Run) -> Curve | None:
    stored = (run.result or {}).get("recovery")
    return Curve.from_dict(stored) if stored else None


def shown(runs: Sequence[Run], plan: Recipe) -> Run | None:
    """The recovered run of a plan to show: the one that is open, or else the newest."""
    mine = [run for run in runs if is_of_plan(run, plan) and curve_of(run) is not None]
    open_run = current_workspace().run_id
    return next((run for run in mine if run.id == open_run), mine[0] if mine else None)


def results(run: Run) -> None:
    curve, recovery = curve_of(run), Recipe.from_dict(run.recipe).recovery
    assert curve is not None, "only recovered runs are shown"
    assert recovery is not None, "and a curve is of a recovery"
    st.header(run.name)
    st.caption(recovery_in_words(recovery))
    st.markdown(curve.in_words)
    original = (run.result or {})["original"]["validation"]
    _steps(curve, original)
    figure = recovery_chart(
        curve.points, metric(curve.metric), curve.asked, curve.best_step, original["value"]
    )
    st.plotly_chart(figure, key="recovery", config={"displaylogo": False})
    download_row(
        Download("Curve (HTML)", "recovery.html", lambda: to_html(figure), "text/html"),
        key="recovery-figure",
    )
    before_and_after(run)
    st.caption(
        "“Merged” is after the recovery. The original was not fine-tuned: a gain over it may come "
        "from further training, not from the plan. Plans compare fairly among recoveries of the "
        "same steps, rate and batch size."
    )
    next_step("pages/compare.py", "Compare with the original and other runs")


def _steps(curve: Curve, original: Mapping[str, Any]) -> None:
    """Original, before and after: the metric on validation, each on from the one before."""
    say = metric(curve.metric)
    good: Literal["normal", "inverse"] = "normal" if say.higher_is_better else "inverse"
    title = say.name if say.name.isupper() else say.name.capitalize()
    first = curve.points[0].value
    best = next(point for point in curve.points if point.step == curve.best_step).value
    with figure_row():
        for label, value, since in (
            (f"{title} of the original", original["value"], None),
            ("Before the recovery", first, original["value"]),
            ("After it", best, first),
        ):
            st.metric(
                label,
                say.text(value),
                # Streamlit knows a fall by a hyphen, not by a minus sign.
                None if since is None else say.change_text(value - since).replace("−", "-"),
                delta_color="off" if value == since else good,
                width="content",
            )

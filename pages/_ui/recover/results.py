"""What a recovery came to: how it ended, its curve, and the scores beside the original's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import streamlit as st

from ffmerge_core.plan import NOTHING_MERGED, Curve, Recipe
from ffmerge_core.plan.fitting import same_but
from ffmerge_core.reporting.figures import recovery_chart, to_html
from ffmerge_core.reporting.recoveries import recovery_in_words
from ffmerge_core.reporting.run import Run
from ffmerge_core.reporting.stored import made
from ffmerge_core.tasks.metrics import metric
from pages._ui.pieces.results import before_and_after
from pages._ui.pieces.widgets import Download, download_row, figure_row, next_step, weights_label
from pages._ui.recover.choice import is_of_plan
from pages._ui.recover.jobs import start
from pages._ui.state.shared import current_workspace


def curve_of(run: Run) -> Curve | None:
    stored = (run.result or {}).get("recovery")
    return Curve.from_dict(stored) if stored else None


def shown(runs: Sequence[Run], plan: Recipe) -> Run | None:
    """The recovered run of a plan to show: the one that is open, or else the newest."""
    mine = [run for run in runs if is_of_plan(run, plan) and curve_of(run) is not None]
    open_run = current_workspace().run_id
    return next((run for run in mine if run.id == open_run), mine[0] if mine else None)


def results(run: Run, runs: Sequence[Run]) -> None:
    """runs: of what is open; the original tuned the same way may be among them."""
    curve, recipe = curve_of(run), Recipe.from_dict(run.recipe)
    assert curve is not None, "only recovered runs are shown"
    assert recipe.recovery is not None, "and a curve is of a recovery"
    st.header(run.name)
    st.caption(recovery_in_words(recipe.recovery))
    st.markdown(curve.in_words)
    original = (run.result or {})["original"]["validation"]
    alike = control_of(recipe, runs)
    _steps(curve, original, alike)
    figure = recovery_chart(
        curve.points, metric(curve.metric), curve.asked, curve.best_step, original["value"]
    )
    st.plotly_chart(figure, key="recovery", config={"displaylogo": False})
    download_row(
        Download("Curve (HTML)", "recovery.html", lambda: to_html(figure), "text/html"),
        key="recovery-figure",
    )
    before_and_after(run)
    st.caption(_what_is_compared(run, recipe, alike is not None))
    if alike is None and recipe.plan != NOTHING_MERGED:
        st.button(
            "Fine-tune the original in the same way",
            icon=":material/balance:",
            on_click=start,
            args=(replace(recipe, plan=NOTHING_MERGED),),
            help="This is the control. It shows what the same fine-tuning gains when nothing was "
            "merged.",
        )
    next_step("pages/compare.py", "Compare with the original and other runs")


def control_of(recipe: Recipe, runs: Sequence[Run]) -> Curve | None:
    """The newest curve of the original tuned the same way; None of the original itself."""
    wanted = replace(recipe, plan=NOTHING_MERGED)
    if recipe.plan == NOTHING_MERGED:
        return None
    curves = (
        curve_of(run)
        for run in runs
        if same_but(Recipe.from_dict(run.recipe), wanted, "quantize", "tokens", "python")
    )
    return next((curve for curve in curves if curve is not None), None)


def _what_is_compared(run: Run, recipe: Recipe, has_control: bool) -> str:
    rounding = (
        f" and after the rounding to {weights_label(recipe.quantize)}" if recipe.quantize else ""
    )
    after = f"the recovery{rounding}"
    said = f"The column “{made(run.recipe)}” is the model after {after}"
    if recipe.quantize:
        said += ". The curve is from before the rounding"
    if recipe.plan == NOTHING_MERGED:
        alone = (
            "fine-tuning and rounding do alone" if recipe.quantize else "fine-tuning gains alone"
        )
        return f"{said}. Nothing was merged, so this shows what {alone}."
    if not has_control:
        said += (
            ". The original was not fine-tuned, so a gain over it may come from further training "
            "and not from the plan"
        )
    return (
        f"{said}. Plans compare fairly only when their recoveries have the same steps, learning "
        "rate and batch size."
    )


def _steps(curve: Curve, original: Mapping[str, Any], alike: Curve | None) -> None:
    """Original, before and after: the metric on validation, each on from the one before.

    alike: of the original tuned the same way.
    """
    say = metric(curve.metric)
    good: Literal["normal", "inverse"] = "normal" if say.higher_is_better else "inverse"
    first, best = curve.points[0].value, _best(curve)
    figures = [
        (f"{say.label} of the original", original["value"], None),
        ("Before the recovery", first, original["value"]),
        ("After the recovery", best, first),
    ]
    if alike is not None:
        figures.append(("Original, same fine-tuning", _best(alike), original["value"]))
    with figure_row():
        for label, value, since in figures:
            st.metric(
                label,
                say.text(value),
                # Streamlit knows a fall by a hyphen, not by a minus sign.
                None if since is None else say.change_text(value - since).replace("−", "-"),
                delta_color="off" if value == since else good,
                width="content",
            )


def _best(curve: Curve) -> float:
    return next(point.value for point in curve.points if point.step == curve.best_step)

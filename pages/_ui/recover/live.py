"""A recovery's curve while it runs: the loss of each step, the scores of each check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from ffmerge_core.compression.resuming import underway
from ffmerge_core.progress import Report
from ffmerge_core.reporting.figures import recovery_chart
from ffmerge_core.tasks.metrics import metric
from pages._ui.state.shared import job_registry
from pages._ui.state.shelf import Recent

# More points than these cannot be told apart on a screen.
MOST = 2_000


class StepLosses:
    """The training loss of each step, as reports tell it. One thread adds, others read.

    before: the step before the first one, which is that of a checkpoint where there was one.
    """

    def __init__(self, before: int = 0) -> None:
        self._step, self._every = before, 1
        self._points: list[tuple[int, float]] = []

    @property
    def points(self) -> tuple[tuple[int, float], ...]:
        """(step, loss); of a long recovery every second step, every fourth, and so on."""
        return tuple(self._points)

    def add(self, loss: float) -> None:
        self._step += 1
        if self._step % self._every == 0:
            self._points.append((self._step, loss))
        if len(self._points) > MOST:
            self._every *= 2
            self._points = [point for point in self._points if point[0] % self._every == 0]

    def listening(self, report: Report) -> Report:
        """A report that passes all on, and keeps the losses."""

        def both(
            step: int, total: int, message: str, values: Mapping[str, float] | None = None
        ) -> None:
            report(step, total, message, values)
            if values and "training loss" in values:
                self.add(values["training loss"])

        return both


@st.cache_resource(show_spinner=False)
def step_losses() -> Recent[str, StepLosses]:
    """Those of each workspace's newest recovery."""
    return Recent(50)


@st.fragment(run_every=1.0)
def live_curve(job_id: str, owner: str, folder: Path, name: str, original: float) -> None:
    """What is known so far. name: of the metric. original: the untouched model's value of it."""
    job, known, heard = job_registry().get(job_id), underway(folder), step_losses().get(owner)
    if job is None or not job.active:
        return
    if known is None:
        st.caption("The curve begins with the first score on the validation split.")
        return
    figure = recovery_chart(
        known.points,
        metric(name),
        known.asked,
        original=original,
        each_step=heard.points if heard else (),
    )
    st.plotly_chart(figure, key="recovery-live", config={"displaylogo": False})

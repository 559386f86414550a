"""What a stored run took: seconds and peak memory by step, and what a batch takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ffmerge_core.reporting.formats import whole_megabytes
from ffmerge_core.reporting.run import Run
from ffmerge_core.reporting.stored import is_merge

# As `compression.running.run` names them, in the order in which they come.
STEPS: Mapping[str, str] = {
    "load": "Loading",
    "calibrate": "Calibration",
    "align": "Alignment",
    "merge": "Merge",
    "recover": "Recovery",
    "quantize": "Quantisation",
    "evaluate": "Evaluation",
    "time": "Timing of both models",
}
MEMORY_NOTE = (
    "Peak memory is that of the whole process while a step ran. It includes the libraries and "
    "everything that was loaded before. A step is missing if it was not needed or its result was "
    "already there."
)
RESUMED_NOTE = "If a recovery continued after a stop, only its last part is counted."


class StepCost(NamedTuple):
    """step: in words. seconds, peak_memory (bytes): None where the run was stored without."""

    step: str
    seconds: float | None
    peak_memory: int | None


def step_costs(run: Run) -> list[StepCost]:
    """A finished run's steps and, last, all of them together; empty of a run without any."""
    memory: Mapping[str, int] = (run.result or {}).get("memory") or {}
    if not run.seconds:
        return []
    steps = [
        StepCost(_in_words(step, run), run.seconds.get(step), memory.get(step))
        for step in (*STEPS, *(run.seconds.keys() - STEPS.keys()))
        if step in run.seconds
    ]
    return [*steps, StepCost("All steps", sum(run.seconds.values()), run.peak_memory)]


def step_rows(run: Run) -> list[tuple[str, str, str]]:
    """`step_costs` for reading."""
    return [
        (
            each.step,
            "not stored" if each.seconds is None else f"{each.seconds:,.1f}",
            "not stored" if each.peak_memory is None else whole_megabytes(each.peak_memory),
        )
        for each in step_costs(run)
    ]


def costs_note(run: Run) -> str:
    """What these figures count, in sentences."""
    return f"{MEMORY_NOTE} {RESUMED_NOTE}" if "recover" in run.seconds else MEMORY_NOTE


def batch_costs(result: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(what, original, merged): milliseconds a batch and how much a second; empty if not timed."""
    if not (timed := result.get("latency")):
        return []
    before, after = timed["original"], timed["merged"]
    return [
        ("Milliseconds a batch", 1e3 * before["seconds"], 1e3 * after["seconds"]),
        (f"{before['unit'].capitalize()} a second", before["per_second"], after["per_second"]),
    ]


def batch_rows(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """`batch_costs` for reading."""
    return [
        (what, f"{before:,.1f}", f"{after:,.1f}") for what, before, after in batch_costs(result)
    ]


def _in_words(step: str, run: Run) -> str:
    reduces = step == "merge" and not is_merge(run.recipe)
    return "Reduction" if reduces else STEPS.get(step, step)

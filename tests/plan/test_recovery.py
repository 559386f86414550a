"""A recovery's numbers, and the curve in words."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pytest

from ffmerge_core.errors import PlanError
from ffmerge_core.plan import Curve, CurvePoint, Recovery


def test_the_rate_of_every_step() -> None:
    recovery = Recovery(steps=25, learning_rate=2.0)
    warm = [1.0, 2.0]  # a tenth of the steps, rounded to even
    cosine = [1 + math.cos(math.pi * step / 23) for step in range(23)]
    assert [recovery.rate(step) for step in range(25)] == pytest.approx(warm + cosine)
    assert [Recovery(steps=3, learning_rate=2.0).rate(step) for step in range(3)] == [2, 2, 1]


@pytest.mark.parametrize(("steps", "interval"), [(1, 1), (19, 1), (20, 2), (200, 20)])
def test_ten_scores_are_taken_on_the_way(steps: int, interval: int) -> None:
    assert Recovery(steps).interval == interval


@pytest.mark.parametrize("until", [0, 4])
def test_a_cancelled_one_ends_where_it_was(until: int) -> None:
    assert Recovery(steps=5).last == 5
    recovery = Recovery(steps=5, until=until)
    assert recovery.last == until
    assert Recovery.from_dict(json.loads(json.dumps(recovery.to_dict()))) == recovery
    assert "until" not in Recovery(steps=5).to_dict()


@pytest.mark.parametrize(
    "least",
    [
        {"steps": 1},
        {"batch_size": 1},
        {"lora_rank": 1},
        {"learning_rate": sys.float_info.min},
        {"learning_rate": sys.float_info.max},
        {"learning_rate": 1},
    ],
)
def test_the_least_and_most_are_taken(least: dict[str, Any]) -> None:
    (name,) = least
    assert getattr(Recovery(**least), name) == least[name]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": 0}, "^A recovery's steps is 0; a whole number from 1 up"),
        ({"batch_size": 0}, "^A recovery's batch_size is 0; a whole number from 1 up"),
        ({"lora_rank": 0}, "^A recovery's lora_rank is 0; a whole number from 1 up"),
        ({"until": -1}, "^A recovery's until is -1; a whole number from 0 up"),
        ({"steps": 5, "until": 5}, "of 5 steps cannot have been cancelled at step 5"),
        ({"learning_rate": 0}, "learning rate is 0; it must be above 0"),
        ({"learning_rate": math.inf}, "learning rate is inf; it must be above 0"),
        ({"learning_rate": "high"}, "learning rate is 'high'; it must be above 0"),
    ],
)
def test_what_no_recovery_could_have_is_told(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        Recovery(**change)


POINTS = (
    CurvePoint(0, None, 0.5, 0.8), CurvePoint(4, 0.4, 0.25, 0.9), CurvePoint(8, 0.1, 0.3, 0.85),
)  # fmt: skip


@pytest.mark.parametrize(
    ("stopped", "said"),
    [
        ("finished", "All 9 steps were taken."),
        ("no gain", "Stopped after 8 of 9 steps: the validation loss no longer fell."),
        (
            "diverged",
            "Stopped after 8 of 9 steps: the loss grew without bound. "
            "Take a smaller learning rate.",
        ),
        ("cancelled", "Cancelled after 8 of 9 steps."),
    ],
)
def test_a_curve_says_how_it_ended_and_what_was_kept(stopped: Any, said: str) -> None:
    curve = Curve("accuracy", POINTS, steps=8, asked=9, best_step=4, stopped=stopped)
    assert curve.in_words == f"{said} The weights of step 4 were kept."
    loss = "validation loss 0.5 → 0.25 at step 4"
    assert repr(curve) == f"Curve(8 of 9 steps, {stopped}: {loss})"
    assert Curve.from_dict(json.loads(json.dumps(curve.to_dict()))) == curve


def test_a_curve_that_never_fell_keeps_the_start() -> None:
    curve = Curve("accuracy", POINTS[:1], steps=0, asked=9, best_step=0, stopped="cancelled")
    assert curve.in_words == (
        "Cancelled after 0 of 9 steps. Nothing was gained, so the weights of the start were kept."
    )
    empty = Curve("accuracy", (), steps=0, asked=9, best_step=0, stopped="cancelled")
    assert repr(empty) == "Curve(0 of 9 steps, cancelled)"
    with pytest.raises(PlanError, match="points is 7; a list of objects was expected"):
        Curve.from_dict({**empty.to_dict(), "points": 7})

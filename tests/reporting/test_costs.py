"""What a stored run took, by step: in order, with words for each, whatever was not stored."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import ffmerge_core as fm
from ffmerge_core.plan import NOTHING_MERGED, DropLayers, MergePlan, Plan, Recipe, Recovery
from ffmerge_core.reporting.costs import STEPS, batch_costs, costs_note, step_costs
from ffmerge_core.reporting.run import Run

MERGE = MergePlan((("encoder.0", "encoder.1"),))


def stored(plan: Plan = MERGE, seconds: dict[str, float] | None = None, **result: object) -> Run:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Run(
        id="1", name="A run", source="a model", status="done", created=now, finished=now,
        recipe=Recipe("a model", plan).to_dict(), result=result, versions={},
        seconds=seconds or {}, peak_memory=9_000_000, error=None,
    )  # fmt: skip


def test_steps_come_in_the_order_of_the_work_and_all_of_them_last() -> None:
    run = stored(
        seconds={"evaluate": 2.0, "calibrate": 1.0, "recover": 4.0},
        memory={"calibrate": 5_000_000, "recover": 9_000_000},
    )
    assert step_costs(run) == [
        ("Calibration", 1.0, 5_000_000),
        ("Recovery", 4.0, 9_000_000),
        ("Evaluation", 2.0, None),
        ("All steps", 7.0, 9_000_000),
    ]
    assert "continued after a stop" in costs_note(run)


def test_a_run_without_figures_has_no_rows() -> None:
    assert step_costs(stored()) == []
    assert batch_costs({}) == []
    assert "was interrupted and continued" not in costs_note(stored())


@pytest.mark.parametrize(
    ("plan", "word"),
    [(MERGE, "Merge"), (NOTHING_MERGED, "Merge"), (DropLayers(("encoder.0",)), "Reduction")],
)
def test_a_plan_is_merged_or_reduced(plan: Plan, word: str) -> None:
    assert step_costs(stored(plan, {"merge": 1.0}))[0].step == word


def test_both_models_are_timed_in_milliseconds_and_in_what_they_take() -> None:
    latency = {
        "original": {"seconds": 0.02, "per_second": 3_200.0, "unit": "images"},
        "merged": {"seconds": 0.01, "per_second": 6_400.0, "unit": "images"},
    }
    assert batch_costs({"latency": latency}) == [
        ("Milliseconds a batch", 20.0, 10.0),
        ("Images a second", 3_200.0, 6_400.0),
    ]


def test_every_step_of_a_real_run_has_words_and_figures(model: fm.LoadedModel) -> None:
    recipe = Recipe(
        model.source, MERGE, tokens=200, recovery=Recovery(1, batch_size=4), quantize="int8"
    )
    result = fm.run(recipe, model=model)
    assert result.seconds.keys() == result.memory.keys() == STEPS.keys()
    run = stored(seconds=dict(result.seconds), **result.record())
    assert all(each.seconds is not None and each.peak_memory for each in step_costs(run))

"""The table of a run, of which pages and command line show the same rows."""

from __future__ import annotations

from typing import Any

from ffmerge_core.plan import DropFF, MergePlan, Recipe
from ffmerge_core.reporting.before_after import before_and_after_rows, speed_rows


def score(metric: str, value: float, loss: float) -> dict[str, Any]:
    return {
        "metric": metric, "value": value, "interval": [value, value], "n": 1_200,
        "loss": loss, "loss_interval": [loss, loss],
    }  # fmt: skip


def result(metric: str = "accuracy", merged: int = 750, **more: Any) -> dict[str, Any]:
    return {
        "original": {
            "n_parameters": 1_000, "weight_bytes": 4_000_000, "test": score(metric, 0.95, 0.25),
        },
        "merged": {
            "n_parameters": merged, "weight_bytes": 4_000 * merged,
            "test": score(metric, 0.9, 0.5),
        },
        "difference": {"test": {**score(metric, -0.05, 0.25), "agreement": 0.875}},
        "examples": "images",
        **more,
    }  # fmt: skip


def test_parameters_memory_and_every_figure_have_a_row() -> None:
    assert before_and_after_rows(result()) == [
        ("Parameters", "1,000", "750", "−250 (−25.0%)"),
        ("Memory of the weights", "4.00 MB", "3.00 MB", "−1.00 MB"),
        (
            "Test accuracy, 1,200 images",
            "95.0% (95.0% to 95.0%)",
            "90.0% (90.0% to 90.0%)",
            "−5.0 points (−5.0 to −5.0)",
        ),
        (
            "Test loss",
            "0.250 (0.250 to 0.250)",
            "0.500 (0.500 to 0.500)",
            "+0.250 (+0.250 to +0.250)",
        ),
        ("Test predictions that agree", "", "87.5%", ""),
    ]


def test_what_saves_nothing_says_none_and_int8_is_named() -> None:
    rows = before_and_after_rows(result(merged=1_000, quantized=5))
    assert rows[0].change == "none"
    assert (rows[1].label, rows[1].change) == ("Memory of the weights, part of them int8", "none")


def test_a_score_that_is_an_agreement_is_not_said_twice() -> None:
    labels = [row.label for row in before_and_after_rows(result("top-1 agreement"))]
    assert labels[2:] == ["Test top-1 agreement, 1,200 images", "Test KL divergence"]


def test_speed_is_a_share_only_where_the_work_is_another() -> None:
    timed = {
        side: {"seconds": 0.02, "per_second": rate, "unit": "images"}
        for side, rate in (("original", 3_200.0), ("merged", 2_400.0))
    }
    tied = Recipe("a model", MergePlan((("encoder.0", "encoder.1"),))).to_dict()
    dropped = Recipe("a model", DropFF(("encoder.0",))).to_dict()
    assert speed_rows({"latency": timed}, tied)[0].change == "the same work"
    assert speed_rows({"latency": timed}, dropped) == [
        ("Speed, images a second", "3,200", "2,400", "−25%")
    ]
    assert speed_rows({}, tied) == []

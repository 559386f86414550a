"""Evaluations: means, intervals, paired differences, and the way through JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.evaluation import Evaluation, Interval


def evaluation(seed: int = 0, n: int = 300, accuracy: float = 0.8) -> Evaluation:
    rng = np.random.default_rng(seed)
    scores = rng.random(n) < accuracy
    return Evaluation.of(
        "validation", "accuracy", scores, rng.exponential(size=n), rng.integers(0, 10, size=n)
    )


def test_value_and_loss_are_the_means() -> None:
    result = Evaluation.of("test", "accuracy", [1, 0, 1, 1], [0.5, 2.0, 0.25, 0.25], [3, 1, 4, 1])
    assert (result.value, result.loss, result.n) == (0.75, 0.75, 4)
    assert result.predictions.tolist() == [3, 1, 4, 1]


def test_interval_agrees_with_the_normal_approximation() -> None:
    result = evaluation(n=2_000)
    half = 1.96 * np.sqrt(result.value * (1 - result.value) / result.n)
    assert result.interval.low == pytest.approx(result.value - half, abs=half / 10)
    assert result.interval.high == pytest.approx(result.value + half, abs=half / 10)
    half = 1.96 * result.losses.std() / np.sqrt(result.n)
    assert result.loss_interval.low == pytest.approx(result.loss - half, abs=half / 10)


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    covered = sum(
        (found := evaluation(seed, n=100, accuracy=0.7).interval).low <= 0.7 <= found.high
        for seed in range(200)
    )
    assert 0.89 <= covered / 200 <= 0.99


def test_interval_is_the_same_every_time() -> None:
    assert evaluation().interval == evaluation().interval


def test_equal_scores_give_an_interval_of_no_width() -> None:
    result = Evaluation.of("test", "accuracy", [1, 1, 1], [0.5, 0.5, 0.5], [0, 1, 2])
    assert result.interval == Interval(1.0, 1.0)
    assert result.loss_interval == Interval(0.5, 0.5)


def test_one_example_is_enough() -> None:
    assert Evaluation.of("test", "accuracy", [0], [2.5], [7]).loss_interval == Interval(2.5, 2.5)


def test_arrays_cannot_be_changed_and_are_copies() -> None:
    losses = np.array([0.5, 1.0])
    result = Evaluation.of("test", "accuracy", [1, 0], losses, [0, 1])
    losses[0] = 9
    assert result.losses[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        result.losses[0] = 9


@pytest.mark.parametrize(
    ("scores", "losses", "predictions"),
    [([], [], []), ([1, 0], [0.1], [0, 1]), ([[1]], [[0.1]], [[0]])],
)
def test_unlike_or_empty_arrays_are_refused(
    scores: list[int], losses: list[float], predictions: list[int]
) -> None:
    with pytest.raises(DataError, match="one of each for every example"):
        Evaluation.of("test", "accuracy", scores, losses, predictions)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_losses_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="1 of 2 losses on the test split are not finite"):
        Evaluation.of("test", "accuracy", [1, 0], [0.1, bad], [0, 1])


def test_difference_is_paired() -> None:
    original = Evaluation.of("test", "accuracy", [1, 1, 0, 1], [0.1, 0.2, 3.0, 0.3], [0, 1, 2, 3])
    merged = Evaluation.of("test", "accuracy", [1, 0, 0, 0], [0.2, 1.2, 3.1, 1.3], [0, 5, 2, 6])
    difference = merged.versus(original)
    assert difference.value == -0.5
    assert difference.loss == pytest.approx(0.55)
    assert difference.agreement == 0.5
    assert difference.changed.tolist() == [1, 3]
    assert difference.interval.low <= -0.5 <= difference.interval.high


def test_pairing_narrows_the_interval() -> None:
    original = evaluation(n=500)
    worse = Evaluation.of(
        "validation", "accuracy", original.scores, original.losses + 0.1, original.predictions
    )
    difference = worse.versus(original)
    width = difference.loss_interval.high - difference.loss_interval.low
    assert width < 1e-9 < original.loss_interval.high - original.loss_interval.low
    assert difference.loss == pytest.approx(0.1)


def test_difference_to_itself_is_nothing() -> None:
    itself = evaluation()
    difference = itself.versus(itself)
    assert (difference.value, difference.loss, difference.agreement) == (0, 0, 1)
    assert difference.interval == difference.loss_interval == Interval(0, 0)
    assert difference.changed.size == 0


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (replace(evaluation(), split="test"), "split"),
        (replace(evaluation(), metric="perplexity"), "metric"),
        (evaluation(n=200), "number of examples"),
    ],
)
def test_evaluations_of_different_things_are_not_compared(other: Evaluation, what: str) -> None:
    with pytest.raises(DataError, match=f"differ in {what}"):
        evaluation().versus(other)


def test_summaries_hold_everything_but_the_arrays() -> None:
    result = evaluation()
    summary = json.loads(json.dumps(result.summary()))
    assert set(summary) == {
        "split", "metric", "value", "loss", "n", "interval", "loss_interval",
    }  # fmt: skip
    assert (summary["value"], summary["loss"]) == (result.value, result.loss)
    assert summary["interval"] == [result.interval.low, result.interval.high]
    difference = result.versus(evaluation(seed=1))
    summary = json.loads(json.dumps(difference.summary()))
    assert "changed" not in summary
    assert summary["agreement"] == difference.agreement

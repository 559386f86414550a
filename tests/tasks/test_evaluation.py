"""Evaluations: means, intervals, paired differences, and the way through JSON."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.measures import Interval, Measure


def scored(
    split: Split, scores: Sequence[float], losses: Sequence[float], predictions: Sequence[int]
) -> Evaluation:
    measures = [Measure.ratio("accuracy", scores), Measure.ratio("loss", losses)]
    return Evaluation.of(split, measures, np.array(predictions))


def losses_of(result: Evaluation) -> np.ndarray:
    return result.measures["loss"].statistics[:, 0]


def evaluation(seed: int = 0, n: int = 300, accuracy: float = 0.8) -> Evaluation:
    rng = np.random.default_rng(seed)
    scores = rng.random(n) < accuracy
    return scored("validation", scores, rng.exponential(size=n), rng.integers(0, 10, size=n))


def test_value_and_loss_are_the_means() -> None:
    result = scored("test", [1, 0, 1, 1], [0.5, 2.0, 0.25, 0.25], [3, 1, 4, 1])
    assert (result.value, result.loss, result.n) == (0.75, 0.75, 4)
    assert result.predictions.tolist() == [3, 1, 4, 1]


def test_interval_agrees_with_the_normal_approximation() -> None:
    result = evaluation(n=2_000)
    half = 1.96 * np.sqrt(result.value * (1 - result.value) / result.n)
    assert result.interval.low == pytest.approx(result.value - half, abs=half / 10)
    assert result.interval.high == pytest.approx(result.value + half, abs=half / 10)
    half = 1.96 * losses_of(result).std() / np.sqrt(result.n)
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
    result = scored("test", [1, 1, 1], [0.5, 0.5, 0.5], [0, 1, 2])
    assert result.interval == Interval(1.0, 1.0)
    assert result.loss_interval == Interval(0.5, 0.5)


def test_one_example_is_enough() -> None:
    assert scored("test", [0], [2.5], [7]).loss_interval == Interval(2.5, 2.5)


def test_arrays_cannot_be_changed_and_are_copies() -> None:
    losses = np.array([0.5, 1.0])
    result = scored("test", [1, 0], losses, [0, 1])
    losses[0] = 9
    assert losses_of(result)[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        losses_of(result)[0] = 9


@pytest.mark.parametrize(
    ("scores", "losses", "predictions"),
    [([], [], []), ([1, 0], [0.1], [0, 1]), ([[1]], [[0.1]], [[0]])],
)
def test_unlike_or_empty_arrays_are_refused(
    scores: list[int], losses: list[float], predictions: list[int]
) -> None:
    with pytest.raises(DataError, match="one of each for every"):
        scored("test", scores, losses, predictions)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_losses_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="1 of 2 examples of the test split have a loss"):
        scored("test", [1, 0], [0.1, bad], [0, 1])


def test_difference_is_paired() -> None:
    original = scored("test", [1, 1, 0, 1], [0.1, 0.2, 3.0, 0.3], [0, 1, 2, 3])
    merged = scored("test", [1, 0, 0, 0], [0.2, 1.2, 3.1, 1.3], [0, 5, 2, 6])
    difference = merged.versus(original)
    assert difference.value == -0.5
    assert difference.loss == pytest.approx(0.55)
    assert difference.agreement == 0.5
    assert difference.changed.tolist() == [1, 3]
    assert difference.interval.low <= -0.5 <= difference.interval.high


def test_pairing_narrows_the_interval() -> None:
    original = evaluation(n=500)
    worse = scored(
        "validation",
        original.measures["accuracy"].statistics[:, 0],
        losses_of(original) + 0.1,
        original.predictions,
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
        "others", "notes",
    }  # fmt: skip
    assert (summary["value"], summary["loss"]) == (result.value, result.loss)
    assert summary["interval"] == [result.interval.low, result.interval.high]
    difference = result.versus(evaluation(seed=1))
    summary = json.loads(json.dumps(difference.summary()))
    assert "changed" not in summary
    assert summary["agreement"] == difference.agreement


def perplexity(losses: Sequence[float], tokens: Sequence[int], bits: Sequence[float]) -> Evaluation:
    measures = [
        Measure.exponential("perplexity", losses, tokens),
        Measure.ratio("loss", losses, tokens),
        Measure.ratio("bits per byte", bits),
    ]
    return Evaluation.of("test", measures, [np.arange(n) for n in tokens])


def test_a_perplexity_weighs_examples_by_their_tokens() -> None:
    result = perplexity([2.0, 9.0], [2, 3], [1.0, 2.0])
    assert result.loss == pytest.approx(11 / 5)
    assert result.value == pytest.approx(np.exp(11 / 5))
    assert result.others["bits per byte"].value == 1.5
    assert result.interval.low == pytest.approx(np.exp(1)) == np.exp(result.loss_interval.low)


def test_the_interval_of_a_ratio_is_the_plain_bootstrap_of_it() -> None:
    rng = np.random.default_rng(5)
    losses, tokens = rng.exponential(size=80) * 20, rng.integers(5, 30, size=80)
    result = perplexity(list(losses), list(tokens), [0.0] * 80)
    drawn = np.random.default_rng(1).integers(0, 80, size=(20_000, 80))
    values = np.exp(losses[drawn].sum(1) / tokens[drawn].sum(1))
    low, high = np.quantile(values, [0.025, 0.975])
    assert result.interval.low == pytest.approx(low, rel=0.01)
    assert result.interval.high == pytest.approx(high, rel=0.01)


def test_agreement_counts_every_entry_of_a_prediction() -> None:
    result = perplexity([1, 2], [2, 4], [1, 1])
    other = Evaluation.of(
        "test", list(result.measures.values()), [np.arange(2), np.array([0, 1, 9, 9])]
    )
    difference = result.versus(other)
    assert difference.agreement == pytest.approx(4 / 6)
    assert difference.changed.tolist() == [1]
    assert difference.others["bits per byte"].value == 0


def test_texts_can_be_predictions() -> None:
    measures = [Measure.ratio("BLEU", [1, 2]), Measure.ratio("loss", [1, 2])]
    one, two = (Evaluation.of("test", measures, said) for said in (["a", "b"], ["a", "c"]))
    assert two.versus(one).agreement == 0.5
    assert two.versus(one).changed.tolist() == [1]


def test_an_evaluation_needs_a_loss() -> None:
    with pytest.raises(DataError, match="needs a loss"):
        Evaluation.of("test", [Measure.ratio("accuracy", [1, 0])], [0, 1])

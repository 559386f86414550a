"""The rank correlation of similarity and damage, and what is said of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from ffmerge_core.analysis.prediction import RankCorrelation, does_similarity_predict
from ffmerge_core.errors import PlanError


def table(similarity: list[float], change: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"mean CKA": similarity, "loss change": change})


def test_it_is_spearman_s_ties_and_all() -> None:
    draw = np.random.default_rng(1)
    similarity = draw.normal(size=40).round(1)
    change = (-similarity + draw.normal(size=40)).round(1)
    found = does_similarity_predict(table(list(similarity), list(change)))
    assert found.value == pytest.approx(spearmanr(similarity, change).statistic)
    assert found.low < found.value < found.high < 0
    assert (found.n, found.resamples) == (40, 2000)
    assert does_similarity_predict(table(list(similarity), list(change))) == found


def test_the_interval_is_that_of_resampled_windows() -> None:
    draw = np.random.default_rng(2)
    similarity, change = draw.normal(size=(2, 12))
    found = does_similarity_predict(table(list(similarity), list(change)))
    each = []
    for _ in range(1500):
        at = draw.integers(12, size=12)
        each.append(spearmanr(similarity[at], change[at]).statistic)
    low, high = np.quantile(each, (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06)


def test_resamples_without_a_rank_correlation_are_left_out_and_counted() -> None:
    found = does_similarity_predict(table([0.1, 0.2, 0.3, 0.4], [4, 3, 2, 1]))
    assert found.value == pytest.approx(-1)
    assert (found.low, found.high) == pytest.approx((-1, -1))
    # All four draws are one window with probability 4 · (1/4)⁴ = 1/64.
    assert found.resamples == pytest.approx(2000 * 63 / 64, abs=25)
    drawn = np.random.default_rng(0).integers(4, size=(2000, 4))
    assert found.resamples == (np.ptp(drawn, axis=1) > 0).sum(), "the same ones every time"


def test_windows_without_a_figure_are_left_out() -> None:
    found = does_similarity_predict(
        table([0.1, 0.2, 0.3, 0.4, 0.5, np.nan], [1, 2, 3, 4, np.inf, 6])
    )
    assert (found.n, found.value) == (4, pytest.approx(1))
    unknown = table([0.1, 0.2, 0.3, 0.4, None], [1, 2, 3, 4, 5]).astype(object)  # type: ignore[list-item]
    assert does_similarity_predict(unknown).n == 4


@pytest.mark.parametrize(("n", "few"), [(0, "windows are"), (1, "window is"), (3, "windows are")])
def test_few_windows_are_a_sentence(n: int, few: str) -> None:
    said = rf"^{n} {few} too few .* 4 are needed\. Remove fewer FF sublayers: .* more windows\.$"
    with pytest.raises(PlanError, match=said):
        does_similarity_predict(table([0.1, 0.2, 0.3][:n], [1, 2, 3][:n]))


@pytest.mark.parametrize("alike", [([0.5] * 6, [1, 2, 3, 4, 5, 6]), ([1, 2, 3, 4, 5, 6], [2] * 6)])
def test_windows_that_are_all_alike_are_a_sentence(alike: tuple[list[float], list[float]]) -> None:
    with pytest.raises(PlanError, match="All 6 windows have the same"):
        does_similarity_predict(table(*alike))


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (-0.81, -0.95, -0.42, "The higher a window's mean CKA, the less its merge hurts"),
        (0.7, 0.2, 0.9, "The higher a window's mean CKA, the more its merge hurts"),
        (-0.3, -0.8, 0.35, "predicts how much its merge hurts: the interval contains 0"),
        (-0.3, -0.8, 0.0, "predicts how much its merge hurts: the interval contains 0"),
        (0.3, 0.0, 0.8, "predicts how much its merge hurts: the interval contains 0"),
    ],
)
def test_it_is_said_in_words(value: float, low: float, high: float, said: str) -> None:
    words = RankCorrelation(value, low, high, 8, 2000).in_words("mean CKA")
    assert said in words
    figures = f"{value:.2f} ({low:.2f} to {high:.2f}), 8 windows".replace("-", "−")
    assert f"rank correlation {figures}" in words


def test_a_perfect_order_is_not_given_an_interval_of_no_width() -> None:
    found = does_similarity_predict(table([0.1, 0.2, 0.3, 0.4], [4, 3, 2, 1]))
    assert "hurts (rank correlation −1.00, 4 windows)" in found.in_words("mean CKA")

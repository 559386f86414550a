"""How figures are written."""

import pytest

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.metrics import metric


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.97314, "97.3%"),
        ("perplexity", 27.0091, "27.01"),
        ("perplexity", 12345.678, "12,345.68"),
        ("bits per byte", 1.4428, "1.443"),
        ("BLEU", 95.79, "95.8"),
        ("loss", float("nan"), "unknown"),
    ],
)
def test_values(name: str, value: float, text: str) -> None:
    assert metric(name).text(value) == text


@pytest.mark.parametrize(
    ("name", "difference", "text"),
    [
        ("accuracy", -0.025, "−2.5 points"),
        ("accuracy", -0.0004, "0.0 points"),
        ("perplexity", 0.307, "+0.31"),
        ("perplexity", 1234.5, "+1,234.50"),
        ("loss", -0.0171, "−0.017"),
        ("loss", 0.0, "0.000"),
        ("BLEU", float("inf"), "unknown"),
    ],
)
def test_changes(name: str, difference: float, text: str) -> None:
    assert metric(name).change_text(difference) == text


def test_which_way_is_better() -> None:
    assert metric("chrF").higher_is_better
    assert not metric("KL divergence").higher_is_better


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(DataError, match="no metric called 'taste'"):
        metric("taste")

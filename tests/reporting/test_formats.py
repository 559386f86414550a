"""Numbers as they are written for reading."""

from __future__ import annotations

import math

from ffmerge_core.reporting.formats import (
    change_text,
    count,
    figure_text,
    megabytes,
    percent,
    whole_megabytes,
)
from ffmerge_core.reporting.scores import Stored


def test_counts_bytes_and_shares() -> None:
    assert count(604_810) == "604,810"
    assert megabytes(2_419_240) == "2.42 MB"
    assert whole_megabytes(2_419_240_000) == "2,419 MB"
    assert percent(0.9731) == "97.3%"
    assert percent(math.nan) == "unknown"


def test_figures_have_their_intervals_in_their_own_way() -> None:
    assert figure_text("accuracy", Stored(0.9731, 0.961, 0.982)) == "97.3% (96.1% to 98.2%)"
    assert figure_text("loss", Stored(0.1375, 0.1, math.inf)) == "0.138 (0.100 to unknown)"


def test_a_change_names_its_unit_once() -> None:
    assert change_text("accuracy", Stored(-0.025, -0.039, -0.011)) == "−2.5 points (−3.9 to −1.1)"
    assert change_text("loss", Stored(0.0, -0.5, 0.25)) == "0.000 (−0.500 to +0.250)"

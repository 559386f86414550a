"""The anatomy, matching and alignment figures, and the page they are saved as."""

import re

import numpy as np
import pytest

from ffmerge_core.errors import DataError
from ffmerge_core.palette import PALETTE
from ffmerge_core.reporting.figures import (
    alignment_bars,
    anatomy_bar,
    matching_figure,
    to_html,
)
from ffmerge_core.reporting.figures.matching import shrink
from ffmerge_core.reporting.figures.style import text_on

NAMES = ("encoder.3", "encoder.4")
PARTS = [("FF sublayers", 660), ("attention", 330), ("head", 10)]


def test_the_anatomy_is_one_bar_of_all_parameters():
    figure = anatomy_bar(PARTS)
    assert figure.layout.barmode == "stack"
    assert [trace.x[0] for trace in figure.data] == [660, 330, 10]
    assert figure.layout.xaxis.range == (0, 1000)


def test_every_part_is_named_with_count_and_share_even_a_thin_one():
    figure = anatomy_bar(PARTS)
    assert figure.data[0].name == "FF sublayers: 660 (66.0%)"
    assert figure.data[2].name == "head: 10 (1.0%)"
    assert figure.data[0].text == "<b>FF sublayers</b><br>66.0%"
    assert figure.data[2].text == ""


def test_text_on_a_colour_has_the_contrast_large_text_needs():
    def luminance(colour):
        levels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    for colour in PALETTE:
        low, high = sorted((luminance(colour), luminance(text_on(colour))))
        assert (high + 0.05) / (low + 0.05) > 4.5


def test_matched_neurons_lie_on_the_diagonal():
    rng = np.random.default_rng(0)
    correlation = rng.uniform(-0.2, 0.2, (8, 8))
    permutation = rng.permutation(8)
    correlation[np.arange(8), permutation] = 0.9
    before, after = matching_figure(correlation, permutation, NAMES).data
    np.testing.assert_allclose(before.z, correlation, rtol=1e-6)
    np.testing.assert_allclose(np.diagonal(after.z), 0.9, rtol=1e-6)
    # A column still tells which neuron it is.
    np.testing.assert_array_equal(after.customdata[0], permutation)
    np.testing.assert_array_equal(before.customdata[0], np.arange(8))


def test_the_panels_tell_the_mean_of_the_diagonal():
    figure = matching_figure(np.array([[-0.2, 0.8], [0.6, 0.2]]), np.array([1, 0]), NAMES)
    headings = [note.text for note in figure.layout.annotations]
    assert headings == [
        "as stored: mean of the diagonal 0.00",
        "matched: mean of the diagonal 0.70",
    ]
    scale = figure.layout.coloraxis
    assert (scale.cmin, scale.cmax) == (-1, 1)


def test_many_neurons_are_shrunk_and_the_title_says_so():
    d = 600
    figure = matching_figure(np.eye(d), np.arange(d), NAMES)
    assert all(np.shape(trace.z) == (200, 200) for trace in figure.data)
    assert "3 × 3" in figure.layout.title.text
    # A lone match survives the shrinking.
    np.testing.assert_array_equal(np.diagonal(figure.data[1].z), 1)
    small = matching_figure(np.eye(256), np.arange(256), NAMES)
    assert np.shape(small.data[0].z) == (256, 256)
    assert "each pixel" not in small.layout.title.text


def test_shrinking_keeps_the_strongest_value_and_its_sign():
    values = np.array([[0.1, -0.9, 0.3], [0.2, 0.5, -0.4], [-0.6, 0.0, 0.7]])
    np.testing.assert_array_equal(shrink(values, 2), [[-0.9, -0.4], [-0.6, 0.7]])
    np.testing.assert_array_equal(shrink(values, 1), values)


@pytest.mark.parametrize(
    ("shape", "permutation"), [((3, 3), [0, 1, 1]), ((3, 4), [0, 1, 2]), ((3, 3), [0, 1])]
)
def test_what_is_no_matching_is_refused(shape, permutation):
    with pytest.raises(DataError, match="each column of a square correlation once"):
        matching_figure(np.zeros(shape), np.array(permutation), NAMES)


def test_alignment_bars_show_both_means_of_each_pair():
    pairs = [
        {"anchor": "encoder.3", "sublayer": "encoder.4", "before": -0.1, "after": 0.6},
        {"anchor": "encoder.3", "sublayer": "encoder.5", "before": 0.05, "after": 0.5},
    ]
    figure = alignment_bars(pairs)
    before, after = figure.data
    assert (list(before.x), list(after.x)) == ([-0.1, 0.05], [0.6, 0.5])
    assert list(after.y) == ["encoder.4 → encoder.3", "encoder.5 → encoder.3"]
    low, high = figure.layout.xaxis.range
    assert low < -0.1
    assert high == 1
    assert figure.layout.height > alignment_bars(pairs[:1]).layout.height


def test_figures_leave_background_and_text_to_the_theme():
    for figure in (anatomy_bar(PARTS), matching_figure(np.eye(2), np.arange(2), NAMES)):
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
        assert figure.layout.font.color is None


def test_a_saved_figure_needs_no_network():
    page = to_html(anatomy_bar(PARTS))
    assert page.startswith("<!doctype html>")
    assert len(page) > 1_000_000
    assert re.findall(r"<(?:script|link)[^>]+(?:src|href)=", page) == []
    assert "FF sublayers: 660" in page

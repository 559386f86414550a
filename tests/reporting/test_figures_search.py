from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ffmerge_core.analysis.clustering import cluster
from ffmerge_core.palette import NEUTRAL, VERMILLION
from ffmerge_core.reporting.figures import (
    Damage,
    WindowPoint,
    damage_scatter,
    dendrogram,
    window_chart,
)
from ffmerge_core.reporting.figures.style import colour_of
from ffmerge_core.tasks.metrics import metric

ACCURACY, LOSS = metric("accuracy"), metric("loss")


def point(start, value, method="permute"):
    return WindowPoint(
        start, f"encoder {start}–{start + 2}", method, 500_000, value, value - 0.02, value + 0.01
    )


def trace(figure, name):
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


@pytest.fixture
def points():
    return [
        *(point(start, value) for start, value in ((2, 0.8), (0, 0.9), (1, 0.7))),
        *(point(start, 0.6, "vanilla") for start in range(3)),
        *(point(start, 0.5, "layer drop") for start in range(4)),
    ]


def test_a_line_a_method_runs_by_window_start(points):
    figure = window_chart(points, ACCURACY, original=0.97)
    line = trace(figure, "permute")
    assert line.mode == "lines+markers"
    assert list(line.y) == [0.9, 0.7, 0.8]
    assert list(line.error_y.array) == pytest.approx([0.01] * 3)
    assert list(line.error_y.arrayminus) == pytest.approx([0.02] * 3)
    assert [round(x) for x in line.x] == [0, 1, 2]
    assert len(trace(figure, "layer drop").y) == 4
    assert "encoder 1–3" in line.hovertext[1]
    assert "70.0% (68.0% to 71.0%)" in line.hovertext[1]


def test_intervals_of_two_methods_do_not_cover_each_other(points):
    figure = window_chart(points, ACCURACY, original=0.97)
    places = [trace(figure, name).x[0] for name in ("permute", "vanilla", "layer drop")]
    assert len(set(places)) == 3
    assert max(places) - min(places) < 0.5
    assert window_chart(points[:3], ACCURACY, original=0.97).data[0].x[0] == 0


@pytest.fixture
def anchored(points):
    return [
        *(replace(point, anchor=anchor, value=point.value - cost)
          for cost, anchor in ((0, "first"), (0.01, "middle"), (0.02, "last"))
          for point in points[:3]),
        *points[3:],
    ]  # fmt: skip


def test_each_anchor_has_a_line_of_its_method_s_colour(anchored):
    figure = window_chart(anchored, ACCURACY, original=0.97, best=anchored[-5])
    lines = [trace(figure, f"permute, {anchor}") for anchor in ("first", "middle", "last")]
    assert len({line.line.color for line in lines}) == 1
    assert len({line.line.dash for line in lines}) == 3
    assert len({line.marker.symbol for line in lines}) == 3
    assert "permute, anchor last, encoder 0–2" in lines[2].hovertext[0]
    vanilla = trace(figure, "vanilla")
    assert vanilla.line.dash == "solid"
    places = [line.x[0] for line in (*lines, vanilla)]
    assert len(set(places)) == 4
    best = window_chart(anchored, ACCURACY, original=0.97, best=anchored[7])
    (star,) = [trace for trace in best.data if trace.marker.symbol == "star"]
    assert star.name == f"lowest loss: permute, last, {anchored[7].layers}"
    assert star.x[0] == lines[2].x[list(lines[2].y).index(star.y[0])]


def test_one_anchor_alone_needs_no_name_but_for_the_hover(points):
    figure = window_chart([replace(point, anchor="last") for point in points[:3]], ACCURACY, 0.97)
    line = trace(figure, "permute")
    assert (line.line.dash, line.marker.symbol) == ("solid", "circle")
    assert "permute, anchor last" in line.hovertext[0]


def test_many_lines_stay_within_their_window(points):
    many = [
        replace(point, method=method, anchor=anchor)
        for method in ("permute", "copy", "a", "b")
        for anchor in ("first", "middle", "last")
        for point in points[:3]
    ]
    figure = window_chart(many, ACCURACY, original=0.97)
    places = [line.x[0] for line in figure.data[:12]]
    assert max(places) - min(places) < 0.9


def test_the_best_has_a_star_and_the_original_a_line(points):
    figure = window_chart(points, ACCURACY, original=0.97, best=points[1])
    (star,) = [trace for trace in figure.data if trace.marker.symbol == "star"]
    assert star.y[0] == 0.9
    assert star.x[0] == trace(figure, "permute").x[0]
    assert star.name == "lowest loss: permute, encoder 0–2"
    reference = trace(figure, "original: 97.0%")
    assert set(reference.y) == {0.97}
    assert list(reference.x) == list(figure.layout.xaxis.range)
    assert (reference.line.color, reference.line.dash) == (VERMILLION, "dash")


def test_axes_say_which_way_is_better_and_scores_far_apart_get_a_logarithm():
    near = window_chart([point(0, 0.2), point(1, 0.3)], LOSS, original=0.1)
    far = window_chart([point(0, 0.2), point(1, 5.0)], LOSS, original=0.1)
    shares = window_chart([point(0, 0.05), point(1, 0.95)], ACCURACY, original=0.97)
    assert [figure.layout.yaxis.type for figure in (near, far, shares)] == [None, "log", None]
    assert "lower is better (logarithmic)" in far.layout.yaxis.title.text
    assert "higher is better" in shares.layout.yaxis.title.text


def test_a_logarithm_s_ticks_are_written_in_full():
    far = window_chart([point(0, 0.2), point(1, 5.0)], LOSS, original=0.1)
    axis = far.layout.yaxis
    ticks = dict(zip(axis.ticktext, axis.tickvals, strict=True))
    assert {"0.02", "0.1", "0.2", "0.5", "1", "5"} <= set(ticks)
    assert all(float(text) == pytest.approx(value) for text, value in ticks.items())


def test_a_score_that_is_not_a_number_hides_no_other():
    figure = window_chart([point(0, float("nan")), point(1, 2.0)], LOSS, original=0.1)
    assert list(trace(figure, "permute").y)[1] == 2.0
    assert "unknown" in trace(figure, "permute").hovertext[0]


def test_damage_is_drawn_against_similarity():
    windows = [
        Damage("encoder 0–2", 0.5, 0.8, 0.3, 0.2, 0.45),
        Damage("encoder 1–3", 0.7, 0.4, -0.1, -0.2, 0),
    ]
    figure = damage_scatter(windows, "mean CKA", 0.5, "−0.90 (−1.00 to −0.50)")
    assert figure.layout.title.text == "Rank correlation −0.90 (−1.00 to −0.50)"
    dots = trace(figure, "windows")
    assert (list(dots.x), list(dots.y)) == ([0.5, 0.7], [0.8, 0.4])
    assert list(dots.error_y.array) == pytest.approx([0.15, 0.1])
    assert list(dots.error_y.arrayminus) == pytest.approx([0.1, 0.1])
    assert "encoder 1–3" in dots.hovertext[1]
    assert "loss 0.400, −0.100 (−0.200 to 0.000)" in dots.hovertext[1]
    assert set(trace(figure, "original: 0.500").y) == {0.5}
    assert damage_scatter(windows, "mean CKA", 0.5, None).layout.title.text is None


@pytest.fixture
def tree():
    kind = np.array([0.0, 1.0, 0.05, 3.0, 1.1])
    values = 1 - np.abs(kind[:, None] - kind) / 4
    names = [f"encoder.{index}" for index in range(5)]
    return cluster(pd.DataFrame(values, index=names, columns=names), 2)


def test_a_tree_has_a_line_a_join_and_groups_have_their_colours(tree):
    assert tree.groups == (("encoder.0", "encoder.2"), ("encoder.1", "encoder.4"))
    figure = dendrogram(tree.names, tree.linkage, tree.groups, tree.cut)
    assert len(figure.data) == 4
    by_height = sorted(figure.data, key=lambda line: max(line.y))
    assert [line.line.color for line in by_height] == [
        colour_of(0), colour_of(1), NEUTRAL, NEUTRAL,
    ]  # fmt: skip
    assert sorted(figure.layout.xaxis.ticktext) == sorted(tree.names)
    leaves = dict(zip(figure.layout.xaxis.ticktext, figure.layout.xaxis.tickvals, strict=True))
    first = by_height[0]
    assert {first.x[0], first.x[-1]} == {leaves["encoder.0"], leaves["encoder.2"]}
    (cut,) = figure.layout.shapes
    assert max(by_height[1].y) < cut.y0 < max(by_height[2].y)

import math

import pytest

from ffmerge_core.palette import VERMILLION
from ffmerge_core.plan import CurvePoint
from ffmerge_core.reporting.figures import recovery_chart
from ffmerge_core.tasks.metrics import metric

ACCURACY, PERPLEXITY = metric("accuracy"), metric("perplexity")
POINTS = (
    CurvePoint(0, None, 0.9, 0.80),
    CurvePoint(5, 0.7, 0.4, 0.95),
    CurvePoint(10, 0.3, 0.5, 0.94),
)


def trace(figure, name):
    return next(trace for trace in figure.data if trace.name == name)


def test_losses_stand_above_the_metric_over_the_same_steps():
    figure = recovery_chart(POINTS, ACCURACY, steps=20)
    training, loss, value = (
        trace(figure, name) for name in ("training loss", "validation loss", "validation accuracy")
    )
    assert (list(training.x), list(training.y)) == ([5, 10], [0.7, 0.3])
    assert (list(loss.x), list(loss.y)) == ([0, 5, 10], [0.9, 0.4, 0.5])
    assert list(value.y) == [0.80, 0.95, 0.94]
    assert training.yaxis == loss.yaxis != value.yaxis
    assert figure.layout.xaxis.range[1] > 20, "the axis ends where the steps do"
    assert "95.0%" in value.hovertext[1]
    assert "step 5" in value.hovertext[1]


def test_the_best_step_is_marked_in_both_panels_and_only_when_it_is_known():
    kept = [t for t in recovery_chart(POINTS, ACCURACY, 20, best_step=5).data if t.name == "kept"]
    assert [(*mark.x, *mark.y) for mark in kept] == [(5, 0.4), (5, 0.95)]
    assert [mark.showlegend for mark in kept] == [True, False]
    assert all(mark.marker.color == VERMILLION for mark in kept)
    assert "kept" not in [trace.name for trace in recovery_chart(POINTS, ACCURACY, 20).data]


def test_the_original_is_a_line_across_the_metric():
    figure = recovery_chart(POINTS, ACCURACY, 20, original=0.97)
    (line,) = figure.layout.shapes
    assert (line.y0, line.y1, line.yref) == (0.97, 0.97, "y2")
    assert figure.layout.annotations[0].text == "original: 97.0%"


@pytest.mark.parametrize("worst", [math.inf, math.nan])
def test_what_is_not_finite_is_left_out(worst):
    points = (*POINTS[:1], CurvePoint(5, worst, worst, worst))
    figure = recovery_chart(points, PERPLEXITY, 20, best_step=5)
    assert list(trace(figure, "validation loss").x) == [0]
    assert list(trace(figure, "training loss").x) == []
    assert "kept" not in [trace.name for trace in figure.data]


def test_before_the_first_score_there_are_axes():
    figure = recovery_chart((), ACCURACY, 20)
    assert [len(trace.x) for trace in figure.data] == [0, 0, 0]
    assert figure.layout.yaxis2.title.text == "accuracy, higher is better"
    assert recovery_chart((), PERPLEXITY, 20).layout.yaxis2.title.text.endswith("lower is better")


def test_each_step_is_faint_behind_the_means_of_the_checks():
    steps = [(step, 0.9 - 0.05 * step) for step in range(1, 11)]
    figure = recovery_chart(POINTS, ACCURACY, 20, each_step=[*steps, (11, math.nan)])
    faint, mean = (trace(figure, name) for name in ("training loss, each step", "training loss"))
    assert list(zip(faint.x, faint.y, strict=True)) == steps
    assert figure.data.index(faint) < figure.data.index(mean), "behind it"
    assert (faint.line.color, faint.yaxis) == (mean.line.color, mean.yaxis)
    assert faint.line.width < mean.line.width
    assert faint.opacity < 1


def test_axes_hold_all_that_is_drawn_and_seldom_move():
    grown = [
        recovery_chart(
            (CurvePoint(0, None, 3.9, 49.0),),
            PERPLEXITY,
            100,
            original=30.0,
            each_step=[(step, 3.9 - 0.004 * step) for step in range(1, known)],
        )
        for known in range(2, 100)
    ]
    ranges = [tuple(figure.layout.yaxis.range) for figure in grown]
    assert len(set(ranges)) < 12
    for figure, (low, high) in zip(grown, ranges, strict=True):
        assert all(low < loss < high for loss in trace(figure, "training loss, each step").y)
    low, high = grown[0].layout.yaxis2.range
    assert low < 30.0 < 49.0 < high, "the original's line among them"
    assert len({tuple(figure.layout.xaxis.range) for figure in grown}) == 1


@pytest.mark.parametrize("loss", [0.0, 0.3, 250.0])
def test_one_point_alone_has_room_around_it(loss):
    figure = recovery_chart((CurvePoint(0, None, loss, loss),), PERPLEXITY, 20)
    for axis in (figure.layout.yaxis, figure.layout.yaxis2):
        assert axis.range[0] <= loss < axis.range[1]

import itertools
import random

import numpy as np
import pytest

from ffmerge_core.palette import SPARE
from ffmerge_core.plan import METHODS
from ffmerge_core.reporting.figures import RunPoint, compare_chart, pareto_front
from ffmerge_core.reporting.figures.compare import ORIGINAL, mark_of
from ffmerge_core.tasks.metrics import metric

ACCURACY, LOSS = metric("accuracy"), metric("loss")


def point(id, n, value, method="permute", original=False, name=None, **after):
    return RunPoint(
        id, name or f"run {id}", n, value, value - 0.02, value + 0.01, "encoder.3 + encoder.4",
        original, method, **after,
    )  # fmt: skip


def ids(points):
    return [point.id for point in points]


def test_the_front_holds_what_no_other_beats():
    points = [point("a", 10, 0.9), point("b", 8, 0.8), point("c", 9, 0.7), point("d", 6, 0.5)]
    assert ids(pareto_front(points, ACCURACY)) == ["d", "b", "a"]


def test_ties_in_one_thing_are_decided_by_the_other():
    same_size = [point("worse", 5, 0.7), point("better", 5, 0.8)]
    same_value = [point("big", 6, 0.7), point("small", 5, 0.7)]
    assert ids(pareto_front(same_size, ACCURACY)) == ["better"]
    assert ids(pareto_front(same_value, ACCURACY)) == ["small"]


def test_equal_points_stay_together():
    points = [point("a", 5, 0.7), point("b", 5, 0.7), point("c", 6, 0.6)]
    assert ids(pareto_front(points, ACCURACY)) == ["a", "b"]


def test_for_a_loss_lower_is_better():
    points = [point("a", 5, 0.7), point("b", 6, 0.9)]
    assert ids(pareto_front(points, LOSS)) == ["a"]


def test_what_is_not_a_number_neither_is_on_the_front_nor_hides_others():
    points = [point("nan", 1, float("nan")), point("a", 5, 0.7)]
    assert ids(pareto_front(points, ACCURACY)) == ["a"]
    assert pareto_front([], ACCURACY) == []


def test_along_the_front_more_parameters_always_buy_a_better_value():
    draw = random.Random(0)
    sizes = [draw.randint(0, 20) for _ in range(60)]
    # Larger models tend to score better, so that the front has many steps.
    points = [point(str(at), n, (n + draw.randint(0, 5)) / 30) for at, n in enumerate(sizes)]
    front = pareto_front(points, ACCURACY)
    distinct = list(dict.fromkeys((p.n_parameters, p.value) for p in front))
    assert len(distinct) > 5
    for (n, value), (next_n, next_value) in itertools.pairwise(distinct):
        assert n < next_n
        assert value < next_value
    for p in points:
        assert any(f.n_parameters <= p.n_parameters and f.value >= p.value for f in front)


def trace(figure, name):
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


@pytest.fixture
def figure():
    points = [
        point("o", 600_000, 0.97, original=True, name="original model"),
        point("p", 500_000, 0.95),
        point("q", 500_000, 0.95),
        point("v", 500_000, 0.9, method="vanilla"),
        point("new", 400_000, 0.5, method="something new"),
    ]
    return compare_chart(points, ACCURACY)


def test_points_carry_their_ids_intervals_and_words(figure):
    permute = trace(figure, "permute")
    assert [list(data) for data in permute.customdata] == [["p"], ["q"]]
    assert permute.error_y.array == pytest.approx([0.01, 0.01])
    assert permute.error_y.arrayminus == pytest.approx([0.02, 0.02])
    (vanilla,) = trace(figure, "vanilla").hovertext
    assert vanilla == (
        "<b>run v</b><br>encoder.3 + encoder.4<br>500,000 parameters<br>"
        "accuracy 90.0% (88.0% to 91.0%)"
    )


def test_points_on_one_place_are_all_told(figure):
    for text in trace(figure, "permute").hovertext:
        assert "run p" in text
        assert "run q" in text


def test_methods_differ_in_colour_and_symbol(figure):
    markers = [trace.marker for trace in figure.data if trace.mode == "markers"]
    assert len(markers) == 4
    assert len({marker.color for marker in markers}) == 4
    assert len({marker.symbol for marker in markers}) == 4


def linear(colour):
    levels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE 1976 L*a*b* of linear sRGB, white D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(to_xyz) @ np.clip(rgb, 1e-3, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira & Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency" (2009), severity 1.
VISION = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def every_mark():
    """Of every method, and with the colours that the next ones will take."""
    spare = [(colour, f"none yet {colour}") for colour in SPARE]
    return [mark_of(name) for name in (ORIGINAL, *METHODS)] + spare


@pytest.mark.parametrize("vision", VISION)
def test_every_method_has_a_symbol_and_a_colour_that_all_eyes_tell_apart(vision):
    looks = every_mark()
    assert len({symbol for _, symbol in looks}) == len(looks)
    seen = [lab(np.array(VISION[vision]) @ linear(colour)) for colour, _ in looks]
    # About 2 is the least that can be seen side by side.
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(one - other) > 12


@pytest.mark.parametrize("page", ["#ffffff", "#12161c"])
def test_every_colour_is_seen_on_a_light_and_a_dark_page(page):
    weights = [0.2126, 0.7152, 0.0722]
    ground = float(linear(page) @ weights)
    for colour, _ in every_mark():
        low, high = sorted((ground, float(linear(colour) @ weights)))
        assert (high + 0.05) / (low + 0.05) > 2.2


def test_recovered_runs_are_filled_rounded_ones_dotted_and_the_legend_says_so():
    points = [
        point("o", 9, 0.9, original=True),
        point("tuned original", 9, 0.95, "original", recovered="200 steps"),
        point("a", 5, 0.7), point("b", 5, 0.8, recovered="200 steps"),
        point("c", 5, 0.75, recovered="200 steps", quantized="int8"),
    ]  # fmt: skip
    figure = compare_chart(points, ACCURACY)
    symbols = {id: trace.marker.symbol for trace in figure.data for (id,) in trace.customdata or ()}
    assert symbols == {
        "o": "star-open", "tuned original": "star",
        "a": "circle-open", "b": "circle", "c": "circle-dot",
    }  # fmt: skip
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert legend == [
        "Pareto front", "original", "permute",
        "filled: recovered", "open: not recovered", "dot: int8",
    ]  # fmt: skip
    (text,) = (each.hovertext for each in figure.data if each.marker.symbol == "circle-dot")
    assert "<br>recovered: 200 steps<br>weights in int8<br>5 parameters" in text[0]


def test_the_legend_explains_nothing_that_is_not_there(figure):
    names = [trace.name for trace in figure.data]
    assert names == ["Pareto front", "original", "permute", "vanilla", "something new"]


def test_the_original_is_a_star_with_a_labelled_line(figure):
    assert trace(figure, "original").marker.symbol == "star-open"
    (line,) = figure.layout.shapes
    assert (line.y0, line.y1) == (0.97, 0.97)
    assert figure.layout.annotations[0].text == "original: 97.0%"


def test_the_front_is_a_step_line_through_its_points(figure):
    front = trace(figure, "Pareto front")
    assert list(zip(front.x, front.y, strict=True)) == [
        (400_000, 0.5), (500_000, 0.95), (500_000, 0.95), (600_000, 0.97),
    ]  # fmt: skip
    assert front.line.shape == "hv"


def test_a_loss_chart_says_loss():
    figure = compare_chart([point("a", 5, 0.7)], LOSS)
    assert figure.layout.yaxis.title.text == "loss, lower is better"
    assert figure.layout.yaxis.tickformat is None
    assert "loss 0.700 (0.680 to 0.710)" in figure.data[0].hovertext[0]


def test_only_shares_are_in_percent():
    points = [point("o", 9, 27.0, original=True), point("a", 5, 27.31)]
    figure = compare_chart(points, metric("perplexity"))
    assert figure.layout.yaxis.tickformat is None
    assert figure.layout.annotations[0].text == "original: 27.00"
    assert "perplexity 27.31 (27.29 to 27.32)" in trace(figure, "permute").hovertext[0]
    assert compare_chart(points, ACCURACY).layout.yaxis.tickformat == ".1%"


def test_the_original_alone_is_a_chart_without_a_front():
    figure = compare_chart([point("o", 1_000, 0.9, original=True)], ACCURACY)
    assert [trace.name for trace in figure.data] == ["original"]
    low, high = figure.layout.xaxis.range
    assert low < 1_000 < high


def test_no_points_are_an_empty_chart():
    assert len(compare_chart([], ACCURACY).data) == 0


def test_names_are_words_and_not_markup():
    figure = compare_chart([point("a", 5, 0.7, name="<b>x</b> " + "word " * 20)], ACCURACY)
    text = figure.data[0].hovertext[0]
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert max(len(line) for line in text.split("<br>")) < 90


def places(points):
    return {
        id: x
        for trace in compare_chart(points, ACCURACY).data
        for (id,), x in zip(trace.customdata or (), trace.x, strict=False)
    }


def test_runs_of_equal_size_stand_apart_and_equal_runs_together():
    found = places([
        point("original", 100, 0.9, original=True),
        point("a", 50, 0.8), point("b", 50, 0.7), point("c", 50, 0.7), point("d", 60, 0.7),
    ])  # fmt: skip
    assert found["b"] == found["c"] < 50 < found["a"]
    assert found["a"] - found["b"] < 1
    assert (found["d"], found["original"]) == (60, 100)


def test_of_runs_of_about_one_size_the_smaller_stands_to_the_left():
    found = places([
        point("original", 1000, 0.9, original=True), point("small", 500, 0.8),
        point("large", 501, 0.7),
    ])  # fmt: skip
    assert found["small"] < found["large"]


def test_equal_runs_of_two_looks_stand_apart():
    found = places([
        point("original", 100, 0.9, original=True),
        point("tuned", 100, 0.9, "original", recovered="200 steps"), point("a", 50, 0.8),
    ])  # fmt: skip
    assert found["original"] != found["tuned"]


def test_a_crowd_takes_no_more_than_a_share_of_the_axis():
    crowd = [point(str(at), 50, at / 100) for at in range(40)]
    found = places([point("original", 100, 0.9, original=True), *crowd])
    spread = sorted(found[str(at)] for at in range(40))
    assert spread[-1] - spread[0] < 0.09 * 50
    assert len(set(spread)) == 40


def test_runs_of_about_one_size_stand_apart_too():
    counts = {"original": 1000, "a": 500, "b": 501, "c": 505, "d": 500, "far": 520}
    found = places([point(id, n, 0.5 + n / 1e4 * (-1) ** n) for id, n in counts.items()])
    near = sorted(found[id] for id in "abcd" if id != "d")
    assert min(right - left for left, right in itertools.pairwise(near)) > 5
    assert found["a"] == found["d"]
    assert all(abs(x - counts[id]) < 10 for id, x in found.items())
    assert (found["far"], found["original"]) == (520, 1000)

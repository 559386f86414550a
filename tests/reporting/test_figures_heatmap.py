import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from ffmerge_core.errors import DataError
from ffmerge_core.reporting.figures import similarity_heatmap
from ffmerge_core.reporting.figures.heatmap import blocks, rectangles


def matrix(n, stack="encoder", seed=0):
    names = [f"{stack}.{at}" for at in range(n)]
    values = np.random.default_rng(seed).uniform(0, 1, (n, n))
    return pd.DataFrame(values, index=names, columns=names)


def boxes(figure):
    return {(shape.x0, shape.y0, shape.x1, shape.y1) for shape in figure.layout.shapes}


def test_one_clear_point_a_cell_knows_its_row_and_column():
    table = matrix(3)
    points = similarity_heatmap(table, [], [], "title").data[-1]
    assert isinstance(points, go.Scatter)
    assert len(points.x) == 9
    for x, y, (row, column), said in zip(
        points.x, points.y, points.customdata, points.hovertext, strict=True
    ):
        assert (row, column) == (table.index[y], table.columns[x])
        assert said == f"{row} · {column}: {table.loc[row, column]:.3f}"


def test_selecting_fades_nothing():
    points = similarity_heatmap(matrix(3)).data[-1]
    clear = {points.selected.marker.color, points.unselected.marker.color, points.marker.color}
    assert clear == {"rgba(0, 0, 0, 0)"}


def test_values_outside_the_scale_are_clipped_in_colour_only():
    table = matrix(2)
    table.iloc[0, 1], table.iloc[1, 0] = -0.25, 1.25
    figure = similarity_heatmap(table)
    colours = figure.data[0]
    assert (colours.zmin, colours.zmax) == (0, 1)
    assert (colours.z[0][1], colours.z[1][0]) == (0, 1)
    assert figure.data[-1].hovertext[1].endswith(": -0.250")
    assert figure.data[-1].hovertext[2].endswith(": 1.250")
    assert table.iloc[0, 1] == -0.25


def test_each_cell_is_labelled_once_white_on_dark_and_black_on_bright():
    table = matrix(4)
    table.iloc[0] = [1.0, 0.974, -0.004, 0.1]
    dark, bright = similarity_heatmap(table).data[:2]
    assert (dark.textfont.color, bright.textfont.color) == ("#FFFFFF", "#000000")
    assert list(dark.text[0]) == ["", "", ".00", ".10"]
    assert list(bright.text[0]) == ["1", ".97", "", ""]
    labelled = (np.array(dark.text) != "").astype(int) + (np.array(bright.text) != "")
    assert (labelled == 1).all()


def test_cells_are_labelled_up_to_sixteen_layers():
    def labels(n):
        return [trace.text for trace in similarity_heatmap(matrix(n)).data[:-1]]

    assert all(text is not None for text in labels(16))
    assert labels(17) == [None]


def test_an_undefined_value_has_no_colour_and_says_so():
    table = matrix(2)
    table.iloc[0, 1] = np.nan
    figure = similarity_heatmap(table)
    assert np.isnan(figure.data[0].z[0][1])
    assert figure.data[0].text[0][1] == ""
    assert figure.data[-1].hovertext[1].endswith("not defined")


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([], []),
        ([3], [(3, 3)]),
        ([5, 3, 4], [(3, 5)]),
        ([0, 1, 4, 6, 7], [(0, 1), (4, 4), (6, 7)]),
    ],
)
def test_blocks_are_maximal_runs(positions, expected):
    assert blocks(positions) == expected


def test_rectangles_cover_each_pair_of_members_exactly_once():
    members = [0, 1, 4, 6, 7]
    covered = [
        (row, column)
        for x0, y0, x1, y1 in rectangles(members)
        for row in range(8)
        for column in range(8)
        if x0 < column < x1 and y0 < row < y1
    ]
    assert sorted(covered) == sorted((row, column) for row in members for column in members)


def test_groups_are_outlined_and_numbered_each_in_its_colour():
    groups = [["encoder.0", "encoder.1"], ["encoder.3", "encoder.5"]]
    figure = similarity_heatmap(matrix(6), groups)
    assert boxes(figure) == {
        (-0.5, -0.5, 1.5, 1.5),
        (2.5, 2.5, 3.5, 3.5),
        (4.5, 2.5, 5.5, 3.5),
        (2.5, 4.5, 3.5, 5.5),
        (4.5, 4.5, 5.5, 5.5),
    }
    notes = [(note.text, note.x, note.y) for note in figure.layout.annotations]
    assert notes == [("<b>1</b>", -0.5, -0.5), ("<b>2</b>", 2.5, 2.5), ("<b>2</b>", 4.5, 4.5)]
    first, second = figure.layout.annotations[0].bgcolor, figure.layout.annotations[1].bgcolor
    assert first != second
    assert figure.layout.annotations[2].bgcolor == second
    assert {s.line.color for s in figure.layout.shapes if s.x1 == 1.5} == {"#FFFFFF", first}


def test_the_draft_is_dashed_and_groups_are_not():
    figure = similarity_heatmap(matrix(4), [["encoder.0", "encoder.1"]], ["encoder.2", "encoder.3"])
    dashed = {shape.x0 for shape in figure.layout.shapes if shape.line.dash == "dash"}
    assert dashed == {1.5}


def test_groups_of_another_stack_are_passed_over_but_keep_their_number():
    groups = [["decoder.0", "decoder.1"], ["encoder.0", "encoder.1"]]
    figure = similarity_heatmap(matrix(3), groups)
    assert [note.text for note in figure.layout.annotations] == ["<b>2</b>"]


def test_axes_name_the_stack_and_layer_zero_is_at_the_top_left():
    layout = similarity_heatmap(matrix(3, "decoder"), [["decoder.0", "decoder.2"]]).layout
    assert layout.xaxis.title.text == layout.yaxis.title.text == "decoder FF sublayer"
    assert layout.yaxis.range[0] > layout.yaxis.range[1]
    assert layout.yaxis.scaleanchor == "x"
    assert [text.split("<")[0] for text in layout.xaxis.ticktext] == ["0", "1", "2"]
    assert ["■" in text for text in layout.yaxis.ticktext] == [True, False, True]


def test_many_layers_keep_readable_ticks():
    layout = similarity_heatmap(matrix(80)).layout
    assert len(layout.xaxis.ticktext) <= 36
    assert layout.xaxis.ticktext[1] == "3<br>"


def test_a_table_of_different_rows_and_columns_is_refused():
    with pytest.raises(DataError, match="2 rows and 3 columns"):
        similarity_heatmap(matrix(3).iloc[:2])
    with pytest.raises(DataError, match="at least one"):
        similarity_heatmap(matrix(0))


def test_many_small_cells_have_no_lines_between_them():
    assert [similarity_heatmap(matrix(n)).data[0].xgap for n in (36, 80)] == [1, 0]

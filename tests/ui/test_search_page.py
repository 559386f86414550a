"""The Search page: windows tried, the best one taken to the Merge page, groups by clustering."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import ffmerge_core as fm
from ffmerge_core.analysis.clustering import cluster
from ffmerge_core.compression import search
from pages._ui.search.found import searches
from pages._ui.state.shared import job_registry, workspace_store
from pages._ui.state.workspace import Workspace
from tests.conftest import transformers_vit
from tests.ui.pages_support import add_group, go, id_of, open_app, press, sentences

# Few candidates: what the page does with them does not depend on how many there are.
TOKENS = 1_000
OTHER = "The results below are of another search: removing 10 of the encoder's FF sublayers"


@pytest.fixture
def searched() -> AppTest:
    return press(chosen(open_app("search")), "Search windows")


def chosen(tab: AppTest, *methods: str) -> AppTest:
    """Two windows by each of the methods, on few tokens."""
    workspace(tab).choose(tokens=TOKENS)
    tab.number_input[0].set_value(10)
    tab.button_group(key="search_methods").set_value(list(methods or ("permute", "copy")))
    return tab.run()


def workspace(tab: AppTest) -> Workspace:
    return workspace_store().find(id_of(tab))


def labels(tab: AppTest) -> list[str]:
    return [button.label for button in tab.button]


def use(tab: AppTest, label: str) -> None:
    """Press what leads to the Merge page, which shows the groups that were taken."""
    next(button for button in tab.button if button.label == label).click().run()
    assert tab.title[0].value == "Merge"
    assert not tab.exception
    go(tab, "merge")


def button(tab: AppTest, label: str) -> bool:
    """Whether a button can be pressed."""
    return not next(button for button in tab.button if button.label == label).disabled


def table(tab: AppTest) -> pd.DataFrame:
    return tab.dataframe[0].value


def test_by_default_a_third_is_removed_and_what_is_tried_is_said() -> None:
    tab = open_app("search")
    assert tab.number_input[0].value == 4
    assert (
        f"There are 8 windows of 5 adjacent layers. Merging one leaves {602_058 - 4 * 33_088:,} "
        "parameters (−22.0%)" in sentences(tab)
    )
    assert "press Search windows, or open the Similarity page" in sentences(tab)
    tab.number_input[0].set_value(11).run()
    assert "1 window of 12 adjacent layers" in sentences(tab)
    tab.button_group(key="search_methods").set_value(["layer drop"]).run()
    assert "Choose at least one method that merges" in sentences(tab)
    assert "Search windows" not in labels(tab)


def test_the_table_is_the_search_s_and_the_best_goes_to_the_merge_page(
    searched: AppTest,
) -> None:
    model = fm.load("demo:vit-digits")
    feats = fm.calibrate(model, TOKENS, seed=0)
    expected = fm.search_windows(model, feats, 10, methods=("permute", "copy"))
    shown = table(searched)
    assert list(shown["Layers"]) == list(expected["layers"])
    assert list(shown["Method"]) == list(expected["method"])
    assert list(shown["Loss"]) == pytest.approx(list(expected["loss"]))
    assert list(shown["Accuracy"]) == pytest.approx(list(100 * expected["accuracy"]))
    best = expected.iloc[0]
    assert searched.subheader[0].value == f"Best window: {best['layers']}, {best['method']}"
    use(searched, "Use this window")
    assert workspace(searched).groups == best["plan"].groups
    assert searched.radio(key="method").value == best["method"]
    go(searched, "similarity")
    press(searched, "Undo")
    assert workspace(searched).groups == ()


def test_anchors_are_tried_together_and_told_apart() -> None:
    tab = chosen(open_app("search"), "copy", "vanilla")
    assert tab.button_group(key="search_anchors").value == ["first"]
    tab.button_group(key="search_anchors").set_value([]).run()
    assert "Choose one anchor or more" in sentences(tab)
    assert not any(button.label == "Search windows" for button in tab.button)
    tab.button_group(key="search_anchors").set_value(["last", "first"]).run()
    press(tab, "Search windows")
    rows = table(tab)
    model = fm.load("demo:vit-digits")
    feats = fm.calibrate(model, TOKENS, seed=0)
    expected = fm.search_windows(
        model, feats, 10, methods=("vanilla", "copy"), anchors=("first", "last")
    )
    assert list(rows["Anchor"]) == list(expected["anchor"])
    assert list(rows["Loss"]) == pytest.approx(list(expected["loss"]))
    spec = json.loads(tab.get("plotly_chart")[0].proto.spec)
    assert [trace["name"] for trace in spec["data"][:3]] == ["vanilla", "copy, first", "copy, last"]
    merged = expected.iloc[0]
    said = f"{merged['layers']}, {merged['method']}"
    assert tab.subheader[0].value.startswith(f"Best window: {said}")
    tab.button_group(key="search_method_vanilla-copy").set_value("copy").run()
    tab.button_group(key="search_anchor_first-last").set_value("last").run()
    chart = json.loads(tab.get("plotly_chart")[1].proto.spec)
    mine = expected[(expected["method"] == "copy") & (expected["anchor"] == "last")]
    shown = next(trace for trace in chart["data"] if trace["name"] == "windows")
    assert sorted(shown["y"]) == pytest.approx(sorted(mine["loss"]))
    assert "anchors first, last" not in sentences(tab)
    tab.number_input[0].set_value(9).run()
    assert f"{OTHER}, anchors first, last" in sentences(tab)
    last = int(rows.index[(rows["Method"] == "copy") & (rows["Anchor"] == "last")][0])
    select(tab, last)
    use(tab, "Use the selected window")
    settings = workspace(tab).settings
    assert (settings.method, settings.anchor) == ("copy", "last")


def test_another_row_s_merge_replaces_the_groups_and_can_be_undone(searched: AppTest) -> None:
    tab = go(searched, "similarity")
    add_group(tab, "encoder.0", "encoder.1")
    go(tab, "search")
    assert not button(tab, "Use the selected window")
    select(tab, 2)
    assert button(tab, "Use the selected window")
    row = table(tab).iloc[2]
    select(tab, 2)
    use(tab, "Use the selected window")
    settings = workspace(tab).settings
    assert settings.method == row["Method"]
    assert workspace(tab).groups[0] != ("encoder.0", "encoder.1")
    workspace(tab).undo()
    assert workspace(tab).groups == (("encoder.0", "encoder.1"),)


def select(tab: AppTest, row: int) -> None:
    """As the front end does; it holds for the next run only."""
    (found,) = searches().values()
    tab.session_state[f"search-table-{hash(found.search)}"] = {
        "selection": {"rows": [row], "columns": [], "cells": []}
    }
    tab.run()
    tab.session_state[f"search-table-{hash(found.search)}"] = {
        "selection": {"rows": [row], "columns": [], "cells": []}
    }


def test_layers_that_are_dropped_are_shown_and_are_no_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tab = press(chosen(open_app("search"), "copy", "layer drop"), "Search windows")
    rows = table(tab)
    assert {"copy", "layer drop"} == set(rows["Method"])
    assert rows["CKA"].isna().equals(rows["Method"] == "layer drop")
    dropped = int(rows.index[rows["Method"] == "layer drop"][0])
    select(tab, dropped)
    tab.run()
    assert not button(tab, "Use the selected window")
    assert tab.subheader[0].value.endswith(", copy")
    assert ("Layer drop does better here" in sentences(tab)) == (dropped == 0)


def test_results_outlive_a_page_switch_and_a_refresh(searched: AppTest) -> None:
    shown = table(searched)
    go(searched, "similarity")
    go(searched, "search")
    assert table(searched).equals(shown)
    assert not button(searched, "Search windows")
    again = open_app("search", id_of(searched))
    assert table(again).equals(shown)
    assert f"{OTHER}, anchor first" in sentences(again)
    assert button(again, "Search windows")


def test_what_is_chosen_now_and_what_is_shown_are_told_apart(searched: AppTest) -> None:
    searched.number_input[0].set_value(9).run()
    assert OTHER in sentences(searched)
    assert button(searched, "Search windows")
    searched.number_input[0].set_value(10).run()
    assert OTHER.partition(":")[0] not in sentences(searched)


def test_score_and_similarity_can_be_chosen(searched: AppTest) -> None:
    def chart() -> str:
        return str(searched.get("plotly_chart")[0].proto.spec)

    assert "loss, lower is better" in chart()
    searched.button_group(key="search_score_accuracy").set_value("accuracy").run()
    assert "accuracy, higher is better" in chart()
    searched.button_group(key="search_similarity").set_value("mean aligned correlation").run()
    assert "mean aligned correlation of the window" in searched.get("plotly_chart")[1].proto.spec
    assert "2 windows are too few to tell whether mean aligned correlation" in sentences(searched)


def test_groups_by_clustering_need_no_search_and_go_to_the_merge_page() -> None:
    tab = open_app("similarity")
    go(tab, "search")
    assert len(tab.get("plotly_chart")) == 1
    model = fm.load("demo:vit-digits")
    matrix = fm.similarity_matrix(fm.calibrate(model, 10_000, seed=0))
    groups = cluster(matrix, 4).groups
    assert sum(len(group) - 1 for group in groups) == 4
    use(tab, "Use these groups")
    assert workspace(tab).groups == groups


def test_a_cancelled_search_changes_nothing_and_can_be_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tab = chosen(open_app("search"))
    apply: Callable[..., fm.LoadedModel] = search.apply
    made: list[fm.LoadedModel] = []

    def cancelling(*arguments: object) -> fm.LoadedModel:
        for job in job_registry().active(id_of(tab)):
            job_registry().cancel(job.id)
        made.append(apply(*arguments))
        return made[-1]

    monkeypatch.setattr(search, "apply", cancelling)
    press(tab, "Search windows")
    assert len(made) == 1, "no window after the one in which Cancel was pressed"
    assert "Cancelled: nothing was changed." in sentences(tab)
    assert not searches().values()
    monkeypatch.setattr(search, "apply", apply)
    press(tab, "Search windows")
    assert len(table(tab)) == 4


def test_two_stacks_are_searched_apart_or_together() -> None:
    tab = open_app("model")
    next(button for button in tab.button if button.key == "open-marian-en-fr").click()
    tab.run()
    go(tab, "search")
    stack = tab.button_group(key="search_stack_encoder_decoder")
    assert (stack.value, tab.number_input[0].value) == ("encoder", 2)
    stack.set_value("both").run()
    assert tab.number_input[0].value == 4
    assert "4 windows of 3 adjacent layers in each stack" in sentences(tab)
    tab.number_input[0].set_value(3).run()
    assert "Choose an even number" in sentences(tab)
    assert "Search windows" not in labels(tab)


def test_a_folder_s_model_is_searched_and_a_merged_one_is_not(tmp_path: Path) -> None:
    transformers_vit(depth=4).save_pretrained(tmp_path / "mine")
    tab = open_app("model")
    tab.text_input(key="folder").set_value(str(tmp_path / "mine"))
    press(tab, "Open model")
    go(tab, "search")
    tab.button_group(key="search_methods").set_value(["vanilla"]).run()
    press(tab, "Search windows")
    assert len(table(tab)) == 3
    model = fm.load(tmp_path / "mine", task="digits")
    merged = fm.apply(model, fm.MergePlan((("encoder.0", "encoder.1"),), method="copy"))
    fm.save(merged, tmp_path / "merged")
    tab = go(tab, "model")
    tab.text_input(key="folder").set_value(str(tmp_path / "merged"))
    press(tab, "Open model")
    go(tab, "search")
    assert "compressed before it was saved" in sentences(tab)
    assert "Search windows" not in labels(tab)


def test_the_figure_on_the_page_has_a_line_a_method(searched: AppTest) -> None:
    spec = json.loads(searched.get("plotly_chart")[0].proto.spec)
    names = [trace.get("name") for trace in spec["data"]]
    assert names[:2] == ["permute", "copy"]
    assert names[2].startswith("lowest loss: ")

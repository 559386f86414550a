"""The Similarity page: heatmaps and groups."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
from streamlit.testing.v1 import AppTest

from pages._ui.similarity.picking import boxed, toggled
from tests.conftest import transformers_vit
from tests.ui.pages_support import (
    add_group,
    go,
    id_of,
    metrics,
    open_app,
    pick,
    picking,
    press,
    sentences,
    settle,
)


def test_similarity_is_measured_and_groups_update_the_count() -> None:
    tab = open_app("similarity")
    assert len(tab.get("plotly_chart")) == 1
    assert "10,000 tokens of the training split, seed 0" in sentences(tab)
    before = metrics(tab)["After merging"]
    assert before == "602,058"
    add_group(tab, "encoder.4", "encoder.2", "encoder.3")
    assert "**1** · encoder 2–4 · 3 layers" in sentences(tab)
    assert metrics(tab)["After merging"] == f"{602_058 - 2 * 33_088:,}"
    press(tab, "Undo")
    assert metrics(tab)["After merging"] == before
    press(tab, "Redo")
    press(tab, "Edit")
    assert tab.multiselect(key="draft-encoder").value == ["encoder.2", "encoder.3", "encoder.4"]
    pick(tab, "encoder.2", "encoder.3")
    press(tab, "Save group")
    assert metrics(tab)["After merging"] == f"{602_058 - 33_088:,}"
    press(tab, "Remove")
    assert metrics(tab)["After merging"] == before
    press(tab, "Undo")
    press(tab, "Clear")
    assert metrics(tab)["After merging"] == before


@pytest.mark.parametrize("of", ["pre", "attention", "aligned"])
def test_every_comparison_is_drawn(of: str) -> None:
    tab = picking()
    tab.selectbox(key="feature").set_value(of).run()
    settle(tab)
    spec = json.loads(tab.get("plotly_chart")[0].proto.spec)
    assert len(spec["data"][-1]["customdata"]) == 144
    assert tab.selectbox(key="metric").disabled == (of == "aligned")
    if of != "aligned":
        tab.selectbox(key="metric").set_value("unbiased_cka").run()
        settle(tab)
        assert len(tab.get("plotly_chart")) == 1


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["encoder.1"], "Pick at least one more"),
        (["encoder.4", "encoder.5"], "encoder.4 is already in group 1"),
    ],
)
def test_what_cannot_be_a_group_is_refused_with_the_reason(names: list[str], reason: str) -> None:
    tab = picking()
    add_group(tab, "encoder.3", "encoder.4")
    pick(tab, *names)
    assert any(reason in warning.value for warning in tab.warning)
    assert next(button for button in tab.button if button.label == "Add group").disabled


def test_fewer_tokens_than_asked_for_are_said() -> None:
    tab = open_app("similarity")
    tab.number_input(key="tokens").set_value(20_000).run()
    settle(tab)
    assert "20,000 tokens were asked for. The training split has only 15,266" in sentences(tab)


def test_a_box_takes_every_layer_it_touches() -> None:
    names = [f"encoder.{index}" for index in range(12)]
    box = {"x": [3.6, 6.4], "y": [6.2, 3.9]}
    assert boxed([box], names) == ["encoder.4", "encoder.5", "encoder.6"]
    off_diagonal = {"x": [-0.4, 0.3], "y": [10.7, 15.0]}
    assert boxed([off_diagonal], names) == ["encoder.0", "encoder.11"]
    assert boxed([], names) == []


def test_a_click_adds_its_layers_and_a_second_takes_them_out() -> None:
    assert toggled((), ("a", "b")) == ["a", "b"]
    assert toggled(("a", "b"), ("b", "c")) == ["a", "b", "b", "c"]
    assert toggled(("a", "b", "c"), ("c", "b")) == ["a"]


def test_the_heatmap_of_another_model_is_measured_anew(tmp_path: Path) -> None:
    transformers_vit(depth=4).save_pretrained(tmp_path / "mine")
    tab = picking()
    go(tab, "model").text_input(key="folder").set_value(str(tmp_path / "mine"))
    press(tab, "Open model")
    go(tab, "similarity")
    spec = json.loads(tab.get("plotly_chart")[0].proto.spec)
    assert len(spec["data"][-1]["customdata"]) == 16


def test_an_edit_survives_a_refresh_and_ends_with_an_undo() -> None:
    tab = picking()
    add_group(tab, "encoder.6", "encoder.7")
    press(tab, "Edit")
    again = open_app("similarity", id_of(tab))
    assert not again.warning
    assert "Save group" in [button.label for button in again.button]
    press(again, "Undo")
    assert "Save group" not in [button.label for button in again.button]


def test_each_stack_has_a_heatmap_and_a_draft_and_groups_are_listed_together() -> None:
    tab = open_app("model")
    next(button for button in tab.button if button.key == "open-marian-en-fr").click()
    tab.run()
    go(tab, "similarity")
    add_group(tab, "encoder.1", "encoder.2")
    pick(tab, "encoder.3", "encoder.4")
    assert "Encoder: FF output" in tab.get("plotly_chart")[0].proto.spec
    show_stack(tab, "decoder")
    assert "Decoder: FF output" in tab.get("plotly_chart")[0].proto.spec
    assert "tokens of the training split" in sentences(tab)
    assert tab.multiselect(key="draft-decoder").value == []
    add_group(tab, "decoder.4", "decoder.5")
    for line in ("**1** · encoder 1–2 · 2 layers", "**2** · decoder 4–5 · 2 layers"):
        assert line in sentences(tab)
    assert metrics(tab)["After merging"] == f"{2_096_640 - 2 * 98_912:,}"
    again = open_app("similarity", id_of(tab))
    assert again.button_group(key="stack").value == "decoder"
    show_stack(again, "encoder")
    assert again.multiselect(key="draft-encoder").value == ["encoder.3", "encoder.4"]
    show_stack(again, "decoder")
    next(button for button in again.button if button.key == "edit-0").click()
    settle(again.run())
    assert again.button_group(key="stack").value == "encoder"
    assert again.multiselect(key="draft-encoder").value == ["encoder.1", "encoder.2"]


def show_stack(tab: AppTest, stack: str) -> None:
    tab.button_group(key="stack").set_value(stack).run()
    settle(tab)


def test_more_tokens_than_memory_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = psutil.virtual_memory()._replace(total=4 * 4 * 12 * (256 + 2 * 64) * 5_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    tab = open_app("similarity")
    assert tab.number_input(key="tokens").value == 5_000
    assert "5,000 tokens of the training split" in sentences(tab)

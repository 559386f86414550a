"""int8 weights in the app: part of a run, and what a model that has them cannot do."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import ffmerge_core as fm
from ffmerge_core import extras
from ffmerge_core.errors import SourceError
from ffmerge_core.plan import DropFF, DropLayers, MergePlan, Plan, Recipe
from ffmerge_core.storage.layouts import why_not_portable
from pages._ui.state.shared import run_store
from tests.ui.pages_support import (
    DEMO,
    add_group,
    compare,
    go,
    id_of,
    metrics,
    open_app,
    picking,
    press,
    sentences,
)


def merged_as_int8() -> AppTest:
    tab = picking()
    add_group(tab, "encoder.6", "encoder.7")
    go(tab, "merge").button_group(key="quantize").set_value("int8").run()
    return press(tab, "Merge")


def test_they_are_part_of_the_recipe_and_of_what_a_tab_has_chosen() -> None:
    tab = merged_as_int8()
    (run,) = run_store().list(DEMO)
    assert run.recipe["quantize"] == "int8"
    assert run.name == "Permute encoder 6–7, anchor first, int8"
    table = tab.table[0].value
    assert table.loc["Memory of the weights, part of them int8", "Change"] != "none"
    assert "same work" not in str(table.values)
    steps = next(each.value.index for each in tab.table if each.value.index.name == "Step")
    assert "Quantisation" in steps
    again = open_app("merge", id_of(tab)).button_group(key="quantize")
    assert again.value == "int8", "after a refresh"


def test_what_was_opened_from_the_history_is_merged_with_them_again() -> None:
    merged_as_int8()
    other = compare(0)
    assert not go(open_app(), "merge").button_group, "nothing is picked in another tab"
    next(button for button in other.button if button.label == "Open").click()
    other.run()
    assert go(other, "merge").button_group(key="quantize").value == "int8"


def test_their_run_is_saved_compactly_and_says_why_not_otherwise(home: Path) -> None:
    tab = merged_as_int8()
    assert "Plain transformers and timm cannot open int8 weights" in sentences(tab)
    assert not any("portable" in button.label.lower() for button in tab.button)
    assert list(tab.table[-1].value.index) == ["Original", "Merged, compact"]
    press(tab, "Save compact")
    (folder,) = (home / "exports").glob("*/compact")
    assert fm.load(folder).quantized == "int8"


def without_bitsandbytes(name: str) -> ModuleSpec | None:
    return None if name == "bitsandbytes" else find_spec(name)


def test_what_needs_bitsandbytes_is_offered_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", without_bitsandbytes)
    tab = picking()
    add_group(tab, "encoder.6", "encoder.7")
    assert go(tab, "merge").button_group(key="quantize").options == ["float32", "int8"]
    monkeypatch.undo()
    weights = go(tab, "merge").button_group(key="quantize")
    assert weights.options == ["float32", "int8", "LLM.int8()"]
    weights.set_value("llm.int8").run()
    press(tab, "Merge")
    (run,) = run_store().list(DEMO)
    assert run.recipe["quantize"] == "llm.int8"
    assert run.name == "Permute encoder 6–7, anchor first, llm.int8"
    monkeypatch.setattr(extras, "find_spec", without_bitsandbytes)
    chosen = go(go(tab, "similarity"), "merge").button_group(key="quantize")
    assert chosen.value == "llm.int8", "what is chosen already is not taken away"


PLANS: tuple[Plan, ...] = (
    MergePlan((("encoder.0", "encoder.1"),), method="vanilla"),
    DropLayers(("encoder.0",)),
    DropFF(("encoder.0",)),
)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.method)
@pytest.mark.parametrize("quantize", [None, "int8"])
def test_the_page_refuses_what_the_package_refuses(
    model: fm.LoadedModel, tmp_path: Path, plan: Plan, quantize: str | None
) -> None:
    made = fm.apply(model, plan)
    made = fm.quantize(made) if quantize else made
    recipe = Recipe(model.source, plan, quantize=quantize)  # type: ignore[arg-type]
    try:
        fm.save(made, tmp_path / "out", layout="portable")
    except SourceError as error:
        refused = "in memory" not in str(error)  # that is of a timm model without its arguments
    else:
        refused = False
    assert refused == (why_not_portable(recipe.plan, recipe.quantize) is not None)


@pytest.mark.parametrize("merged", [False, True])
def test_a_folder_that_has_them_is_looked_at_and_not_changed(tmp_path: Path, merged: bool) -> None:
    original = fm.load(DEMO)
    plan = MergePlan((("encoder.6", "encoder.7"),), method="vanilla")
    small = fm.quantize(fm.apply(original, plan) if merged else original)
    fm.save(small, tmp_path / "small")
    tab = open_app()
    tab.text_input(key="folder").set_value(str(tmp_path / "small"))
    tab.radio(key="measured_on").set_value("saved").run()
    press(tab, "Open model")
    said = "Vanilla encoder 6–7, int8 weights" if merged else "done to it: int8 weights"
    assert said in sentences(tab)
    assert metrics(tab)["Parameters"] == f"{small.n_parameters:,}"
    assert "not merged again" in sentences(go(tab, "similarity"))
    assert len(tab.get("plotly_chart")) == 1, "its similarity is measured"
    for page, sentence in (
        ("search", "nothing to search"),
        ("merge", "cannot be merged again here, or saved in another layout"),
        ("recover", "A recovery starts from the original"),
    ):
        assert sentence in sentences(go(tab, page))
        assert tab.get("page_link")[0].proto.label == "Open a model"
        assert not any(button.label in ("Merge", "Recover") for button in tab.button)
        assert not tab.error

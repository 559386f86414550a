"""The original tuned the same way, and int8 weights after a recovery."""

from __future__ import annotations

import pytest

from ffmerge_core.plan import NOTHING_MERGED, Recipe, Recovery
from pages._ui.pieces.results import what_it_saves
from pages._ui.state.shared import run_store
from tests.ui.pages_support import DEMO, go, metrics, press, sentences, with_run
from tests.ui.test_recover_page import ORIGINAL, curve_of, set_up

pytestmark = pytest.mark.timeout(900)


def test_the_original_is_recovered_the_same_way_and_stands_beside_the_plan() -> None:
    tab = press(set_up(with_run()), "Recover")
    assert "The original was not fine-tuned" in sentences(tab)
    press(tab, "Fine-tune the original in the same way")
    control, recovered, _ = run_store().list(DEMO)
    assert control.name == f"{ORIGINAL}, recovered"
    recipe = Recipe.from_dict(control.recipe)
    assert recipe.plan == NOTHING_MERGED
    assert recipe.recovery == Recipe.from_dict(recovered.recipe).recovery
    assert "Nothing was merged, so this shows what fine-tuning gains alone." in sentences(tab)
    table = tab.table[0].value
    assert list(table.columns) == ["Original", "Fine-tuned", "Change"]
    assert table.loc["Parameters", "Change"] == "none"
    tab.selectbox[0].set_value(tab.selectbox[0].options[0]).run()
    assert "was not fine-tuned" not in sentences(tab)
    curve = curve_of(control)
    best = next(point.value for point in curve.points if point.step == curve.best_step)
    assert metrics(tab)["Original, same fine-tuning"] == f"{100 * best:.1f}%"
    assert not any("the same way" in button.label for button in tab.button)


def test_the_original_can_be_chosen_among_the_plans() -> None:
    tab = set_up(with_run(), steps=1)
    tab.selectbox[0].set_value(ORIGINAL).run()
    press(tab, "Recover")
    control = run_store().list(DEMO)[0]
    assert Recipe.from_dict(control.recipe).plan == NOTHING_MERGED
    assert control.result is not None
    assert control.result["merged"]["n_parameters"] == 602_058
    assert tab.selectbox[0].options.count(ORIGINAL) == 1
    assert tab.selectbox[0].value.plan == NOTHING_MERGED
    go(tab, "merge")
    assert list(tab.table[0].value.columns) == ["Original", "Fine-tuned", "Change"]
    assert "Fine-tuned, portable" in tab.table[-1].value.index


def test_int8_comes_after_the_recovery_and_is_taken_over_from_the_run_that_is_open() -> None:
    tab = set_up(with_run(), steps=1)
    (weights,) = (each for each in tab.button_group if each.label == "Weights")
    assert weights.value == ""
    weights.set_value("int8").run()
    assert "At the end they are rounded to int8." in sentences(tab)
    press(tab, "Recover")
    recovered = run_store().list(DEMO)[0]
    recipe = Recipe.from_dict(recovered.recipe)
    assert (recipe.quantize, recipe.recovery) == ("int8", Recovery(1, batch_size=8))
    assert recovered.name.endswith(", recovered, int8")
    assert "The curve is from before the rounding" in sentences(tab)
    assert recovered.result is not None
    assert recovered.result["quantized"] > 0
    assert "Memory of the weights, part of them int8" in tab.table[0].value.index
    (weights,) = (each for each in tab.button_group if each.label == "Weights")
    assert weights.value == "int8", "the run that is open has them"
    assert len(tab.selectbox[0].options) == 2, "an int8 run is no plan of its own"


def test_the_control_as_int8_does_not_claim_that_nothing_is_saved() -> None:
    control = Recipe(DEMO, NOTHING_MERGED, recovery=Recovery(1)).to_dict()
    assert what_it_saves(control).startswith("Nothing was merged, so nothing is saved")
    rounded = what_it_saves(control | {"quantize": "int8"})
    assert rounded == "Nothing was merged. All that is saved is saved by int8."


def test_what_it_cost_is_told_step_by_step() -> None:
    tab = press(set_up(with_run(), steps=1), "Recover")
    recovered = run_store().list(DEMO)[0]
    cost = next(table.value for table in tab.table if "Peak memory" in table.value.columns)
    assert recovered.result is not None
    memory = recovered.result["memory"]["recover"]
    assert cost.loc["Recovery", "Peak memory"] == f"{memory / 1e6:,.0f} MB"
    assert cost.loc["Recovery", "Seconds"] == f"{recovered.seconds['recover']:,.1f}"
    assert cost.index[-1] == "All steps"
    assert "of the whole process while a step ran" in sentences(tab)
    speed = next(table.value for table in tab.table if table.value.index.name == "Speed")
    assert list(speed.index) == ["Milliseconds a batch", "Images a second"]

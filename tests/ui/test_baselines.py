"""Baselines on the Compare page: asked for, run one by one, told of, cancelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import ffmerge_core as fm
from ffmerge_core.compression import running
from ffmerge_core.compression.running import fixed
from ffmerge_core.plan import MergePlan, Recipe, Recovery
from ffmerge_core.reporting.recording import record
from pages._ui.state.shared import job_registry, run_store
from tests.conftest import transformers_vit
from tests.ui.pages_support import DEMO, go, id_of, open_app, press, selected, sentences

# All but one: then few windows are to be tried.
PLAN = MergePlan((tuple(f"encoder.{index}" for index in range(12)),), "vanilla")


def ran(plan: MergePlan = PLAN, **changes: Any) -> str:
    """The id of a run of the demo that is in the history already."""
    recipe = fixed(Recipe(DEMO, plan, tokens=500, **changes), fm.load(DEMO))
    return record(run_store(), recipe, plan.method, lambda recipe, report: fm.run(recipe))[0]


def kinds(tab: AppTest) -> Any:
    (group,) = (each for each in tab.button_group if str(each.key).startswith("baselines_kinds"))
    return group


def choose(tab: AppTest, *wanted: str) -> AppTest:
    kinds(tab).set_value(list(wanted))
    return tab.run()


def recipes() -> list[Recipe]:
    """Of all runs, the oldest first."""
    return [Recipe.from_dict(run.recipe) for run in reversed(run_store().list(DEMO))]


def test_a_run_s_baselines_share_its_groups_and_land_on_chart_and_table() -> None:
    first_id = ran()
    tab = open_app("compare")
    assert tab.selectbox[0].options == [
        f"vanilla · {602_058 - 11 * 33_088:,} parameters", "A number of parameters",
    ]  # fmt: skip
    assert kinds(tab).value == [
        "permute", "copy", "random", "layer drop", "FF drop", "SVD", "narrow",
    ]  # fmt: skip
    assert "Not fine-tuned, with 500 calibration tokens, seed 0, as in vanilla." in sentences(tab)
    press(choose(tab, "copy", "SVD"), "Run baselines")
    first, copied, factored = recipes()
    assert copied == Recipe(**{**vars(first), "plan": MergePlan(PLAN.groups, "copy")})
    plans = fm.baselines(fm.load(DEMO), PLAN, ["copy", "SVD"])
    assert [copied.plan, factored.plan] == list(plans.values())
    table = tab.dataframe[0].value
    assert list(table["Method"]) == ["SVD", "copy", "vanilla"]
    assert {"Recovered", "Weights"}.isdisjoint(table.columns), "no run was, or has others"
    spec = json.loads(tab.get("plotly_chart")[0].proto.spec)
    assert [trace["name"] for trace in spec["data"]][-3:] == ["vanilla", "copy", "SVD"]
    assert "Baselines: done in" in sentences(tab)
    press(tab, "Run baselines")
    assert tab.selectbox[0].value == first_id, "a baseline that lands is no other choice"
    assert "2 of these were run before and are shown as they were." in sentences(tab)
    assert len(run_store().list(DEMO)) == 3


@pytest.mark.slow
def test_what_is_tuned_has_baselines_tuned_alike_and_the_original_too() -> None:
    recovery = Recovery(steps=2, batch_size=8)
    ran()
    run_id = ran(recovery=recovery, quantize="int8")
    tab = open_app("compare")
    assert "Fine-tuned in the same way: 2 steps, batches of 8" in sentences(tab)
    assert ", then rounded to int8, with" in sentences(tab)
    press(choose(tab, "control"), "Run baselines")
    control = recipes()[-1]
    assert (control.plan.n_removed, control.recovery, control.quantize) == (0, recovery, "int8")
    table = tab.dataframe[0].value
    assert list(table["Method"]) == ["original", "vanilla", "vanilla"]
    assert list(table["Recovered"]) == ["2 steps", "2 steps", "no"]
    assert list(table["Weights"]) == ["int8", "int8", "float32"]
    spec = json.loads(tab.get("plotly_chart")[0].proto.spec)
    symbols = [
        (trace["name"], trace["marker"]["symbol"])
        for trace in spec["data"]
        if trace.get("customdata")
    ]
    assert symbols == [
        ("original", "star-dot"), ("original", "star-open"),
        ("vanilla", "square-dot"), ("vanilla", "square-open"),
    ]  # fmt: skip
    # The control is no budget; another row can be.
    assert len(tab.selectbox[0].options) == 3
    assert run_store().get(run_id).name in tab.selectbox[0].options[0]
    selected(tab, 2)
    assert "Not fine-tuned, with 500" in sentences(tab)
    assert "control" not in kinds(tab).value


def test_without_a_run_a_number_of_parameters_is_a_budget() -> None:
    tab = open_app("compare")
    assert "No merge of this model has been run yet" in sentences(tab)
    assert tab.selectbox[0].options == ["A number of parameters"]
    assert tab.number_input[0].value == 602_058 - 4 * 33_088
    assert kinds(tab).value[0] == "vanilla", "without groups there is nothing to permute"
    tab.number_input[0].set_value(400_000)
    press(choose(tab, "SVD"), "Run baselines")
    (recipe,) = recipes()
    assert recipe.plan == fm.baselines(fm.load(DEMO), 400_000, ["SVD"])["SVD"]
    assert (recipe.tokens, recipe.data_revision) == (10_000, fm.load(DEMO).require_task().revision)
    assert len(tab.get("plotly_chart")) == 1


def test_what_cannot_be_met_is_a_sentence() -> None:
    tab = open_app("compare")
    tab.number_input[0].set_value(100)
    press(choose(tab, "SVD", "narrow"), "Run baselines")
    said = "100 parameters cannot be reached by SVD or narrow: the model has 602,058."
    assert said in sentences(tab)
    assert run_store().list(DEMO) == []
    least = fm.load(DEMO).n_parameters - sum(each.n_parameters for each in fm.load(DEMO).sublayers)
    tab.number_input[0].set_value(least + 10)
    press(choose(tab, "FF drop", "copy"), "Run baselines")
    assert "Copy is left out: it leaves at least 238,090 parameters" in sentences(tab)
    choose(tab)
    assert "Choose one kind or more." in sentences(tab)
    assert "Run baselines" not in [button.label for button in tab.button]


def test_cancel_keeps_those_that_are_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    ran()
    tab = choose(open_app("compare"), "copy", "random")
    run, asked = running.run, []

    def pressing(recipe: Recipe, *arguments: Any, **options: Any) -> fm.RunResult:
        asked.append(recipe.plan)
        if len(asked) == 2:
            for job in job_registry().active(id_of(tab)):
                job_registry().cancel(job.id)
        return run(recipe, *arguments, **options)

    monkeypatch.setattr(running, "run", pressing)
    press(tab, "Run baselines")
    assert [run.status for run in run_store().list(DEMO)] == ["cancelled", "done", "done"]
    assert "Cancelled. The finished baselines are kept" in sentences(tab)
    press(tab, "Run baselines")
    assert "1 of these was run before and is shown as it was." in sentences(tab)
    assert run_store().list(DEMO)[0].status == "done"


def test_a_model_of_one_sublayer_has_a_number_to_begin_with(tmp_path: Path) -> None:
    transformers_vit(depth=1).save_pretrained(tmp_path / "mine")
    tab = open_app("model")
    tab.text_input(key="folder").set_value(str(tmp_path / "mine"))
    press(tab, "Open model")
    (ff,) = fm.load(tmp_path / "mine", task="digits").sublayers
    (number,) = go(tab, "compare").number_input
    assert number.max - number.value + 1 == ff.n_parameters
    assert not tab.error


def test_a_compressed_model_has_no_baselines(tmp_path: Path) -> None:
    transformers_vit(depth=3).save_pretrained(tmp_path / "mine")
    model = fm.load(tmp_path / "mine", task="digits")
    fm.save(fm.apply(model, MergePlan((("encoder.0", "encoder.1"),), "copy")), tmp_path / "merged")
    tab = open_app("model")
    tab.text_input(key="folder").set_value(str(tmp_path / "merged"))
    press(tab, "Open model")
    assert "Baselines start from an original" in sentences(go(tab, "compare"))

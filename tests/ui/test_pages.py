"""Every page of the app, on the demo, without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ffmerge_core.plan import MergePlan, Recipe
from pages._ui.picking import boxed, toggled
from pages._ui.shared import WORKSPACE_PARAMETER, job_registry, run_store, shelf, workspace_store
from pages._ui.subject import demo_subject, plan_in_words, short
from tests.conftest import transformers_vit

ROOT = Path(__file__).parents[2]
DEMO = "demo:vit-digits"
SECONDS = 120


def open_app(page: str = "model", workspace_id: str | None = None) -> AppTest:
    tab = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    if workspace_id is not None:
        tab.query_params[WORKSPACE_PARAMETER] = workspace_id
    tab.run()
    return go(tab, page)


def go(tab: AppTest, page: str) -> AppTest:
    tab.switch_page(f"pages/{page}.py").run()
    return settle(tab)


def id_of(tab: AppTest) -> str:
    found = tab.query_params[WORKSPACE_PARAMETER]
    return found if isinstance(found, str) else found[0]


def settle(tab: AppTest) -> AppTest:
    """Wait for the tab's jobs, and draw the page as it is after them."""
    for job in job_registry().active(id_of(tab)):
        job_registry().wait(job.id, SECONDS)
    tab.run()
    assert not tab.exception
    return tab


def press(tab: AppTest, label: str) -> AppTest:
    next(button for button in tab.button if button.label == label).click()
    tab.run()
    return settle(tab)


def metrics(tab: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in tab.metric}


def sentences(tab: AppTest) -> str:
    kinds = (tab.markdown, tab.caption, tab.info, tab.warning, tab.error, tab.success)
    return "\n".join(element.value for kind in kinds for element in kind)


def add_group(tab: AppTest, *names: str) -> None:
    tab.multiselect(key="draft").set_value(list(names)).run()
    press(tab, "Add group")


def with_run(*groups: tuple[str, ...]) -> AppTest:
    """A tab that has merged, on the Merge page."""
    tab = open_app("similarity")
    for group in groups or (("encoder.6", "encoder.7"),):
        add_group(tab, *group)
    return press(go(tab, "merge"), "Merge")


def test_the_first_page_tells_the_model_from_its_card() -> None:
    tab = open_app()
    assert tab.title[0].value == "Model"
    subject = demo_subject(DEMO)
    assert metrics(tab)["Parameters"] == f"{subject.n_parameters:,}"
    assert metrics(tab)["In FF sublayers"] == "65.9 %"
    table = tab.dataframe[0].value
    assert list(table["Sublayer"]) == [f"encoder.{index}" for index in range(12)]
    assert set(table["Parameters"]) == {33_088}
    assert set(table["Gated"]) == {"no"}
    score = subject.scores["validation"]
    assert f"on {score['n']} examples" in sentences(tab)


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
    assert tab.multiselect(key="draft").value == ["encoder.2", "encoder.3", "encoder.4"]
    tab.multiselect(key="draft").set_value(["encoder.2", "encoder.3"]).run()
    press(tab, "Save group")
    assert metrics(tab)["After merging"] == f"{602_058 - 33_088:,}"
    press(tab, "Remove")
    assert metrics(tab)["After merging"] == before
    press(tab, "Undo")
    press(tab, "Clear")
    assert metrics(tab)["After merging"] == before


@pytest.mark.parametrize("of", ["pre", "attention", "aligned"])
def test_every_comparison_is_drawn(of: str) -> None:
    tab = open_app("similarity")
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
        (["encoder.1"], "at least two"),
        (["encoder.4", "encoder.5"], "encoder.4 is already in group 1"),
    ],
)
def test_what_cannot_be_a_group_is_refused_with_the_reason(names: list[str], reason: str) -> None:
    tab = open_app("similarity")
    add_group(tab, "encoder.3", "encoder.4")
    tab.multiselect(key="draft").set_value(names).run()
    assert any(reason in warning.value for warning in tab.warning)
    assert next(button for button in tab.button if button.label == "Add group").disabled


def test_fewer_tokens_than_asked_for_are_said() -> None:
    tab = open_app("similarity")
    tab.number_input(key="tokens").set_value(20_000).run()
    settle(tab)
    assert "20,000 tokens were asked for; the training split has 15,266" in sentences(tab)


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


def test_merging_shows_what_it_cost_and_stores_it() -> None:
    tab = with_run(("encoder.2", "encoder.3", "encoder.4"), ("encoder.8", "encoder.9"))
    table = tab.table[0].value
    assert table.loc["Parameters", "Merged"] == f"{602_058 - 3 * 33_088:,}"
    (run,) = run_store().list(DEMO)
    assert run.status == "done"
    assert run.result is not None
    assert run.result["merged"]["n_parameters"] == 602_058 - 3 * 33_088
    assert "test" not in run.result["merged"]
    assert Recipe.from_dict(run.recipe).plan.groups == workspace_store().find(id_of(tab)).groups
    assert run.versions["torch"]
    assert run.seconds["merge"] > 0
    assert run.peak_memory is not None
    press(tab, "Final score")
    (run,) = run_store().list(DEMO)
    assert run.result is not None
    assert run.result["difference"]["test"]["n"] == 540
    assert any(label.startswith("Test accuracy") for label in tab.table[0].value.index)
    card = demo_subject(DEMO).scores["test"]
    assert run.result["original"]["test"]["value"] == card["value"]


def test_the_shared_model_is_not_changed_by_merging() -> None:
    from ffmerge_core.models.structure import fingerprint

    with_run()
    model = shelf().models.get(DEMO)
    assert model is not None
    assert fingerprint(model.model) == model.revision


@pytest.mark.parametrize("method", ["vanilla", "copy"])
def test_methods_that_do_not_align_say_so(method: str) -> None:
    tab = open_app("similarity")
    add_group(tab, "encoder.6", "encoder.7")
    go(tab, "merge")
    tab.radio(key="method").set_value(method).run()
    assert tab.radio(key="anchor").disabled == (method == "vanilla")
    press(tab, "Merge")
    assert "does not align neurons" in sentences(tab)


def test_without_groups_the_merge_page_leads_to_picking() -> None:
    tab = open_app("merge")
    assert "no group to merge yet" in sentences(tab)
    assert tab.get("page_link")[0].proto.label == "Pick groups"


def test_without_runs_the_compare_page_leads_to_picking() -> None:
    tab = open_app("compare")
    assert "No merge of this model was run yet" in sentences(tab)


def test_a_refreshed_tab_finds_groups_choices_and_result() -> None:
    tab = with_run()
    again = open_app("merge", id_of(tab))
    assert "encoder 6–7" in sentences(again)
    assert again.table[0].value.equals(tab.table[0].value)


def test_after_a_restart_figures_stand_and_the_model_is_made_again() -> None:
    tab = with_run()
    for cache in (shelf, run_store, workspace_store):
        cache.clear()
    again = open_app("merge", id_of(tab))
    assert "no longer in memory" in sentences(again)
    press(again, "Make it again")
    assert "no longer in memory" not in sentences(again)
    assert len(run_store().list(DEMO)) == 1


def selected(tab: AppTest, *rows: int) -> None:
    """Select rows of the runs' table, as the front end would."""
    number = tab.session_state["table"] if "table" in tab.session_state else 0  # noqa: SIM401
    key = f"runs-{number}"
    tab.session_state[key] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    tab.run()


def test_runs_are_compared_filtered_renamed_deleted_and_opened() -> None:
    tab = with_run(("encoder.6", "encoder.7"))
    go(tab, "similarity")
    press(tab, "Clear")
    add_group(tab, "encoder.1", "encoder.2")
    go(tab, "merge")
    tab.radio(key="method").set_value("vanilla").run()
    press(tab, "Merge")
    go(tab, "compare")
    assert list(tab.dataframe[0].value["Groups"]) == ["encoder 1–2", "encoder 6–7"]
    spec = json.loads(tab.get("plotly_chart")[0].proto.spec)
    drawn = [point for trace in spec["data"] for point in trace.get("customdata") or []]
    assert len(drawn) == 3
    tab.text_input(key="filter").set_value("vanilla encoder.1").run()
    assert list(tab.dataframe[0].value["Method"]) == ["vanilla"]
    tab.text_input(key="filter").set_value("").run()

    selected(tab, 1)
    tab.text_input[1].set_value("My favourite")
    press(tab, "Rename")
    assert "My favourite" in list(tab.dataframe[0].value["Name"])

    selected(tab, 0)
    press(tab, "Delete")
    assert list(tab.dataframe[0].value["Name"]) == ["My favourite"]
    press(tab, "Undo delete")
    assert len(tab.dataframe[0].value) == 2

    selected(tab, 1)
    press(tab, "Open")
    assert tab.title[0].value == "Similarity"
    assert workspace_store().find(id_of(tab)).groups == (("encoder.6", "encoder.7"),)


def test_an_empty_name_is_refused_in_a_sentence() -> None:
    tab = go(with_run(), "compare")
    selected(tab, 0)
    tab.text_input[1].set_value("  ")
    press(tab, "Rename")
    assert "The name is empty" in sentences(tab)


def test_an_interrupted_run_is_listed_as_such() -> None:
    from ffmerge_core.reporting.database import Database

    with_run()
    store = run_store()
    recipe = Recipe(DEMO, MergePlan((("encoder.0", "encoder.1"),))).to_dict()
    run = store.start(recipe, DEMO, "left behind", {})
    Database(store.path).write(
        lambda connection: connection.execute(
            "UPDATE runs SET owner = 999999999 WHERE id = ?", (run.id,)
        )
    )
    run_store.clear()
    tab = open_app("compare")
    assert list(tab.dataframe[0].value["Status"]) == ["interrupted", "done"]


def test_a_damaged_history_is_set_aside_with_a_notice(home: Path) -> None:
    (home / "runs.sqlite3").write_bytes(b"not a database" * 500)
    tab = open_app("compare")
    assert any("damaged" in warning.value for warning in tab.warning)
    tab = with_run()
    assert len(run_store().list(DEMO)) == 1


def test_a_data_folder_that_cannot_be_used_is_a_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("FFMERGE_HOME", str(home / "file"))
    tab = open_app("similarity")
    add_group(tab, "encoder.6", "encoder.7")
    go(tab, "merge")
    assert any("FFMERGE_HOME" in error.value for error in tab.error)
    assert workspace_store().find(id_of(tab)).groups == (("encoder.6", "encoder.7"),)


@pytest.mark.parametrize("folder", ["nothing", "empty", "broken"])
def test_a_folder_that_cannot_be_opened_is_a_sentence_and_loses_nothing(
    folder: str, tmp_path: Path
) -> None:
    path = tmp_path / folder
    if folder != "nothing":
        path.mkdir()
    if folder == "broken":
        transformers_vit().save_pretrained(path)
        weights = path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    tab = open_app("similarity")
    add_group(tab, "encoder.6", "encoder.7")
    go(tab, "model")
    tab.text_input(key="folder").set_value(str(path))
    press(tab, "Open")
    assert any(str(path) in error.value for error in tab.error)
    workspace = workspace_store().find(id_of(tab))
    assert (workspace.source, workspace.groups) == (DEMO, (("encoder.6", "encoder.7"),))


def test_the_whole_job_on_a_users_own_folder(tmp_path: Path) -> None:
    transformers_vit(depth=4).save_pretrained(tmp_path / "mine")
    tab = open_app()
    tab.text_input(key="folder").set_value(str(tmp_path / "mine"))
    press(tab, "Open")
    tab.run()
    assert "**mine**" in sentences(tab)
    go(tab, "similarity")
    add_group(tab, "encoder.1", "encoder.2")
    press(go(tab, "merge"), "Merge")
    assert tab.table[0].value.loc["Parameters", "Merged"]
    shelf.clear()
    again = open_app("compare", id_of(tab))
    assert "**mine**" in sentences(again)
    assert list(again.dataframe[0].value["Groups"]) == ["encoder 1–2"]
    go(again, "model")
    press(again, "Back to the demo")
    assert metrics(again)["Parameters"] == "602,058"


def test_a_drawn_digit_is_read_by_both_models() -> None:
    import numpy as np

    from pages._ui.draw import SIDE

    tab = with_run()
    drawing = np.zeros((SIDE, SIDE), dtype=int)
    drawing[8:56, 29:36] = 15
    text = "".join(f"{level:x}" for level in drawing.ravel())
    tab.session_state["digit"] = {"drawing": text}
    tab.run()
    assert not tab.exception
    assert sentences(tab).count("**Original**") == 2


def words(value: Any) -> str:
    return plan_in_words(MergePlan(**value).to_dict())


def test_plans_in_words() -> None:
    groups = (("encoder.3", "encoder.4", "encoder.7"), ("encoder.9", "encoder.10"))
    assert short(groups[0]) == "encoder 3–4, 7"
    assert words({"groups": groups}) == "permute encoder 3–4, 7 and encoder 9–10, anchor first"
    assert words({"groups": groups[1:], "method": "vanilla"}) == "vanilla encoder 9–10"

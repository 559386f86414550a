"""The Compare page: runs charted, filtered, renamed, deleted, opened."""

from __future__ import annotations

import json
from pathlib import Path

from streamlit.testing.v1 import AppTest

from ffmerge_core.compression.running import fixed
from ffmerge_core.plan import MergePlan, Recipe
from pages._ui.state.shared import (
    history,
    run_store,
    workspace_store,
)
from tests.ui.pages_support import (
    DEMO,
    add_group,
    compare,
    go,
    id_of,
    open_app,
    press,
    selected,
    sentences,
    with_run,
)


def test_without_runs_the_compare_page_leads_to_picking() -> None:
    tab = open_app("compare")
    assert "No merge of this model has been run yet" in sentences(tab)


def test_runs_are_compared_filtered_renamed_deleted_and_opened() -> None:
    tab = with_run(("encoder.6", "encoder.7"))
    go(tab, "similarity")
    press(tab, "Clear")
    add_group(tab, "encoder.1", "encoder.2")
    go(tab, "merge")
    tab.radio(key="method").set_value("vanilla").run()
    press(tab, "Merge")
    go(tab, "compare")
    assert list(tab.dataframe[0].value["Layers"]) == ["encoder 1–2", "encoder 6–7"]
    spec = json.loads(tab.get("plotly_chart")[0].proto.spec)
    drawn = [point for trace in spec["data"] for point in trace.get("customdata") or []]
    assert len(drawn) == 3
    tab.text_input(key="filter").set_value("vanilla encoder.1").run()
    assert list(tab.dataframe[0].value["Method"]) == ["vanilla"]
    tab.text_input(key="filter").set_value("").run()

    selected(tab, 1).text_input[1].set_value("My favourite")
    press(tab, "Rename")
    assert "My favourite" in list(tab.dataframe[0].value["Name"])

    press(selected(tab, 0), "Delete")
    assert list(tab.dataframe[0].value["Name"]) == ["My favourite"]
    press(tab, "Undo delete")
    assert len(tab.dataframe[0].value) == 2

    press(selected(tab, 1), "Open")
    assert workspace_store().find(id_of(tab)).groups == (("encoder.6", "encoder.7"),)
    assert "encoder 6–7" in sentences(open_app("similarity", id_of(tab)))


def test_an_empty_name_is_refused_in_a_sentence() -> None:
    with_run()
    tab = compare(0)
    tab.text_input[1].set_value("  ")
    next(button for button in tab.button if button.label == "Rename").click().run()
    assert "The name is empty" in sentences(tab)


def test_a_merge_that_costs_nothing_is_shown_as_zero() -> None:
    with_run()
    store = run_store()
    (run,) = store.list(DEMO)
    store.update_result(run.id, {"difference": {"validation": {"value": 0.0}}})
    assert list(open_app("compare").dataframe[0].value["Change"]) == [0.0]


def test_runs_of_other_weights_or_versions_are_counted_not_mixed_in() -> None:
    with_run()
    store = run_store()
    (run,) = store.list(DEMO)
    store.start({**run.recipe, "revision": "other"}, DEMO, "other weights", {})
    store.start({**run.recipe, "plan": {"kind": "drop"}}, DEMO, "other kind", {})
    tab = open_app("compare")
    assert len(tab.dataframe[0].value) == 1
    assert "1 run of demo:vit-digits with other weights" in sentences(tab)
    assert "1 run whose plan is from another version" in sentences(tab)


def test_runs_on_a_file_that_has_changed_since_are_counted_not_mixed_in(tmp_path: Path) -> None:
    import ffmerge_core as fm
    from ffmerge_core.reporting.recording import record

    path, source = tmp_path / "mine.py", "demo:gpt2-code"
    path.write_text("\n\n".join(f"def f{i}(x):\n    return x + {i}" for i in range(40)))
    plan = MergePlan((("decoder.2", "decoder.3"),), method="vanilla")

    def run(tab: AppTest) -> AppTest:
        """Open the file as it is, and merge."""
        go(tab, "model")
        next(field for field in tab.text_input if source in str(field.key)).set_value(str(path))
        press(tab, "Measure on this")
        recipe = fixed(Recipe(source, plan, str(path)), fm.load(source, path))
        record(run_store(), recipe, "On my file", lambda recipe, report: fm.run(recipe))
        return go(tab, "compare")

    tab = open_app("model")
    next(button for button in tab.button if button.key == "open-gpt2-code").click().run()
    assert len(run(tab).dataframe[0].value) == 1
    assert "not shown" not in sentences(tab)
    path.write_text(path.read_text().replace("return", "yield"))
    assert len(go(tab, "compare").dataframe[0].value) == 1, "what is open is as it was opened"
    assert len(run(tab).dataframe[0].value) == 1
    assert f"1 run measured on another version of {path} is not shown." in sentences(tab)
    assert go(tab, "recover").selectbox[0].options == ["On my file", "Original, nothing merged"]
    go(tab, "model")
    next(button for button in tab.button if button.key == "open-gpt2-code").click().run()
    go(tab, "compare")
    assert "2 runs of demo:gpt2-code on other data" in sentences(tab)


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
    history.clear()
    tab = open_app("compare")
    assert list(tab.dataframe[0].value["Status"]) == ["interrupted", "done"]


def test_a_damaged_history_is_set_aside_with_a_notice(home: Path) -> None:
    (home / "runs.sqlite3").write_bytes(b"not a database" * 500)
    tab = open_app("compare")
    assert any("damaged" in warning.value for warning in tab.warning)
    tab = with_run()
    assert len(run_store().list(DEMO)) == 1

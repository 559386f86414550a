"""The Merge page: what a merge shows, stores, and does when things go wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ffmerge_core.errors import StorageError
from ffmerge_core.plan import Recipe
from ffmerge_core.reporting.runs import RunStore
from ffmerge_core.tasks.batch import Batch
from pages._ui.state.shared import (
    history,
    job_registry,
    run_store,
    shelf,
    workspace_store,
)
from pages._ui.state.subject import Opened, demo_subject
from tests.ui.pages_support import (
    DEMO,
    add_group,
    go,
    id_of,
    open_app,
    picking,
    press,
    sentences,
    settle,
    with_run,
)


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
    model = shelf().models.get(Opened(DEMO))
    assert model is not None
    assert fingerprint(model.model) == model.revision


@pytest.mark.parametrize("method", ["vanilla", "copy"])
def test_methods_that_do_not_align_say_so(method: str) -> None:
    tab = picking()
    add_group(tab, "encoder.6", "encoder.7")
    go(tab, "merge")
    tab.radio(key="method").set_value(method).run()
    assert tab.radio(key="anchor").disabled == (method == "vanilla")
    press(tab, "Merge")
    assert "does not align neurons" in sentences(tab)
    assert "but no compute" in sentences(tab)
    assert tab.table[0].value.loc["Speed, images a second", "Change"] == "the same work"


def test_without_groups_the_merge_page_leads_to_picking() -> None:
    tab = open_app("merge")
    assert "no group to merge yet" in sentences(tab)
    assert tab.get("page_link")[0].proto.label == "Pick groups"


def test_a_refreshed_tab_finds_groups_choices_and_result() -> None:
    tab = with_run()
    again = open_app("merge", id_of(tab))
    assert "encoder 6–7" in sentences(again)
    assert again.table[0].value.equals(tab.table[0].value)


def test_after_a_restart_figures_stand_and_the_model_is_made_again() -> None:
    tab = with_run()
    for cache in (shelf, history, workspace_store):
        cache.clear()
    again = open_app("merge", id_of(tab))
    assert "no longer in memory" in sentences(again)
    press(again, "Rebuild it")
    assert "no longer in memory" not in sentences(again)
    assert len(run_store().list(DEMO)) == 1


def test_a_data_folder_that_cannot_be_used_is_a_sentence_and_work_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("FFMERGE_HOME", str(home / "file"))
    tab = with_run()
    assert any("FFMERGE_HOME" in warning.value for warning in tab.warning)
    assert "Validation accuracy, 359 images" in tab.table[0].value.index
    assert len(run_store().list(DEMO)) == 1


def test_a_disk_that_fills_up_is_a_sentence_and_loses_no_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageError("The disk is full. Make room.")

    monkeypatch.setattr(RunStore, "finish", full)
    tab = with_run()
    assert any("The disk is full" in error.value for error in tab.error)
    assert workspace_store().find(id_of(tab)).groups == (("encoder.6", "encoder.7"),)
    assert [run.status for run in run_store().list(DEMO)] == ["failed"]


def test_two_tabs_share_one_model_and_not_their_groups() -> None:
    one, two = picking(), picking()
    model = shelf().models.get(Opened(DEMO))
    add_group(one, "encoder.1", "encoder.2")
    add_group(two, "encoder.8", "encoder.9")
    press(go(one, "merge"), "Merge")
    press(go(two, "merge"), "Merge")
    assert shelf().models.get(Opened(DEMO)) is model
    stored = {run.recipe["plan"]["groups"][0][0] for run in run_store().list(DEMO)}
    assert stored == {"encoder.1", "encoder.8"}
    assert workspace_store().find(id_of(one)).groups == (("encoder.1", "encoder.2"),)


@pytest.mark.parametrize("page", ["similarity", "merge"])
def test_a_cancelled_step_stops_at_its_next_batch_and_changes_nothing(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = picking()
    add_group(tab, "encoder.6", "encoder.7")
    if page == "similarity":
        tab.number_input(key="seed").set_value(7)
    else:
        go(tab, "merge")
    stopped: list[int] = []
    forward = Batch.run

    def slow(batch: Batch, model: object) -> object:
        if not stopped:
            for job in job_registry().active(id_of(tab)):
                job_registry().cancel(job.id)
        stopped.append(1)
        return forward(batch, model)  # type: ignore[arg-type]

    shelf.clear()
    monkeypatch.setattr(Batch, "run", slow)
    if page == "merge":
        tab.run()
        press(tab, "Merge")
    else:
        tab.run()
        settle(tab)
    assert len(stopped) == 1, "no batch after the one in which Cancel was pressed"
    assert "Cancelled: nothing was changed." in sentences(tab)
    statuses = [run.status for run in run_store().list(DEMO)]
    assert statuses == (["cancelled"] if page == "merge" else [])


def test_a_drawn_digit_is_read_by_both_models() -> None:
    import numpy as np

    from pages._ui.merge.draw import SIDE

    tab = with_run()
    drawing = np.zeros((SIDE, SIDE), dtype=int)
    drawing[8:56, 29:36] = 15
    text = "".join(f"{level:x}" for level in drawing.ravel())
    tab.session_state["digit"] = {"drawing": text}
    tab.run()
    assert not tab.exception
    assert sentences(tab).count("**Original**") == 2

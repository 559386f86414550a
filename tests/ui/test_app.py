"""The interface layer inside Streamlit, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from pages._ui.state.shared import WORKSPACE_PARAMETER, job_registry, workspace_store

APP = Path(__file__).parent / "apps" / "app.py"


def open_tab(workspace_id: str | None = None) -> AppTest:
    tab = AppTest.from_file(str(APP), default_timeout=20)
    if workspace_id is not None:
        tab.query_params[WORKSPACE_PARAMETER] = workspace_id
    tab.run()
    assert not tab.exception
    return tab


def id_of(tab: AppTest) -> str:
    found = tab.query_params[WORKSPACE_PARAMETER]
    return found if isinstance(found, str) else found[0]


def add_group(tab: AppTest, *names: str) -> None:
    tab.multiselect[0].set_value(list(names))
    button(tab, "Add group").click()
    tab.run()


def button(tab: AppTest, label: str) -> Button:
    return next(button for button in tab.button if button.label == label)


def texts(tab: AppTest) -> list[str]:
    return [element.value for element in tab.text]


def test_each_tab_has_an_id_of_its_own_in_its_address() -> None:
    one, two = open_tab(), open_tab()
    assert re.fullmatch("[0-9a-f]{32}", id_of(one))
    assert id_of(one) != id_of(two)
    add_group(one, "encoder.1", "encoder.0")
    two.run()
    assert texts(one) == ["groups: (('encoder.0', 'encoder.1'),)"]
    assert texts(two) == ["groups: ()"]


def test_a_refreshed_tab_finds_its_groups(home: Path) -> None:
    tab = open_tab()
    add_group(tab, "encoder.1", "encoder.2")
    assert texts(open_tab(id_of(tab))) == texts(tab)
    workspace_store.clear()
    assert texts(open_tab(id_of(tab))) == texts(tab)
    assert (home / "workspaces" / f"{id_of(tab)}.json").is_file()


@pytest.mark.parametrize("bad", ["../../../etc/passwd", "ABC", "0" * 31])
def test_an_id_that_is_not_ours_is_replaced_in_the_address(bad: str, home: Path) -> None:
    tab = open_tab(bad)
    assert re.fullmatch("[0-9a-f]{32}", id_of(tab))
    add_group(tab, "encoder.0", "encoder.3")
    files = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    assert files == [Path("workspaces", f"{id_of(tab)}.json")]


def test_a_link_that_dropped_the_parameter_gets_it_back() -> None:
    tab = open_tab()
    before = id_of(tab)
    add_group(tab, "encoder.0", "encoder.3")
    del tab.query_params[WORKSPACE_PARAMETER]
    tab.run()
    assert id_of(tab) == before
    assert texts(tab) == ["groups: (('encoder.0', 'encoder.3'),)"]


def test_an_unusable_data_folder_leaves_the_app_working(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("FFMERGE_HOME", str(home / "file"))
    tab = open_tab()
    add_group(tab, "encoder.0", "encoder.3")
    assert texts(open_tab(id_of(tab))) == ["groups: (('encoder.0', 'encoder.3'),)"]


def test_a_refused_group_is_a_sentence_and_loses_nothing() -> None:
    tab = open_tab()
    add_group(tab, "encoder.0", "encoder.1")
    add_group(tab, "encoder.1", "encoder.2")
    assert "already in group 1" in tab.error[0].value
    assert texts(tab) == ["groups: (('encoder.0', 'encoder.1'),)"]
    assert not tab.exception


def test_the_empty_state_leads_on_and_carries_the_workspace() -> None:
    tab = open_tab()
    assert tab.info[0].value == "No group yet. Draw a digit meanwhile."
    link = tab.get("page_link")[0].proto
    assert (link.label, link.query_string) == ("Go and draw", f"w={id_of(tab)}")
    add_group(tab, "encoder.0", "encoder.1")
    assert not tab.info
    assert not tab.get("page_link")


def work_page(workspace_id: str | None = None) -> AppTest:
    return open_tab(workspace_id).switch_page("work.py").run()


def press(tab: AppTest, label: str) -> None:
    button(tab, label).click()
    tab.run()


def finish(tab: AppTest) -> None:
    job = job_registry().latest(id_of(tab), "work")
    assert job is not None
    job_registry().wait(job.id, 10)
    tab.run()


def test_a_page_switch_keeps_the_workspace() -> None:
    tab = open_tab()
    before = id_of(tab)
    add_group(tab, "encoder.0", "encoder.1")
    tab.switch_page("work.py").run()
    assert tab.title[0].value == "Work"
    assert id_of(tab) == before
    tab.switch_page("groups.py").run()
    assert texts(tab) == ["groups: (('encoder.0', 'encoder.1'),)"]


def test_a_finished_job_shows_its_result() -> None:
    tab = work_page()
    press(tab, "Quick")
    finish(tab)
    assert re.fullmatch(r"Quick: done in 0\.\d s\.", tab.success[0].value)
    assert "result: quick result" in texts(tab)
    assert "Cancel" not in [button.label for button in tab.button]


def test_a_running_job_is_cancelled_and_says_so_also_after_a_refresh() -> None:
    tab = work_page()
    press(tab, "Slow")
    same = work_page(id_of(tab))
    press(same, "Cancel")
    finish(same)
    assert same.info[0].value == "Cancelled: nothing was changed."
    assert work_page(id_of(tab)).info[0].value == "Cancelled: nothing was changed."


def test_a_failed_job_shows_its_sentence() -> None:
    tab = work_page()
    press(tab, "Refused")
    finish(tab)
    assert tab.error[0].value == "A group needs at least two to merge."


def test_another_tabs_job_is_not_shown() -> None:
    one = work_page()
    press(one, "Slow")
    other = work_page()
    assert "Cancel" not in [button.label for button in other.button]
    press(other, "Quick")
    registry = job_registry()
    waiting = registry.latest(id_of(other), "work")
    assert waiting is not None
    assert waiting.ahead == 1
    press(work_page(id_of(one)), "Cancel")
    finish(other)
    assert "result: quick result" in texts(other)


def test_only_a_job_that_a_restart_took_is_called_interrupted() -> None:
    tab = work_page()
    press(tab, "Quick")
    job = job_registry().latest(id_of(tab), "work")
    assert job is not None
    job_registry().wait(job.id, 10)
    job_registry.clear()
    workspace_store.clear()
    assert not work_page(id_of(tab)).warning

    press(tab, "Slow")
    job_registry.clear()
    workspace_store.clear()
    again = work_page(id_of(tab))
    assert again.warning[0].value.startswith("The last work job was interrupted")
    assert not work_page(id_of(tab)).warning

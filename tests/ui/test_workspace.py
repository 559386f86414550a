"""Workspaces: groups and their history, isolation, what is on disk, ids from outside."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

import pytest

from ffmerge_core.errors import PlanError
from pages._ui.state import workspace as workspace_module
from pages._ui.state.workspace import Workspace, WorkspaceStore
from pages._ui.state.workspace_state import HISTORY, Picked, Settings, State
from tests.ui.workspaces import DEMO, EARLY, ELSEWHERE, LATE, SUBLAYERS

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def workspace() -> Workspace:
    return WorkspaceStore(None).find(None)


def test_groups_are_kept_in_layer_order(workspace: Workspace) -> None:
    workspace.add_group(["encoder.4", "encoder.2", "encoder.3"], SUBLAYERS)
    assert workspace.groups == (LATE,)
    workspace.replace_group(0, ["encoder.1", "encoder.0"], SUBLAYERS)
    assert workspace.groups == (EARLY,)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["encoder.1", "encoder.2"], "already in group 1"),
        (["encoder.3"], "has 1 sublayer"),
        (["encoder.4", "encoder.5"], "widths d_ff 256 and 512"),
        (["encoder.3", "encoder.9"], "not an FF sublayer"),
        (["encoder.3", "encoder.3"], "twice"),
    ],
)
def test_a_refused_group_changes_nothing(
    workspace: Workspace, names: list[str], reason: str
) -> None:
    workspace.add_group(EARLY, SUBLAYERS)
    before = workspace.state
    with pytest.raises(PlanError, match=reason):
        workspace.add_group(names, SUBLAYERS)
    assert workspace.state == before


def test_undo_and_redo_walk_the_edits(workspace: Workspace) -> None:
    workspace.add_group(EARLY, SUBLAYERS)
    workspace.add_group(LATE, SUBLAYERS)
    workspace.remove_group(0)
    workspace.clear()
    walk = []
    while workspace.can_undo:
        workspace.undo()
        walk.append(workspace.groups)
    assert walk == [(LATE,), (EARLY, LATE), (EARLY,), ()]
    while workspace.can_redo:
        workspace.redo()
    assert workspace.groups == ()
    workspace.undo()
    workspace.add_group(EARLY, SUBLAYERS)
    assert not workspace.can_redo
    assert workspace.groups == (LATE, EARLY)


def test_undo_with_nothing_to_undo_is_harmless(workspace: Workspace) -> None:
    before = workspace.state
    workspace.undo()
    workspace.redo()
    workspace.clear()
    assert workspace.state == before


def test_the_history_is_bounded(workspace: Workspace) -> None:
    for _ in range(HISTORY):
        workspace.add_group(EARLY, SUBLAYERS)
        workspace.clear()
    assert len(workspace.state.picked.past) == HISTORY


def test_settings_are_chosen_by_known_names_only(workspace: Workspace) -> None:
    with pytest.raises(TypeError, match="colour"):
        workspace.choose(colour="red")


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    workspace = WorkspaceStore(tmp_path).find(None)
    workspace.open(DEMO)
    workspace.add_group(EARLY, SUBLAYERS)
    workspace.add_group(LATE, SUBLAYERS)
    workspace.undo()
    workspace.set_draft(["encoder.3"], "encoder")
    workspace.choose(seed=7)
    workspace.job_started("merge")
    workspace.job_started("similarity")
    workspace.job_ended("similarity")
    workspace.open_run("run-1")
    workspace.open(ELSEWHERE)
    workspace.open(DEMO)

    again = WorkspaceStore(tmp_path).find(workspace.id)
    assert again is not workspace
    assert again.state == workspace.state
    assert (again.groups, again.draft, again.run_id) == ((EARLY,), ("encoder.3",), "run-1")
    assert again.jobs == ("merge",)
    again.redo()
    assert again.groups == (EARLY, LATE)
    assert [path.name for path in tmp_path.iterdir()] == [f"{workspace.id}.json"]


def test_two_tabs_do_not_see_each_other(tmp_path: Path) -> None:
    store = WorkspaceStore(tmp_path)
    one, two = store.find(None), store.find(None)
    one.add_group(EARLY, SUBLAYERS)
    assert one.id != two.id
    assert two.groups == ()
    assert store.find(one.id) is one


@pytest.mark.parametrize(
    "id", ["", "../../etc/passwd", ID.upper(), ID + "0", ID[:-1], ID + "\n", "a" * 10_000, "é" * 32]
)
def test_an_id_that_is_not_ours_is_replaced_and_never_a_path(tmp_path: Path, id: str) -> None:
    folder = tmp_path / "inside" / "workspaces"
    workspace = WorkspaceStore(folder).find(id)
    assert workspace.id != id
    assert len(workspace.id) == len(ID)
    workspace.add_group(EARLY, SUBLAYERS)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [folder / f"{workspace.id}.json"]


GOOD = json.loads(
    State(
        opened=DEMO, picked=Picked(groups=(EARLY,)), kept=((ELSEWHERE.source, Picked()),)
    ).to_json()
)
PICKED = GOOD["picked"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        json.dumps({**GOOD, "format": 1}),
        json.dumps({**GOOD, "extra": 1}),
        json.dumps({**GOOD, "picked": {**PICKED, "groups": "encoder.0"}}),
        json.dumps({**GOOD, "picked": {**PICKED, "groups": [[1, 2]]}}),
        json.dumps({**GOOD, "picked": {**PICKED, "groups": [[]]}}),
        json.dumps({**GOOD, "picked": {**PICKED, "editing": 1}}),
        json.dumps({**GOOD, "picked": None}),
        json.dumps({**GOOD, "opened": "demo:vit-digits"}),
        json.dumps({**GOOD, "opened": {"source": 3, "data": None, "fidelity": False}}),
        json.dumps({**GOOD, "opened": {"source": "a", "data": None, "fidelity": "no"}}),
        json.dumps({**GOOD, "kept": [["a"]]}),
        json.dumps({**GOOD, "kept": [[1, PICKED]]}),
        json.dumps({**GOOD, "jobs": [5]}),
        json.dumps({**GOOD, "settings": {"tokens": 5}}),
        json.dumps({**GOOD, "settings": {**GOOD["settings"], "tokens": "many"}}),
        json.dumps({**GOOD, "settings": None}),
        "\udcff",
    ],
)
def test_a_damaged_file_starts_a_new_workspace_with_a_word_in_the_log(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"{ID}.json").write_bytes(text.encode(errors="surrogateescape"))
    with caplog.at_level(logging.WARNING):
        workspace = WorkspaceStore(tmp_path).find(ID)
    assert workspace.state == State()
    assert "cannot be read" in caplog.text


def test_a_good_file_is_read(tmp_path: Path) -> None:
    (tmp_path / f"{ID}.json").write_text(json.dumps(GOOD))
    assert WorkspaceStore(tmp_path).find(ID).groups == (EARLY,)


@pytest.mark.parametrize(
    ("lacking", "also", "quantize"),
    [
        (("plan_seed",), {}, ""),
        (("plan_seed", "quantize"), {"int8": True}, "int8"),
        (("plan_seed", "quantize"), {"int8": False}, ""),
        (("plan_seed", "quantize"), {}, ""),
    ],
)
def test_a_file_of_an_earlier_version_is_read(
    tmp_path: Path, lacking: tuple[str, ...], also: dict[str, bool], quantize: str
) -> None:
    settings = {**GOOD["settings"], "seed": 7, **also}
    settings = {name: value for name, value in settings.items() if name not in lacking}
    (tmp_path / f"{ID}.json").write_text(json.dumps({**GOOD, "settings": settings}))
    workspace = WorkspaceStore(tmp_path).find(ID)
    assert workspace.groups == (EARLY,)
    assert workspace.settings == Settings(seed=7, plan_seed=0, quantize=quantize)


def test_a_folder_that_cannot_be_written_leaves_the_tab_working(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "workspaces"
    blocked.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        store = WorkspaceStore(blocked)
        workspace = store.find(None)
        workspace.add_group(EARLY, SUBLAYERS)
    assert store.find(workspace.id).groups == (EARLY,)
    assert "is not saved" in caplog.text


def test_old_files_are_removed_and_others_left(tmp_path: Path) -> None:
    long_ago = time.time() - 31 * 24 * 3600
    for name in (f"{ID}.json", f".{ID}.json.x.tmp", "notes.txt"):
        (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (long_ago, long_ago))
    (tmp_path / "recent.json").write_text("{}")
    WorkspaceStore(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "recent.json"]


def test_opening_a_workspace_counts_as_use(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.json"
    path.write_text(json.dumps(GOOD))
    nearly = time.time() - 29 * 24 * 3600
    os.utime(path, (nearly, nearly))
    WorkspaceStore(tmp_path).find(ID)
    assert path.stat().st_mtime > time.time() - 3600


def test_memory_is_bounded_and_the_disk_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "KEPT_IN_MEMORY", 2)
    store = WorkspaceStore(tmp_path)
    first = store.find(None)
    first.add_group(EARLY, SUBLAYERS)
    store.find(None), store.find(None)
    again = store.find(first.id)
    assert again is not first
    assert again.groups == (EARLY,)

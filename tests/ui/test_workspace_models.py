"""A workspace with several models and stacks: what was picked on each stays with it."""

from __future__ import annotations

import pytest

from pages._ui.state.subject import Opened
from pages._ui.state.workspace import Workspace, WorkspaceStore
from pages._ui.state.workspace_state import KEPT, Picked, Settings
from tests.ui.workspaces import DEMO, EARLY, ELSEWHERE, LATE, SUBLAYERS


@pytest.fixture
def workspace() -> Workspace:
    return WorkspaceStore(None).find(None)


def test_another_model_has_groups_of_its_own_and_keeps_the_settings(workspace: Workspace) -> None:
    workspace.open(DEMO)
    workspace.add_group(EARLY, SUBLAYERS)
    workspace.set_draft(["encoder.3"], "encoder")
    workspace.open_run("run-1")
    before = workspace.state.picked
    workspace.choose(tokens=5_000, metric="unbiased_cka")
    workspace.open(ELSEWHERE)
    assert workspace.state.picked == Picked()
    assert workspace.settings == Settings(tokens=5_000, metric="unbiased_cka")
    workspace.add_group(LATE, SUBLAYERS)
    workspace.open(DEMO)
    assert workspace.state.picked == before
    workspace.undo()
    assert workspace.groups == ()
    workspace.open(ELSEWHERE)
    assert workspace.groups == (LATE,)


def test_other_data_for_the_same_model_changes_nothing_that_was_picked(
    workspace: Workspace,
) -> None:
    workspace.open(DEMO)
    workspace.add_group(EARLY, SUBLAYERS)
    workspace.open(Opened(DEMO.source, "/data/mine.zip", fidelity=True))
    assert (workspace.groups, workspace.state.kept) == ((EARLY,), ())


def test_models_that_are_remembered_are_bounded_and_the_oldest_goes(workspace: Workspace) -> None:
    for number in range(KEPT + 2):
        workspace.open(Opened(f"/models/{number}"))
        workspace.add_group(EARLY, SUBLAYERS)
    assert len(workspace.state.kept) == KEPT
    workspace.open(Opened("/models/1"))
    assert workspace.groups == (EARLY,)
    workspace.open(Opened("/models/0"))
    assert workspace.groups == ()


def test_what_names_sublayers_that_are_gone_is_forgotten(workspace: Workspace) -> None:
    workspace.add_group(EARLY, SUBLAYERS)
    workspace.set_draft(["encoder.4"], "encoder")
    assert not workspace.fit(SUBLAYERS)
    assert workspace.groups == (EARLY,)
    assert workspace.fit(SUBLAYERS[:4])
    assert workspace.state.picked == Picked()


def test_each_stack_has_a_draft_and_an_edit_of_its_own(workspace: Workspace) -> None:
    workspace.add_group(EARLY, SUBLAYERS)
    workspace.set_draft(["decoder.1", "decoder.2"], "decoder")
    workspace.edit(0)
    assert workspace.draft_of("encoder") == EARLY
    assert (workspace.editing_in("encoder"), workspace.editing_in("decoder")) == (0, None)
    workspace.set_draft(["decoder.2"], "decoder")
    assert workspace.draft_of("encoder") == EARLY
    workspace.drop_draft("encoder")
    assert (workspace.editing, workspace.draft) == (None, ("decoder.2",))
    workspace.edit(0)
    workspace.undo()
    assert (workspace.groups, workspace.draft) == ((), ("decoder.2",))

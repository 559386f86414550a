"""The box beside the field that opens a model: a pickle is read where it is ticked."""

from __future__ import annotations

import json
from pathlib import Path

from pages._ui.state.recipes import recipe_of
from pages._ui.state.shared import shelf, workspace_store
from pages._ui.state.subject import Opened
from pages._ui.state.workspace_state import State
from tests.storage.test_pickled import bins
from tests.ui.pages_support import id_of, open_app, press, settle


def test_the_box_lets_a_pickle_in_and_the_recipe_says_so(tmp_path: Path) -> None:
    bins("timm", tmp_path)
    tab = open_app()
    tab.text_input(key="folder").set_value(str(tmp_path))
    tab.radio(key="measured_on").set_value("digits").run()
    press(tab, "Open model")
    assert any("box on the Model page" in each.value for each in tab.error)
    tab.checkbox(key="folder-allow-bin").check().run()
    settle(press(tab, "Open model"))
    workspace = workspace_store().find(id_of(tab))
    assert workspace.opened == Opened(str(tmp_path), "digits", allow_bin=True)
    subject = shelf().subject(workspace.opened)
    assert subject is not None
    workspace.set_groups((("encoder.0", "encoder.1"),), subject.sublayers)
    recipe = recipe_of(workspace.state)
    assert recipe.allow_bin
    assert Opened.of(recipe) == workspace.opened
    assert not workspace.opened.itself.data


def test_a_workspace_from_before_there_was_a_box_is_read() -> None:
    state = State(opened=Opened("/models/one", "digits"))
    older = json.loads(state.to_json())
    del older["opened"]["allow_bin"]
    assert State.from_json(json.dumps(older)) == state

"""The choice of BLEU's tokenizer on the Model page: for translators only, and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pages._ui.state.recipes import recipe_of
from pages._ui.state.shared import workspace_store
from pages._ui.state.subject import Opened
from pages._ui.state.workspace_state import State
from tests.ui.pages_support import go, id_of, open_app, press, sentences
from tests.ui.test_opening import MARIAN, PAIRS, open_demo, opened, own_data

LABEL = "How BLEU splits a translation into words"


def test_it_is_chosen_where_translations_are_scored_and_kept(home: Path) -> None:
    path = home / "own.tsv"
    path.write_text(PAIRS, "utf-8")
    tab = open_app()
    assert LABEL not in [each.label for each in tab.selectbox], "images have no words"
    open_demo(tab, "marian-en-fr")
    own_data(tab, path)
    assert opened(tab) == Opened(MARIAN, str(path))
    assert "BLEU's tokenizer: 13a, by the references' script" in sentences(tab)
    (chosen,) = [each for each in tab.selectbox if each.label == LABEL]
    assert (chosen.value, chosen.options[0]) == (None, "By the language")
    chosen.set_value("char").run()
    press(tab, "Measure on this")
    assert opened(tab) == Opened(MARIAN, str(path), tokenize="char")
    assert "BLEU's tokenizer: char, as chosen" in sentences(tab)
    assert "BLEU by char" in sentences(go(tab, "similarity"))
    workspace = workspace_store().find(id_of(tab))
    assert recipe_of(workspace.state).tokenize == "char"
    go(tab, "model")
    (chosen,) = [each for each in tab.selectbox if each.label == LABEL]
    assert chosen.value == "char"


def test_a_workspace_from_before_there_was_a_choice_is_read() -> None:
    state = State(opened=Opened(MARIAN, "own.tsv"))
    older = json.loads(state.to_json())
    del older["opened"]["tokenize"]
    assert State.from_json(json.dumps(older)) == state
    older["opened"]["tokenize"] = "of another version"
    with pytest.raises(ValueError, match="a tokenizer of another version"):
        State.from_json(json.dumps(older))

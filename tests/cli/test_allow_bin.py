"""A pickle is read where the command says so, and a recipe remembers it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Call
from tests.storage.test_pickled import bins


def test_every_verb_that_opens_a_model_asks(ffmerge: Call, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    bins("timm", folder)
    data = ("--data", "digits")
    refused = ffmerge("info", folder)
    assert refused.exit_code == 1
    assert "--allow-bin" in refused.output
    assert ffmerge("info", folder, "--allow-bin").exit_code == 0
    assert ffmerge("evaluate", folder, *data, "--allow-bin").exit_code == 0
    recipe = tmp_path / "recipe.json"
    group = ("--group", "encoder.0,encoder.1", "--method", "vanilla", "--recipe", recipe)
    merged = ffmerge("merge", folder, *group, *data, "--allow-bin")
    assert merged.exit_code == 0, merged.output
    assert json.loads(recipe.read_text())["allow_bin"] is True
    assert ffmerge("run", recipe).exit_code == 0
    assert ffmerge("export", folder, tmp_path / "copy", "--allow-bin").exit_code == 0
    assert ffmerge("export", "--recipe", recipe, tmp_path / "merged").exit_code == 0

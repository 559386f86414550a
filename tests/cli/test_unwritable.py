"""Places that cannot be written: told in a sentence, before the work where that is possible."""

import json
from pathlib import Path

from tests.cli.conftest import Call
from tests.cli.test_verbs import MERGE, RECIPE


def test_a_folder_that_cannot_be_written_is_told(ffmerge: Call, tmp_path: Path) -> None:
    recipe, file = tmp_path / "recipe.json", tmp_path / "file"
    recipe.write_text(json.dumps(RECIPE.to_dict()))
    file.write_text("mine")
    for out in (file, file / "inside"):
        done = ffmerge("export", "--recipe", recipe, out)
        assert done.exit_code == 1
        assert str(file) in done.stderr
    assert file.read_text() == "mine"


def test_a_history_that_cannot_be_written_is_told_before_the_work(
    ffmerge: Call, home: Path
) -> None:
    home.write_text("a file where the folder should be")
    done = ffmerge(*MERGE)
    assert done.exit_code == 1
    assert "set FFMERGE_HOME to a folder that is" in done.stderr

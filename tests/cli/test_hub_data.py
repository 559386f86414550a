"""`--data` with a name of the hub: what is said of it, and a run that replays."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Call
from tests.sources.conftest import data_hub, lay, writer  # noqa: F401
from tests.sources.data_sets import THREE, Lay
from tests.sources.hub_server import COMMIT, OLDER, Hub

NAME = f"hf:someone/data@{COMMIT}"
SPLITS = "train is “train”; validation is “validation”; test is “test”"


def test_data_of_the_hub_is_told_measured_and_replayed(
    data_hub: Hub,  # noqa: F811
    lay: Lay,  # noqa: F811
    writer: Path,  # noqa: F811
    ffmerge: Call,
    tmp_path: Path,
) -> None:
    lay(THREE)
    told = ffmerge("info", writer, "--data", "hf:someone/data")
    assert f"Splits: {SPLITS}" in told.stdout
    assert "Data: someone/data (" in told.stdout
    score = json.loads(ffmerge("evaluate", writer, "--data", "hf:someone/data", "--json").stdout)
    assert score["notes"]["splits"] == SPLITS
    recipe = tmp_path / "recipe.json"
    merged = (
        "merge", writer, "--data", "hf:someone/data", "--group", "decoder.0-1",
        "--method", "vanilla", "--recipe", recipe,
    )  # fmt: skip
    ffmerge(*merged)
    assert json.loads(recipe.read_text())["data"] == NAME
    data_hub.branches["main"] = OLDER  # the repository moves on
    again = json.loads(ffmerge("run", recipe, "--json").stdout)
    assert again["recipe"]["data"] == NAME


def test_a_name_that_leads_nowhere_is_a_sentence(
    data_hub: Hub,  # noqa: F811
    writer: Path,  # noqa: F811
    ffmerge: Call,
) -> None:
    said = ffmerge("info", writer, "--data", "wikitext-2")
    assert said.exit_code == 1
    assert "The hub knows no data set Salesforce/wikitext" in " ".join(said.stderr.split())
    said = ffmerge("info", writer, "--data", "hf:a/b?lable=x")
    assert "“lable” in hf:a/b?lable=x is not known" in " ".join(said.stderr.split())

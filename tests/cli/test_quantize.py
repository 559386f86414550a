"""merge --quantize: int8 after the merge, part of the recipe, and what a batch takes then."""

import json
from pathlib import Path

import pytest

from ffmerge_core.reporting.runs import RunStore
from tests.cli.conftest import Call
from tests.conftest import determined

MERGE = ("merge", "demo:vit-digits", "--group", "encoder.3,encoder.4", "--tokens", 2000)


def test_int8_is_part_of_the_recipe_and_of_what_is_exported(
    ffmerge: Call, store: RunStore, tmp_path: Path
) -> None:
    written, out = tmp_path / "recipe.json", tmp_path / "out"
    asked = (*MERGE, "--quantize", "int8", "--recipe", written, "--export", out)
    printed = ffmerge(*asked)
    assert printed.exit_code == 0, printed.stderr
    assert "Memory of the weights, part of them int8" in printed.stdout
    assert "Speed on this machine" in printed.stdout
    assert "Images a second" in printed.stdout
    assert "Quantisation" in printed.stdout, "among the steps and what they cost"
    (run,) = store.list()
    assert run.name == "Permute encoder 3–4, anchor first, int8"
    assert run.result is not None
    assert run.result["merged"]["n_parameters"] == 602_058 - 33_088
    assert 4 * run.result["merged"]["weight_bytes"] < 1.2 * run.result["original"]["weight_bytes"]
    assert json.loads(written.read_text())["quantize"] == "int8"
    again = json.loads(ffmerge("run", written, "--json").stdout)
    assert determined(again["result"]) == determined(run.result)
    score = json.loads(ffmerge("evaluate", out, "--json").stdout)
    assert score["loss"] == pytest.approx(run.result["merged"]["validation"]["loss"], abs=1e-12)
    assert "Weights of the blocks: int8" in ffmerge("info", out).stdout
    assert score["weight_bytes"] == run.result["merged"]["weight_bytes"]
    refused = ffmerge("export", "--recipe", written, tmp_path / "plain", "--layout", "portable")
    assert refused.exit_code == 1
    assert "timm cannot open int8 weights" in refused.stderr
    assert not (tmp_path / "plain").exists()


def test_other_quantisations_are_refused(ffmerge: Call, tmp_path: Path) -> None:
    assert ffmerge(*MERGE, "--quantize", "int4").exit_code == 2
    recipe = tmp_path / "recipe.json"
    plan = {"groups": [["encoder.3", "encoder.4"]]}
    for wrong, said in (
        ("int4", "quantize is 'int4'"),
        (8, "quantize is 8; plain text or null was expected"),
    ):
        recipe.write_text(json.dumps({"source": MERGE[1], "plan": plan, "quantize": wrong}))
        refused = ffmerge("run", recipe)
        assert refused.exit_code == 1
        assert said in refused.stderr

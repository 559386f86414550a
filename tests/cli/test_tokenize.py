"""--tokenize: how BLEU splits a translation, printed, kept in the recipe and replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ffmerge_core.plan import BLEU_TOKENIZERS
from tests.cli.conftest import Call
from tests.real_files import opus

GROUP = ("--group", "encoder.0,encoder.1", "--method", "vanilla")


@pytest.fixture
def model(tmp_path: Path) -> tuple[str, ...]:
    return str(opus.folder(tmp_path)), "--data", str(opus.pairs_file(tmp_path))


def test_a_score_says_its_tokenizer(model: tuple[str, ...], ffmerge: Call) -> None:
    said = ffmerge("evaluate", *model).stdout
    assert "BLEU's tokenizer: zh, by the target language zh, as the tokenizer's target_lang" in said
    told = json.loads(ffmerge("evaluate", *model, "--tokenize", "char", "--json").stdout)
    assert told["notes"]["BLEU's tokenizer"] == "char, as chosen"
    assert "tok:char" in told["notes"]["BLEU"]


def test_a_run_is_replayed_with_its_tokenizer(
    model: tuple[str, ...], ffmerge: Call, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.json"
    how = ("--tokenize", "char", "--recipe", recipe, "--json")
    made = json.loads(ffmerge("merge", *model, *GROUP, *how).stdout)
    assert made["recipe"]["tokenize"] == json.loads(recipe.read_text())["tokenize"] == "char"
    again = json.loads(ffmerge("run", recipe, "--json").stdout)
    scores = [each["result"]["merged"]["validation"] for each in (made, again)]
    assert scores[0] == scores[1]
    assert "tok:char" in scores[0]["notes"]["BLEU"]
    others = ffmerge("baselines", "--recipe", recipe, "--kind", "FF drop", "--json").stdout
    (baseline,) = json.loads(others)["baselines"]
    assert baseline["run"]["recipe"]["tokenize"] == "char"
    found = tmp_path / "best.json"
    searched = ("--remove", 1, "--stack", "encoder", "--method", "copy", "--tokenize", "char")
    ffmerge("search", *model, *searched, "--tokens", 50, "--recipe", found)
    assert json.loads(found.read_text())["tokenize"] == "char"


def test_a_tokenizer_that_does_not_fit_is_a_sentence(model: tuple[str, ...], ffmerge: Call) -> None:
    unknown = ffmerge("evaluate", *model, "--tokenize", "words")
    assert unknown.exit_code == 2
    said = " ".join(unknown.stderr.replace("│", " ").split())
    assert f"must be one of {', '.join(BLEU_TOKENIZERS)}" in said
    images = ffmerge("evaluate", "demo:vit-digits", "--tokenize", "zh")
    assert images.exit_code == 1
    assert "measured by accuracy. Leave it out" in " ".join(images.stderr.split())

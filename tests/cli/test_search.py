"""The verb `search`: the package's table, and a recipe that `run` carries out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ffmerge_core as fm
from ffmerge_core.plan import Recipe, plan_from_dict
from ffmerge_core.reporting.runs import RunStore
from tests.cli.conftest import Call

DEMO = "demo:vit-digits"
ASKED = ("search", DEMO, "--remove", 10, "--tokens", 500, "--seed", 2)


def test_json_is_the_package_s_table(ffmerge: Call, store: RunStore) -> None:
    done = ffmerge(*ASKED, "--method", "vanilla", "--method", "layer drop", "--json")
    found = json.loads(done.stdout)
    model = fm.load(DEMO)
    feats = fm.calibrate(model, 500, seed=2)
    table = fm.search_windows(model, feats, 10, methods=("vanilla", "layer drop"))
    assert [row["layers"] for row in found["windows"]] == list(table["layers"])
    assert [row["loss"] for row in found["windows"]] == list(table["loss"])
    assert [plan_from_dict(row["plan"]) for row in found["windows"]] == list(table["plan"])
    assert all(
        (row["mean CKA"] is None) == (row["method"] == "layer drop") for row in found["windows"]
    )
    assert found["original"] == fm.evaluate(model).summary()
    assert list(found["does_similarity_predict"]) == ["vanilla"]
    assert store.list() == [], "a search is no run"


def test_anchors_are_tried_together(ffmerge: Call) -> None:
    asked = (*ASKED, "--anchor", "last", "--anchor", "first", "--method", "copy", "--json")
    found = json.loads(ffmerge(*asked, "--method", "vanilla").stdout)
    assert sorted((row["method"], row["anchor"]) for row in found["windows"]) == [
        *[("copy", "first")] * 2, *[("copy", "last")] * 2, *[("vanilla", "")] * 2,
    ]  # fmt: skip
    assert set(found["does_similarity_predict"]) == {
        "copy, anchor first", "copy, anchor last", "vanilla",
    }  # fmt: skip


def test_the_best_is_first_and_its_recipe_can_be_run(ffmerge: Call, tmp_path: Path) -> None:
    file = tmp_path / "best.json"
    done = ffmerge(*ASKED, "--method", "permute", "--anchor", "last", "--recipe", file)
    header, first, second, original, said = done.stdout.splitlines()
    assert header.split()[:2] == ["Layers", "Method"]
    assert {first.split()[1], second.split()[1]} == {"0–10", "1–11"}
    assert original.startswith("The original has accuracy 98.6% (")
    assert said.startswith("Permute, anchor last: 2 windows are too few")
    recipe = Recipe.from_dict(json.loads(file.read_text()))
    start = int(first.split()[1].split("–")[0])
    assert recipe.plan == fm.MergePlan(
        (tuple(f"encoder.{index}" for index in range(start, start + 11)),), anchor="last"
    )
    assert (recipe.tokens, recipe.seed) == (500, 2)
    run = json.loads(ffmerge("run", file, "--json").stdout)
    value = run["result"]["merged"]["validation"]["value"]
    assert f"{100 * value:.1f}%" in first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--remove", 12), "12 FF sublayers cannot be removed from the 12 of encoder; 1 to 11"),
        (("--remove", 2, "--stack", "decoder"), "There is no stack 'decoder'"),
    ],
)
def test_what_cannot_be_searched_is_a_sentence_before_the_work(
    ffmerge: Call, monkeypatch: pytest.MonkeyPatch, options: tuple[Any, ...], said: str
) -> None:
    monkeypatch.setattr(fm.LoadedModel, "require_task", None)
    done = ffmerge("search", DEMO, *options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


def test_a_stack_must_be_named_where_there_are_two(ffmerge: Call) -> None:
    done = ffmerge("search", "demo:marian-en-fr", "--remove", 2)
    assert done.exit_code == 1
    assert "encoder and decoder; say which to search: encoder, decoder or both." in done.stderr


@pytest.mark.parametrize("options", [(), ("--remove", 0), ("--remove", 4, "--method", "best")])
def test_options_that_are_none_are_usage_errors(ffmerge: Call, options: tuple[Any, ...]) -> None:
    assert ffmerge("search", DEMO, *options).exit_code == 2

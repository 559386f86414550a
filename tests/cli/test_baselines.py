"""The verb `baselines`: the package's plans, as runs that Compare shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ffmerge_core as fm
from ffmerge_core.compression import running
from ffmerge_core.plan import METHODS, MergePlan, Recipe, Recovery, plan_from_dict
from ffmerge_core.reporting.runs import RunStore
from tests.cli.conftest import Call
from tests.conftest import determined, transformers_vit

DEMO = "demo:vit-digits"
# All but one: then few windows are to be tried.
PLAN = MergePlan((tuple(f"encoder.{index}" for index in range(12)),), "vanilla")


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "merge.json"
    file.write_text(json.dumps(Recipe(DEMO, PLAN, tokens=500, **changes).to_dict()))
    return file


def test_a_recipe_s_baselines_are_runs_like_it(
    ffmerge: Call, store: RunStore, tmp_path: Path
) -> None:
    recovery = Recovery(steps=2, batch_size=8)
    file = written(tmp_path, recovery=recovery, seed=2)
    options = ("--kind", "copy", "--kind", "SVD", "--kind", "control", "--json")
    done = ffmerge("baselines", DEMO, "--recipe", file, *options)
    found = json.loads(done.stdout)
    assert [each["kind"] for each in found["baselines"]] == ["copy", "SVD", "control"]
    runs = list(reversed(store.list(DEMO)))
    assert [each["run"]["id"] for each in found["baselines"]] == [run.id for run in runs]
    plans = fm.baselines(fm.load(DEMO), PLAN, ["copy", "SVD"])
    recipes = [Recipe.from_dict(run.recipe) for run in runs]
    assert [recipe.plan for recipe in recipes[:2]] == [plans["copy"], plans["SVD"]]
    assert recipes[2].plan.n_removed == 0
    assert {(recipe.recovery, recipe.seed, recipe.tokens) for recipe in recipes} == {
        (recovery, 2, 500)
    }
    left = 602_058 - 11 * 33_088
    assert (found["budget"], found["n_parameters"]) == (left, 602_058)
    assert found["left_out"] == {}
    # What is printed is a run that `ffmerge run` carries out again, to the last digit.
    again = tmp_path / "again.json"
    again.write_text(json.dumps(found["baselines"][0]["run"]))
    repeated = json.loads(ffmerge("run", again, "--json").stdout)
    assert runs[0].result is not None
    assert determined(repeated["result"]) == determined(runs[0].result)


def test_a_table_is_printed_and_what_is_there_is_not_made_again(
    ffmerge: Call, store: RunStore, tmp_path: Path
) -> None:
    asked = ("baselines", "--recipe", written(tmp_path), "--kind", "random", "--kind", "copy")
    first = ffmerge(*asked)
    titles, copied, drawn, said, budget = first.stdout.splitlines()
    assert titles.split()[:4] == ["Baseline", "Parameters", "Accuracy", "Loss"]
    assert copied.startswith("Copy encoder 0–11, anchor first")
    assert drawn.startswith("Random encoder 0–11 ")
    assert " 238,090 " in drawn
    assert "validation split" in said
    assert budget == "Budget: 238,090 of 602,058 parameters."
    assert "2 runs in the run history: " in first.stderr
    again = ffmerge(*asked)
    assert again.stdout == first.stdout
    assert "2 runs in the run history, of which 2 existed already" in again.stderr
    assert len(store.list()) == 2


def test_a_number_of_parameters_is_a_budget_and_what_cannot_meet_it_is_said(
    ffmerge: Call, store: RunStore, tmp_path: Path
) -> None:
    source = tmp_path / "mine"
    transformers_vit(depth=3).save_pretrained(source)
    model = fm.load(source)
    every = sum(sublayer.n_parameters for sublayer in model.sublayers)
    budget = model.n_parameters - every - 1
    done = ffmerge("baselines", source, "--parameters", budget, "--data", "digits", "--json")
    found = json.loads(done.stdout)
    assert [each["kind"] for each in found["baselines"]] == ["layer drop"]
    assert set(found["left_out"]) == set(METHODS) - {"permute", "layer drop"}
    assert "SVD is left out: it leaves" in done.stderr
    (run,) = store.list(str(source))
    plan = plan_from_dict(run.recipe["plan"])
    assert plan == fm.baselines(fm.load(source, task="digits"), budget)["layer drop"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--parameters", 900_000), "900,000 parameters cannot be reached by vanilla, copy"),
        (("--parameters", 5), "the model has 602,058. Ask for a number between that and"),
        (("--parameters", 400_000, "--kind", "permute"), "kind is 'permute'; it must be one of"),
    ],
)
def test_what_cannot_be_met_is_a_sentence_and_no_run(
    ffmerge: Call, store: RunStore, options: tuple[Any, ...], said: str
) -> None:
    done = ffmerge("baselines", DEMO, *options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr
    assert store.list() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((DEMO,), "One budget is needed. Give either --recipe FILE or --parameters N"),
        (("--parameters", 400_000), "Give SOURCE"),
        ((DEMO, "--recipe", "FILE", "--parameters", 400_000), "Give either --recipe FILE"),
        (
            ("demo:gpt2-code", "--recipe", "FILE"),
            "demo:vit-digits, not of demo:gpt2-code",
        ),
        (
            ("--recipe", "FILE", "--data", "digits"),
            "Leave out --data, --fidelity, --tokenize and --allow-bin",
        ),
        ((DEMO, "--recipe", "FILE", "--kind", "control"), "this recipe has no recovery"),
        ((DEMO, "--parameters", 0), "--parameters"),
        ((DEMO, "--recipe", "FILE", "--kind", "best"), "--kind"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(
    ffmerge: Call, tmp_path: Path, options: tuple[Any, ...], said: str
) -> None:
    file = written(tmp_path)
    done = ffmerge("baselines", *(file if each == "FILE" else each for each in options))
    assert done.exit_code == 2
    # Framed and wrapped by typer.
    words = " ".join(done.stderr.replace("│", " ").split())
    assert said in words or said.replace("-", "") in words.replace("-", "")


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
    ffmerge: Call, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = running.run, []

    def pressing(recipe: Recipe, *arguments: Any, **options: Any) -> fm.RunResult:
        asked.append(recipe.plan)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return run(recipe, *arguments, **options)

    monkeypatch.setattr(running, "run", pressing)
    verb = ("baselines", "--recipe", written(tmp_path), "--kind", "copy", "--kind", "random")
    done = ffmerge(*verb)
    assert done.exit_code == 130
    assert "1 of 2 baselines are done and kept" in done.stderr
    assert [each.status for each in store.list()] == ["cancelled", "done"]
    assert "of which 1 existed already" in ffmerge(*verb).stderr


def test_one_that_fails_is_named_and_the_others_are_shown(
    ffmerge: Call, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = running.run

    def failing(recipe: Recipe, *arguments: Any, **options: Any) -> fm.RunResult:
        if isinstance(recipe.plan, MergePlan) and recipe.plan.method == "copy":
            raise fm.FFMergeError("It ran out of luck.")
        return run(recipe, *arguments, **options)

    monkeypatch.setattr(running, "run", failing)
    verb = ("baselines", "--recipe", written(tmp_path), "--kind", "copy", "--kind", "random")
    done = ffmerge(*verb)
    assert done.exit_code == 1
    assert "copy: It ran out of luck." in done.stderr
    assert done.stdout.splitlines()[1].startswith("Random")
    assert [each.status for each in store.list()] == ["done", "failed"]

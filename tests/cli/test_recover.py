"""The verb `recover`: the package's recovery as a run, kept by one Ctrl-C and ended by two."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ffmerge_core as fm
from ffmerge_core.cli.terminal import CANCELLED
from ffmerge_core.compression import training
from ffmerge_core.plan import Curve, MergePlan, Recipe, Recovery
from ffmerge_core.reporting.runs import RunStore
from tests.cli.conftest import ROOT, Call, environment

# A process of its own imports torch anew, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)

PLAN = MergePlan((("encoder.4", "encoder.5", "encoder.6"),), method="vanilla")
RECIPE = Recipe("demo:vit-digits", PLAN, seed=2)
ASKED = ("--steps", 4, "--batch-size", 8)
OPTIONS = Recovery(4, batch_size=8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(RECIPE.to_dict()))
    return path


def left(home: Path) -> list[Path]:
    return sorted((home / "recoveries").glob("*"))


def test_json_is_the_package_s_recovery(
    ffmerge: Call, store: RunStore, home: Path, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "recovered.json"
    done = ffmerge("recover", file, *ASKED, "--recipe", out, "--json")
    found = json.loads(done.stdout)
    wanted = Recipe.from_dict(json.loads(out.read_text()))
    assert (wanted.recovery, wanted.plan, wanted.seed) == (OPTIONS, PLAN, 2)
    result = fm.run(wanted)
    assert result.curve is not None
    assert Curve.from_dict(found["result"]["recovery"]) == result.curve
    assert found["result"]["merged"]["validation"] == result.after.summary()
    assert found["recipe"] == wanted.to_dict() | {"plan": found["recipe"]["plan"]}
    (run,) = store.list()
    assert (run.status, run.name) == ("done", "Vanilla encoder 4–6, recovered")
    assert left(home) == []


def test_what_is_said_ends_with_how_it_ended_and_whom_it_is_compared_with(
    ffmerge: Call, file: Path
) -> None:
    done = ffmerge("recover", file, *ASKED, "--learning-rate", 10)
    *_, ended, change, original = done.stdout.splitlines()
    assert ended.startswith("Stopped after ")
    assert ended.endswith("Nothing was gained, so the weights of the start were kept.")
    before, after = change.removesuffix(".").split("; after it: ")
    assert after.split(", ")[0] in before
    assert original.startswith("The original was not fine-tuned")


def test_options_are_added_to_those_of_the_recipe(ffmerge: Call, tmp_path: Path) -> None:
    file, out = tmp_path / "recipe.json", tmp_path / "out.json"
    known = Recovery(2, 1e-4, 4, lora_rank=2)
    file.write_text(json.dumps({**RECIPE.to_dict(), "recovery": known.to_dict()}))
    done = ffmerge("recover", file, "--distill", "--batch-size", 8, "--seed", 7, "--recipe", out)
    assert done.exit_code == 0, done.stderr
    recipe = Recipe.from_dict(json.loads(out.read_text()))
    assert recipe.recovery == Recovery(2, 1e-4, 8, distill=True, lora_rank=2)
    assert recipe.seed == 7


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--learning-rate", 0), "learning rate is 0.0; it must be above 0"),
        (("--distill", "--fidelity"), "No such option"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_no_run(
    ffmerge: Call, store: RunStore, file: Path, options: tuple[Any, ...], said: str
) -> None:
    done = ffmerge("recover", file, *options)
    assert done.exit_code != 0
    assert said in done.stderr
    assert store.list() == []


def pressing(monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    """Ctrl-C, in those steps of the training."""
    train = training.Training._train

    def press(self: training.Training, batch: Any, report: Any) -> None:
        if self._step in steps:
            signal.raise_signal(signal.SIGINT)
        if self._step == steps[0] and len(steps) > 1:
            signal.raise_signal(signal.SIGINT)
        train(self, batch, report)

    monkeypatch.setattr(training.Training, "_train", press)


def test_one_ctrl_c_keeps_the_best_so_far(
    ffmerge: Call, store: RunStore, home: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    pressing(monkeypatch, 2)
    done = ffmerge("recover", file, *ASKED)
    assert done.exit_code == 0, done.stderr
    assert "Press Ctrl-C again" in done.stderr
    assert "Cancelled after 2 of 4 steps." in done.stdout
    assert [run.status for run in store.list()] == ["done"]
    assert left(home) == []
    assert signal.getsignal(signal.SIGINT) == before


def test_the_recipe_of_one_that_was_cancelled_repeats_it_or_begins_anew(
    ffmerge: Call, store: RunStore, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "cancelled.json"
    with monkeypatch.context() as pressed:
        pressing(pressed, 2)
        assert ffmerge("recover", file, *ASKED, "--recipe", out).exit_code == 0
    (first,) = store.list()
    assert json.loads(out.read_text()) == first.recipe
    again = json.loads(ffmerge("run", out, "--json").stdout)
    assert first.result is not None
    for part in ("recovery", "merged", "difference"):
        assert again["result"][part] == first.result[part]
    assert again["recipe"] == first.recipe
    whole = json.loads(ffmerge("recover", out, "--json").stdout)
    assert Curve.from_dict(whole["result"]["recovery"]).steps == 4


def test_two_end_it_and_the_next_call_goes_on(
    ffmerge: Call, store: RunStore, home: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as pressed:
        pressing(pressed, 2, 2)
        done = ffmerge("recover", file, *ASKED)
    assert done.exit_code == CANCELLED
    assert [run.status for run in store.list()] == ["cancelled"]
    assert len(left(home)) == 1
    again = ffmerge("recover", file, *ASKED, "--json")
    assert "Continuing from step 2 of 4." in again.stderr
    curve = Curve.from_dict(json.loads(again.stdout)["result"]["recovery"])
    assert curve.steps == 4
    assert [run.status for run in store.list()] == ["done", "cancelled"]
    assert left(home) == []


KILLED = """
import os, signal, sys
from ffmerge_core.cli import app
from ffmerge_core.compression.training import Training

train = Training._train

def kill(self, batch, report):
    if self._step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    train(self, batch, report)

Training._train = kill
app(prog_name="ffmerge")
"""


@pytest.mark.slow
def test_a_killed_one_goes_on_to_the_result_of_one_that_was_not(
    ffmerge: Call, store: RunStore, home: Path, file: Path
) -> None:
    arguments = ("recover", file, *ASKED, "--json")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, env=environment(home), timeout=600,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = ffmerge(*arguments)
    assert "Continuing from step 3 of 4." in again.stderr
    whole = ffmerge(*arguments)
    assert "Continuing" not in whole.stderr
    one, two = (json.loads(done.stdout)["result"] for done in (again, whole))
    assert (one["recovery"], one["merged"]) == (two["recovery"], two["merged"])
    assert [run.status for run in store.list()] == ["done", "done", "interrupted"]


def test_the_same_recovery_is_not_carried_out_twice_at_once(
    ffmerge: Call, store: RunStore, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pinned.json"
    assert ffmerge("recover", file, "--steps", 1, "--recipe", out).exit_code == 0
    recipe = json.loads(out.read_text())
    store.start(recipe, recipe["source"], "Another terminal", {})
    done = ffmerge("recover", out)
    assert (done.exit_code, "This recovery is already running" in done.stderr) == (1, True)

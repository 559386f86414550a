"""The verb `run` of a recipe with a recovery: kept by one Ctrl-C, gone on with after two."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ffmerge_core.cli.terminal import CANCELLED
from ffmerge_core.compression.resuming import underway
from ffmerge_core.plan import NOTHING_MERGED, Curve, MergePlan, Recipe, Recovery
from ffmerge_core.reporting.runs import RunStore
from tests.cli.conftest import ROOT, Call, environment
from tests.cli.test_processes import INTERRUPTIBLE
from tests.cli.test_recover import left, pressing

# A process of its own imports torch anew, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)

PLAN = MergePlan((("encoder.4", "encoder.5", "encoder.6"),), method="vanilla")
RECIPE = Recipe("demo:vit-digits", PLAN, seed=2, recovery=Recovery(4, batch_size=8))


def written(folder: Path, recipe: Recipe = RECIPE) -> Path:
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe.to_dict()))
    return path


def test_a_real_ctrl_c_keeps_the_best_so_far(home: Path, store: RunStore, tmp_path: Path) -> None:
    long = Recipe(RECIPE.source, PLAN, recovery=Recovery(2_000, batch_size=8))
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "run", str(written(tmp_path, long)), "--final"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(home),
    ) as working:  # fmt: skip
        while working.poll() is None and not any(underway(folder) for folder in left(home)):
            time.sleep(0.05)
        working.send_signal(signal.SIGINT)
        out, said = working.communicate(timeout=300)
    assert working.returncode == 0, said
    assert "Press Ctrl-C again" in said
    assert "The test split was not scored" in said
    assert "of 2000 steps." in out
    (run,) = store.list()
    assert run.result is not None
    assert (run.status, run.result["recovery"]["stopped"]) == ("done", "cancelled")
    assert "test" not in run.result["merged"]
    assert left(home) == []


def test_two_end_it_and_the_same_command_goes_on(
    ffmerge: Call, store: RunStore, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path)
    with monkeypatch.context() as pressed:
        pressing(pressed, 2, 2)
        done = ffmerge("run", file)
    assert done.exit_code == CANCELLED
    assert [run.status for run in store.list()] == ["cancelled"]
    assert len(left(home)) == 1
    again = ffmerge("run", file, "--json")
    assert "Continuing from step 2 of 4." in again.stderr
    assert Curve.from_dict(json.loads(again.stdout)["result"]["recovery"]).steps == 4
    assert [run.status for run in store.list()] == ["done", "cancelled"]
    assert left(home) == []


def test_the_original_tuned_alike_says_that_nothing_was_merged(
    ffmerge: Call, store: RunStore, tmp_path: Path
) -> None:
    control = Recipe(RECIPE.source, NOTHING_MERGED, recovery=Recovery(2, batch_size=8))
    done = ffmerge("run", written(tmp_path, control))
    assert done.exit_code == 0, done.stderr
    said = "Nothing was merged, so this shows what fine-tuning gains alone."
    assert done.stdout.splitlines()[-1] == said
    parameters = next(line for line in done.stdout.splitlines() if line.startswith("Parameters"))
    assert parameters.split() == ["Parameters", "602,058", "602,058", "none"]
    (run,) = store.list()
    assert run.name == "Original, nothing merged, recovered"


def test_what_each_step_cost_is_printed_and_in_the_json(
    ffmerge: Call, store: RunStore, tmp_path: Path
) -> None:
    done = ffmerge("run", written(tmp_path))
    (run,) = store.list()
    assert run.result is not None
    table = done.stdout.splitlines()
    start = next(n for n, line in enumerate(table) if line.startswith("What it cost"))
    recovery = next(line for line in table[start:] if line.startswith("Recovery"))
    assert recovery.split() == [
        "Recovery", f"{run.seconds['recover']:.1f}",
        f"{run.result['memory']['recover'] / 1e6:,.0f}", "MB",
    ]  # fmt: skip
    assert "libraries and everything that was loaded" in done.stdout
    assert "continued after a stop" in done.stdout
    speed = next(line for line in table if line.startswith("Images a second"))
    timed = run.result["latency"]
    assert speed.split()[-2:] == [
        f"{timed[side]['per_second']:,.1f}" for side in ("original", "merged")
    ]
    printed = json.loads(ffmerge("run", written(tmp_path), "--json").stdout)
    assert set(printed["result"]["memory"]) == set(printed["seconds"])

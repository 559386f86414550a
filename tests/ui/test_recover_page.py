"""The Recover page: a recovery started, watched, cancelled, killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ffmerge_core.compression import training
from ffmerge_core.errors import Cancelled
from ffmerge_core.plan import Curve, Recipe, Recovery
from ffmerge_core.reporting.run import Run
from pages._ui.state.shared import history, job_registry, run_store, shelf
from pages._ui.state.shelf import Shelf
from tests.ui.pages_support import (
    DEMO,
    ROOT,
    go,
    id_of,
    metrics,
    open_app,
    press,
    sentences,
    with_run,
)

# A process of its own imports torch anew, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)

STEPS = 4
ORIGINAL = "Original, nothing merged"


def set_up(tab: AppTest, steps: int = STEPS, rate: float = 3e-4) -> AppTest:
    go(tab, "recover")
    tab.number_input(key="recover_steps").set_value(steps)
    tab.number_input(key="recover_rate").set_value(rate)
    tab.number_input(key="recover_batch").set_value(8)
    return tab.run()


def curve_of(run: Run) -> Curve:
    assert run.result is not None
    return Curve.from_dict(run.result["recovery"])


@contextmanager
def cancelled_at(tab: AppTest, step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Someone presses Cancel in that step of the training."""
    train = training.Training._train

    def pressing(self: training.Training, batch: Any, report: Any) -> None:
        if self._step == step:
            for job in job_registry().active(id_of(tab)):
                job_registry().cancel(job.id)
        train(self, batch, report)

    with monkeypatch.context() as patched:
        patched.setattr(training.Training, "_train", pressing)
        yield


def folders(home: Path) -> list[Path]:
    return sorted((home / "recoveries").glob("*"))


def test_without_runs_the_page_leads_to_merging() -> None:
    tab = open_app("recover")
    assert "No merge of this model has been run yet" in sentences(tab)
    assert tab.get("page_link")[0].proto.label == "Merge"


def test_a_recovery_is_a_run_of_its_own_and_shows_what_it_won(home: Path) -> None:
    tab = press(set_up(with_run()), "Recover")
    recovered, merged = run_store().list(DEMO)
    recipe = Recipe.from_dict(recovered.recipe)
    assert recipe.recovery == Recovery(STEPS, 3e-4, 8)
    assert recipe.plan == Recipe.from_dict(merged.recipe).plan
    assert (recovered.status, recovered.name) == ("done", f"{merged.name}, recovered")
    curve = curve_of(recovered)
    assert curve.in_words in sentences(tab)
    shown = metrics(tab)
    assert shown["Accuracy of the original"] == "98.6%"
    assert shown["Before the recovery"] == f"{100 * curve.points[0].value:.1f}%"
    assert merged.result is not None
    assert curve.points[0].loss == pytest.approx(merged.result["merged"]["validation"]["loss"])
    assert "was not fine-tuned" in sentences(tab)
    assert tab.table[0].value.loc["Parameters", "Merged"] == "568,970"
    assert tab.get("page_link")[0].proto.label.startswith("Compare")
    figure = json.loads(tab.get("plotly_chart")[0].proto.spec)
    assert [trace["name"] for trace in figure["data"]][:2] == ["training loss", "validation loss"]
    assert folders(home) == [], "a recovery that ended well leaves no checkpoint"
    assert tab.selectbox[0].options == [merged.name, ORIGINAL], (
        "a recovered run is no plan of its own"
    )


def test_reductions_are_recovered_too_with_the_chosen_options() -> None:
    import ffmerge_core as fm
    from ffmerge_core.compression.running import fixed
    from ffmerge_core.plan import DropLayers
    from ffmerge_core.reporting.recording import record

    model = fm.load(DEMO)
    dropped = fixed(Recipe(DEMO, DropLayers(("encoder.4", "encoder.5"))), model)
    record(run_store(), dropped, "Two layers less", lambda recipe, report: fm.run(recipe, report))
    tab = set_up(open_app("recover"), steps=2)
    assert tab.selectbox[0].options == ["Two layers less", ORIGINAL]
    tab.toggle(key="recover_distill").set_value(True)
    tab.number_input(key="recover_rank").set_value(4)
    tab.number_input(key="recover_seed").set_value(3).run()
    assert "distilled from the original, LoRA of rank 4" in sentences(tab)
    press(tab, "Recover")
    recovered = run_store().list(DEMO)[0]
    recipe = Recipe.from_dict(recovered.recipe)
    assert recipe.recovery == Recovery(2, 3e-4, 8, distill=True, lora_rank=4)
    assert (recipe.seed, recipe.plan) == (3, dropped.plan)
    assert curve_of(recovered).in_words in sentences(tab)


def test_cancel_keeps_the_best_so_far_and_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = set_up(with_run())
    with cancelled_at(tab, 2, monkeypatch):
        press(tab, "Recover")
    (recovered, _) = run_store().list(DEMO)
    curve = curve_of(recovered)
    assert (recovered.status, curve.stopped, curve.steps) == ("done", "cancelled", 2)
    assert "Cancelled after 2 of 4 steps." in sentences(tab)
    assert folders(home) == []


def test_cancel_while_a_run_is_made_again_puts_no_other_model_under_it() -> None:
    press(set_up(with_run()), "Recover")
    run = run_store().list(DEMO)[0]
    recipe, shelf = Recipe.from_dict(run.recipe), Shelf()

    def cancel(step: int, total: int, message: str, values: object = None) -> None:
        if message.startswith("Recovering: step 3"):
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        shelf.reload(run.id, recipe, cancel)
    with pytest.raises(Cancelled):
        shelf.final_score(run.id, recipe, run_store(), cancel)
    assert shelf.results.get(run.id) is None
    assert run_store().get(run.id).result == run.result


def test_a_rate_that_diverges_is_told_and_the_start_kept() -> None:
    tab = press(set_up(with_run(), rate=10.0), "Recover")
    curve = curve_of(run_store().list(DEMO)[0])
    assert (curve.stopped, curve.best_step) == ("diverged", 0)
    assert "Take a smaller learning rate." in sentences(tab)
    assert metrics(tab)["After the recovery"] == metrics(tab)["Before the recovery"]


KILLED = """
import os, signal, sys
from pathlib import Path
import ffmerge_core as fm
from ffmerge_core.plan import Recipe
from ffmerge_core.reporting.recoveries import record_recovery
from ffmerge_core.reporting.runs import RunStore
import json

recipe = Recipe.from_dict(json.loads(sys.argv[1]))

def report(step, total, message, values=None):
    if "step 3 of" in message and values and "training loss" in values:
        os.kill(os.getpid(), signal.SIGKILL)

record_recovery(
    RunStore(Path(sys.argv[2])),
    recipe,
    lambda recipe, report, folder: fm.run(recipe, report, folder=folder),
    report,
)
"""


def kill_one(home: Path, recipe: Mapping[str, Any]) -> None:
    """A recovery of this recipe whose server is killed in its third step."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(recipe), str(home)],
        cwd=ROOT,
        env=os.environ.copy(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
def test_a_killed_recovery_is_offered_again_and_goes_on_to_the_same_curve(home: Path) -> None:
    tab = press(set_up(with_run()), "Recover")
    whole = run_store().list(DEMO)[0]
    kill_one(home, whole.recipe)
    assert len(folders(home)) == 1
    history.clear()
    shelf.clear()
    again = go(open_app("recover", id_of(tab)), "recover")
    killed, *before = run_store().list(DEMO)
    assert (killed.status, len(before)) == ("interrupted", 2), "the history is intact"
    assert "What it had learnt by step 2 of 4 is kept" in sentences(again)
    press(again, "Continue from step 2")
    resumed = run_store().list(DEMO)[0]
    assert resumed.status == "done"
    assert curve_of(resumed) == curve_of(whole)
    assert "interrupted" not in sentences(again)
    assert folders(home) == []


@pytest.mark.slow
def test_a_killed_recovery_can_be_given_up(home: Path) -> None:
    tab = set_up(with_run())
    (merged,) = run_store().list(DEMO)
    kill_one(home, {**merged.recipe, "recovery": Recovery(STEPS, batch_size=8).to_dict()})
    history.clear()
    tab.run()
    press(tab, "Discard it")
    assert folders(home) == []
    assert [run.status for run in run_store().list(DEMO)] == ["interrupted", "done"]
    assert not any(button.label.startswith("Go on") for button in tab.button)


def test_while_it_runs_the_page_shows_its_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    tab = set_up(with_run())
    train = training.Training._train

    def slow(self: training.Training, batch: Any, report: Any) -> None:
        time.sleep(0.3)
        train(self, batch, report)

    monkeypatch.setattr(training.Training, "_train", slow)
    next(button for button in tab.button if button.label == "Recover").click()
    tab.run()
    deadline = time.monotonic() + 60
    while not tab.get("plotly_chart") and time.monotonic() < deadline:
        time.sleep(0.2)
        tab.run()
    assert job_registry().active(id_of(tab)), "it was seen while it ran"
    figure = json.loads(tab.get("plotly_chart")[0].proto.spec)
    assert "kept" not in [trace["name"] for trace in figure["data"]]
    assert any(button.label == "Cancel" for button in tab.button)
    assert next(button for button in tab.button if button.label == "Recover").disabled

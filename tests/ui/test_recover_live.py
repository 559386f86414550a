"""A recovery while it runs, and after the server stopped in the middle of it."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest

from ffmerge_core.compression import training
from ffmerge_core.plan import Recipe, Recovery
from ffmerge_core.progress import silent
from pages._ui.recover.live import MOST, StepLosses
from pages._ui.state.shared import history, job_registry, run_store, workspace_store
from tests.ui.pages_support import DEMO, go, id_of, open_app, sentences, with_run
from tests.ui.test_recover_page import kill_one, set_up

pytestmark = pytest.mark.timeout(900)


def test_the_loss_of_each_step_is_heard_in_its_order_from_a_checkpoint_on() -> None:
    heard = StepLosses(before=40)
    report = heard.listening(silent)
    report(0, 1, "step 40 of 200", {"validation loss": 0.5, "accuracy": 0.9})
    for step in (41, 42):
        report(0, 1, f"step {step} of 200", {"training loss": 1 / step})
        report(0, 1, "no values")
    assert heard.points == ((41, 1 / 41), (42, 1 / 42))


def test_a_long_recovery_keeps_as_many_points_as_a_screen_shows() -> None:
    heard = StepLosses()
    for step in range(1, 10 * MOST + 1):
        heard.add(float(step))
        assert len(heard.points) <= MOST
    steps = [step for step, _ in heard.points]
    assert [float(step) for step in steps] == [loss for _, loss in heard.points]
    gaps = {after - before for before, after in pairwise(steps)}
    assert len(gaps) == 1, "evenly over all of it"
    assert steps[-1] > 9.9 * MOST


def test_a_report_that_cancels_is_passed_on_and_its_step_is_not_drawn() -> None:
    heard = StepLosses()

    def cancelling(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        heard.listening(cancelling)(1, 2, "step 1", {"training loss": 1.0})
    assert heard.points == ()


def test_the_curve_grows_step_by_step_between_two_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    tab = set_up(with_run(), steps=40)
    train = training.Training._train

    def slow(self: training.Training, batch: Any, report: Any) -> None:
        time.sleep(0.3)
        train(self, batch, report)

    monkeypatch.setattr(training.Training, "_train", slow)
    next(button for button in tab.button if button.label == "Recover").click()
    tab.run()
    drawn: list[int] = []
    deadline = time.monotonic() + 60
    while len(drawn) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        tab.run()
        for chart in tab.get("plotly_chart"):
            traces = {trace["name"]: trace for trace in json.loads(chart.proto.spec)["data"]}
            points = len(traces["validation loss"]["x"])
            known = len(traces.get("training loss, each step", {"x": []})["x"])
            if points == 1 and known and known not in drawn:
                drawn.append(known)
    assert 0 < drawn[0] < drawn[1] < 4, "before the first check after the start"
    for job in job_registry().active(id_of(tab)):
        job_registry().cancel(job.id)


def test_after_the_server_stopped_one_message_says_what_happened_and_what_to_do(home: Any) -> None:
    tab = set_up(with_run())
    (merged,) = run_store().list(DEMO)
    recipe = Recipe.from_dict(merged.recipe)
    assert recipe.recovery is None
    kill_one(home, {**merged.recipe, "recovery": Recovery(4, batch_size=8).to_dict()})
    # As this tab's server would have left it.
    workspace_store().find(id_of(tab)).job_started("recover")
    history.clear()
    again = go(open_app("recover", id_of(tab)), "recover")
    said = sentences(again)
    assert said.count("interrupted") == 1
    assert "because the server or the program that ran it stopped" in said
    assert "What it had learnt by step 2 of 4 is kept, and it can continue from there." in said
    assert [warning.value for warning in again.warning] == []
    assert {"Continue from step 2", "Discard it"} <= {button.label for button in again.button}


def test_one_that_stopped_before_its_first_check_is_told_as_any_job_is() -> None:
    tab = set_up(with_run())
    workspace_store().find(id_of(tab)).job_started("recover")
    tab.run()
    assert ["Start it again" in warning.value for warning in tab.warning] == [True]

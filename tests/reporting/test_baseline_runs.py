"""Baselines as runs: alike but for the plan, kept as each is over, gone on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ffmerge_core as fm
from ffmerge_core.compression import training
from ffmerge_core.compression.resuming import underway
from ffmerge_core.compression.running import fixed
from ffmerge_core.errors import Cancelled, Interrupted, PlanError
from ffmerge_core.plan import NOTHING_MERGED, DropFF, MergePlan, Recipe, Recovery
from ffmerge_core.progress import silent
from ffmerge_core.reporting.baseline_runs import CONTROL, Carried, recipes, record_baselines
from ffmerge_core.reporting.recoveries import folder_of
from ffmerge_core.reporting.runs import RunStore
from tests.conftest import noise_task, timm_vit

GROUPS = (("encoder.0", "encoder.1"),)
PLANS = {"copy": MergePlan(GROUPS, "copy"), "FF drop": DropFF(("encoder.3",))}


@pytest.fixture(scope="module")
def model() -> fm.LoadedModel:
    return fm.load(timm_vit(depth=4), task=noise_task())


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def like(model: fm.LoadedModel, **changes: Any) -> Recipe:
    return fixed(Recipe(model.source, MergePlan(GROUPS), **changes), model)


def running(model: fm.LoadedModel) -> Callable[..., fm.RunResult]:
    return lambda recipe, report, folder: fm.run(recipe, report, model=model, folder=folder)


TUNED = {"recovery": Recovery(steps=2, batch_size=8), "quantize": "int8", "seed": 3, "tokens": 200}


def test_all_is_as_in_the_recipe_but_the_plan(model: fm.LoadedModel) -> None:
    found = recipes(PLANS, like(model, **TUNED))
    assert list(found) == ["copy", "FF drop", CONTROL]
    assert [each.plan for each in found.values()] == [*PLANS.values(), NOTHING_MERGED]
    for each in found.values():
        assert fm.Recipe(**{**vars(each), "plan": MergePlan(GROUPS)}) == like(model, **TUNED)
    assert list(recipes(PLANS, like(model))) == ["copy", "FF drop"], "nothing is tuned"
    assert CONTROL not in recipes(PLANS, like(model, **TUNED), control=False)


def test_each_is_a_run_with_the_numbers_of_its_recipe(
    model: fm.LoadedModel, store: RunStore
) -> None:
    done = list(record_baselines(store, recipes(PLANS, like(model, **TUNED)), running(model)))
    assert [each.kind for each in done] == ["copy", "FF drop", CONTROL]
    assert [run.id for run in reversed(store.list())] == [each.run.id for each in done if each.run]
    for each in done:
        assert each.run is not None
        recipe = Recipe.from_dict(each.run.recipe)
        assert recipe.recovery == TUNED["recovery"]
        again = fm.run(recipe, model=model)
        assert each.run.result is not None
        assert each.run.result["merged"]["validation"] == again.after.summary()
        assert each.run.result["recovery"]["asked"] == 2
        assert each.run.result["quantized"] > 0
    assert done[-1].run is not None
    assert done[-1].run.name == "Original, nothing merged, recovered, int8"


def test_what_is_there_is_not_made_again(model: fm.LoadedModel, store: RunStore) -> None:
    wanted = recipes(PLANS, like(model))
    first = list(record_baselines(store, wanted, running(model)))
    again = list(record_baselines(store, wanted, running(model)))
    assert again == [Carried(each.kind, each.run, again=True) for each in first]
    older = {kind: replace(recipe, python="3.0.0") for kind, recipe in wanted.items()}
    assert list(record_baselines(store, older, running(model))) == again, "the data are the same"
    assert len(store.list()) == 2
    store.delete([store.list()[0].id])
    assert [each.again for each in record_baselines(store, wanted, running(model))] == [True, False]


def test_one_that_fails_is_told_and_does_not_stop_the_others(
    model: fm.LoadedModel, store: RunStore
) -> None:
    def failing(recipe: Recipe, report: Any, folder: Path | None) -> fm.RunResult:
        if recipe.plan == PLANS["copy"]:
            raise PlanError("This cannot be.")
        return fm.run(recipe, report, model=model)

    copied, dropped = record_baselines(store, recipes(PLANS, like(model)), failing)
    assert copied == Carried("copy", None, "This cannot be.")
    assert dropped.run is not None
    assert [run.status for run in store.list()] == ["done", "failed"]


@pytest.mark.parametrize("raised", [Cancelled, Interrupted])
def test_a_recovery_that_is_ended_is_no_baseline_and_is_gone_on_with(
    model: fm.LoadedModel,
    store: RunStore,
    monkeypatch: pytest.MonkeyPatch,
    raised: type[Cancelled],
) -> None:
    recovery = Recovery(steps=6, batch_size=8)
    wanted = recipes(PLANS, like(model, recovery=recovery), control=False)
    train, steps, ended = training.Training._train, [], [False]

    def noting(self: training.Training, batch: Any, report: Any) -> None:
        steps.append(self._step)
        train(self, batch, report)

    def report(step: int, total: int, message: str, values: object = None) -> None:
        # In the middle of the second of the two.
        ended[0] |= "FF drop" in message and "step 4" in message
        if ended[0]:
            raise raised("Enough.")

    monkeypatch.setattr(training.Training, "_train", noting)
    with pytest.raises(raised):
        list(record_baselines(store, wanted, running(model), report))
    status = {Cancelled: "cancelled", Interrupted: "running"}[raised]
    assert [run.status for run in store.list()] == [status, "done"]
    known = underway(folder_of(store, wanted["FF drop"]))
    assert known is not None
    assert known.step == 4
    if raised is Interrupted:
        store.cancel(store.list()[0].id)  # as the next server does
    steps.clear()
    copied, dropped = record_baselines(store, wanted, running(model), silent)
    assert (copied.again, dropped.again) == (True, False)
    assert steps[0] == 4, "the rest alone"
    assert dropped.run is not None
    assert dropped.run.result is not None
    whole = fm.run(wanted["FF drop"], model=model)
    assert dropped.run.result["merged"]["validation"] == whole.after.summary()

"""A recovery as part of a recipe: stored, carried out, cancelled, recorded."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import ffmerge_core as fm
from ffmerge_core import extras
from ffmerge_core.compression.running import fixed
from ffmerge_core.errors import Cancelled, Interrupted, PlanError
from ffmerge_core.models.structure import fingerprint
from ffmerge_core.plan import Curve, Recovery
from ffmerge_core.progress import Report
from ffmerge_core.storage.record import recovery_in
from tests.conftest import determined, noise_task, timm_vit
from tests.tasks import texts

PLAN = fm.MergePlan((("encoder.0", "encoder.1"),), method="vanilla")


@pytest.fixture
def model() -> fm.LoadedModel:
    return fm.load(timm_vit(), task=noise_task())


def recipe(model: fm.LoadedModel, **options: object) -> fm.Recipe:
    recovery = fm.Recovery(**{"steps": 10, "batch_size": 6} | options)  # type: ignore[arg-type]
    return fm.Recipe(model.source, PLAN, seed=4, recovery=recovery)


def test_a_recipe_carries_it(model: fm.LoadedModel) -> None:
    wanted = recipe(model, lora_rank=3, distill=True)
    assert fm.Recipe.from_dict(json.loads(json.dumps(wanted.to_dict()))) == wanted
    old = wanted.to_dict()
    del old["recovery"]  # as recipes were written before
    assert fm.Recipe.from_dict(old).recovery is None
    with pytest.raises(PlanError, match="Recovery has no field 'epochs'"):
        fm.Recipe.from_dict({**old, "recovery": {"epochs": 3}})
    with pytest.raises(PlanError, match="steps is '5'"):
        fm.Recipe.from_dict({**old, "recovery": {"steps": "5"}})


@pytest.mark.parametrize("options", [{}, {"distill": True}, {"lora_rank": 2}])
def test_a_run_carries_it_out_between_merge_and_score(
    options: dict[str, object], model: fm.LoadedModel
) -> None:
    result = fm.run(recipe(model, **options), model=model)
    by_hand = fm.recover(
        fm.apply(model, PLAN), steps=10, batch_size=6, seed=4, original=model, **options
    )  # type: ignore[arg-type]
    assert fingerprint(result.merged.model) == fingerprint(by_hand.model)
    assert result.after.loss == fm.evaluate(by_hand).loss
    record = json.loads(json.dumps(result.record()))
    assert by_hand.curve is not None
    assert Curve.from_dict(record["recovery"]) == result.curve == by_hand.curve
    assert record["merged"]["n_parameters"] == by_hand.n_parameters
    assert result.seconds["recover"] > 0
    assert result.recipe == fixed(recipe(model, **options), model)
    assert determined(fm.run(result.recipe, model=model).record()) == determined(record)


def test_the_largest_seed_draws_too(model: fm.LoadedModel) -> None:
    largest = 2**63 - 1
    plan = fm.MergePlan(PLAN.groups, method="random", seed=largest)
    result = fm.run(
        fm.Recipe(model.source, plan, seed=largest, recovery=Recovery(1, batch_size=6)), model=model
    )
    assert result.curve is not None
    assert result.curve.stopped == "finished"


def test_without_one_the_record_says_so(model: fm.LoadedModel) -> None:
    assert fm.run(fm.Recipe(model.source, PLAN), model=model).record()["recovery"] is None


def cancelling(said: str) -> Report:
    """Cancel pressed at a message, and heard from then on."""
    pressed = False

    def stop(step: int, total: int, message: str, values: object = None) -> None:
        nonlocal pressed
        pressed = pressed or message == f"Recovering: {said}"
        if pressed:
            raise Cancelled("Cancelled.")

    return stop


def test_cancelling_it_scores_what_it_came_to(model: fm.LoadedModel) -> None:
    result = fm.run(recipe(model), cancelling("step 3 of 10"), model=model)
    assert result.curve is not None
    assert (result.curve.stopped, result.curve.steps) == ("cancelled", 2)
    assert result.after.loss == min(point.loss for point in result.curve.points)
    assert result.recipe.recovery == Recovery(10, batch_size=6, until=2)


def test_what_the_rounding_needs_is_asked_for_before_the_recovery(
    model: fm.LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listen(step: int, total: int, message: str, values: object = None) -> None:
        assert not message.startswith("Recovering")

    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(PlanError, match=r"pip install \"ffmerge\[llm-int8\]"):
        fm.run(replace(recipe(model), quantize="llm.int8"), listen, model=model)


def test_a_stopping_process_leaves_a_checkpoint(model: fm.LoadedModel, tmp_path: Path) -> None:
    def stop(step: int, total: int, message: str, values: object = None) -> None:
        if message == "Recovering: step 3 of 10":
            raise Interrupted("Stopping.")

    whole = fm.run(recipe(model), model=model)
    with pytest.raises(Interrupted):
        fm.run(recipe(model), stop, model=model, folder=tmp_path)
    again = fm.run(recipe(model), model=model, folder=tmp_path)
    assert determined(again.record()) == determined(whole.record())


def test_progress_rises_to_the_end(model: fm.LoadedModel) -> None:
    shares: list[float] = []

    def listen(step: int, total: int, message: str, values: object = None) -> None:
        shares.append(step / total)

    fm.run(recipe(model), listen, model=model)
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize("layout", ["compact", "portable"])
def test_a_recovered_model_is_saved_with_its_ties(layout: str, tmp_path: Path) -> None:
    task = texts.language_task()
    model = fm.load(texts.gpt2(task.tokenizer, task.context), task=task)
    plan = fm.MergePlan((("decoder.0", "decoder.1"),), method="vanilla")
    tuned = fm.recover(fm.apply(model, plan), steps=3, learning_rate=1e-2, batch_size=6)
    asked = fm.Recipe(model.source, plan, recovery=Recovery(3, 1e-2, 6))
    fm.save(tuned, tmp_path / "saved", layout, asked)  # type: ignore[arg-type]
    again = fm.load(tmp_path / "saved", task=task)
    assert recovery_in(again.settings) == asked.recovery
    assert recovery_in(model.settings) is None
    assert again.n_parameters == tuned.n_parameters
    assert fm.evaluate(again).loss == fm.evaluate(tuned).loss

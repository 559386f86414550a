"""A recipe is enough to replay a number."""

import json

import pytest
import torch

import ffmerge_core as fm
from ffmerge_core.errors import Cancelled, PlanError
from ffmerge_core.models.structure import weights_by_role

PLAN = fm.MergePlan((("encoder.0", "encoder.1"),))


def recipe(model: fm.LoadedModel, **changes: object) -> fm.Recipe:
    values = {"source": model.source, "plan": PLAN, "tokens": 200, "revision": model.revision}
    return fm.Recipe(**values | changes)  # type: ignore[arg-type]


def test_the_record_has_every_figure(model: fm.LoadedModel) -> None:
    result = fm.run(recipe(model), model=model)
    record = json.loads(json.dumps(result.record()))
    size = model.sublayers[0].n_parameters
    assert record["original"]["n_parameters"] - record["merged"]["n_parameters"] == size
    assert record["original"]["weight_bytes"] - record["merged"]["weight_bytes"] == 4 * size
    assert record["merged"]["validation"]["n"] == 30
    difference = record["difference"]["validation"]
    change = record["merged"]["validation"]["loss"] - record["original"]["validation"]["loss"]
    assert difference["loss"] == pytest.approx(change)
    (pair,) = record["pairs"]
    assert (pair["anchor"], pair["sublayer"]) == ("encoder.0", "encoder.1")
    assert -1 <= pair["before"] < pair["after"] <= 1
    assert record["n_tokens"] == 200
    assert result.peak_memory > 0
    assert {"calibrate", "merge", "evaluate"} <= result.seconds.keys()
    assert torch.__version__.startswith(result.versions["torch"])
    assert "test" not in record["merged"], "the test split is scored only when asked for"


def test_the_same_recipe_gives_the_same_numbers(model: fm.LoadedModel) -> None:
    wanted = recipe(model)
    feats = fm.calibrate(model, tokens=200)
    first = fm.run(wanted, model=model)
    again = fm.run(fm.Recipe.from_dict(wanted.to_dict()), model=model, feats=feats)
    assert first.after.loss == again.after.loss
    assert first.record() == again.record()
    assert "calibrate" not in again.seconds


def test_features_of_another_seed_are_not_used(model: fm.LoadedModel) -> None:
    other = fm.calibrate(model, tokens=200, seed=5)
    result = fm.run(recipe(model), model=model, feats=other)
    assert result.feats is not other
    assert result.feats is not None
    assert result.feats.seed == 0


def test_other_weights_than_the_recipes_are_refused(model: fm.LoadedModel) -> None:
    with torch.no_grad():
        weights_by_role(model.model, model.sublayers[0])["in.bias"].add_(1)
    changed = fm.load(model.model, task=model.task)
    with pytest.raises(PlanError, match="holds other weights now"):
        fm.run(recipe(model), model=changed)


def test_progress_rises_to_the_end_and_cancel_stops_at_once(model: fm.LoadedModel) -> None:
    shares: list[float] = []

    def listen(step: int, total: int, message: str, values: object = None) -> None:
        shares.append(step / total)

    fm.run(recipe(model), listen, model=model)
    assert shares == sorted(shares)
    assert shares[-1] == 1

    def stop(step: int, total: int, message: str, values: object = None) -> None:
        calls.append(step)
        if len(calls) == 2:
            raise Cancelled("stop")

    calls: list[int] = []
    with pytest.raises(Cancelled):
        fm.run(recipe(model), stop, model=model)
    assert len(calls) == 2

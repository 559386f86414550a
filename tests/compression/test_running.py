"""A recipe is enough to replay a number."""

import json
import platform
from dataclasses import replace

import pytest
import torch

import ffmerge_core as fm
from ffmerge_core import demos
from ffmerge_core.compression.running import fixed
from ffmerge_core.errors import Cancelled, PlanError
from ffmerge_core.models.structure import weights_by_role
from ffmerge_core.tasks import language_modeling, translation
from tests.conftest import determined

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
    steps = {"load", "calibrate", "align", "merge", "evaluate", "time"}
    assert result.seconds.keys() == result.memory.keys() == record["memory"].keys() == steps
    assert torch.__version__.startswith(result.versions["torch"])
    assert "test" not in record["merged"], "the test split is scored only when asked for"


def test_the_same_recipe_gives_the_same_numbers(model: fm.LoadedModel) -> None:
    wanted = recipe(model)
    feats = fm.calibrate(model, tokens=200)
    first = fm.run(wanted, model=model)
    again = fm.run(fm.Recipe.from_dict(wanted.to_dict()), model=model, feats=feats)
    assert first.after.loss == again.after.loss
    assert determined(first.record()) == determined(again.record())
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
    with pytest.raises(PlanError, match=r"weights of .* have changed since this recipe"):
        fm.run(recipe(model), model=changed)


def test_what_was_carried_out_is_written_down(model: fm.LoadedModel) -> None:
    written = fm.run(recipe(model, revision=None), model=model).recipe
    assert written == fixed(recipe(model), model)
    assert written.revision == model.revision
    assert written.data_revision == model.require_task().revision
    assert written.python == platform.python_version()
    assert fm.run(written, model=model).recipe == written


@pytest.mark.parametrize(
    ("python", "cause"),
    [
        (platform.python_version(), r"0{12} then\)\. Restore the old content, or"),
        ("3.9.1", rf"Python 3\.9\.1, and this is Python {platform.python_version()}\. Restore"),
        (None, r"0{12} then\)\. Restore the old content, or"),
    ],
)
def test_other_data_than_the_recipes_are_refused(
    model: fm.LoadedModel, python: str | None, cause: str
) -> None:
    other = recipe(model, data_revision="0" * 64, python=python)
    with pytest.raises(PlanError, match=rf"content of noise has changed .*{cause}"):
        fm.run(other, model=model)


def test_another_python_does_not_matter_where_the_data_is_the_same(model: fm.LoadedModel) -> None:
    written = replace(fixed(recipe(model), model), python="3.9.1")
    assert fm.run(written, model=model).recipe.python == platform.python_version()


def test_fidelity_is_measured_where_a_recipe_asks_for_it(model: fm.LoadedModel) -> None:
    wanted = fm.load(model.model, task=model.task, fidelity=True)
    record = fm.run(recipe(model, fidelity=True), model=wanted).record()
    original, merged = (record[side]["validation"] for side in ("original", "merged"))
    assert (original["metric"], original["value"], original["loss"]) == ("top-1 agreement", 1, 0)
    assert merged["loss"] > 0
    assert record["difference"]["validation"]["agreement"] == pytest.approx(merged["value"])


DEMO_GROUPS = {
    "vit-digits": (("encoder.3", "encoder.4"),),
    "gpt2-code": (("decoder.3", "decoder.4"),),
    "marian-en-fr": (("encoder.3", "encoder.4"), ("decoder.2", "decoder.3")),
}


@pytest.mark.parametrize("name", demos.names())
def test_a_demo_s_recipe_gives_the_same_record_twice(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_modeling, "QUICK_WINDOWS", 8)
    monkeypatch.setattr(translation, "QUICK_PAIRS", 8)
    wanted = fm.Recipe(f"demo:{name}", fm.MergePlan(DEMO_GROUPS[name]), tokens=2_000)
    first = fm.run(wanted)
    again = fm.run(fm.Recipe.from_dict(json.loads(json.dumps(first.recipe.to_dict()))))
    record = first.record()
    assert determined(record) == determined(again.record())
    assert record["n_tokens"] == 2_000
    card = demos.card(name)
    assert record["original"]["n_parameters"] == card.n_parameters
    removed = wanted.plan.parameters_removed(first.original.sublayers)
    assert record["merged"]["n_parameters"] == card.n_parameters - removed
    assert record["merged"]["validation"]["metric"] == card.metric
    assert record["merged"]["validation"]["others"].keys() == card.validation["others"].keys()
    assert len(record["pairs"]) == wanted.plan.n_removed


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

"""The invariants of a recovery."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

import ffmerge_core as fm
from ffmerge_core.errors import Cancelled, DataError, FFMergeError, PlanError
from ffmerge_core.models.structure import fingerprint, shared_copy, weights_by_role
from ffmerge_core.models.ties import ties
from ffmerge_core.plan import CurvePoint, Recovery
from tests.conftest import noise_task, timm_vit, transformers_vit
from tests.models import tiny
from tests.tasks import texts
from tests.tasks.test_training import translation_task


def merged_of(module: nn.Module, task: object) -> fm.LoadedModel:
    model = fm.load(module, task=task)  # type: ignore[arg-type]
    names = [s.name for s in model.sublayers if s.stack == model.sublayers[0].stack]
    return fm.apply(model, fm.MergePlan((tuple(names[:2]),), method="vanilla"))


def language_model() -> fm.LoadedModel:
    task = texts.language_task()
    return merged_of(texts.gpt2(task.tokenizer, task.context), task)


def translator() -> fm.LoadedModel:
    task = translation_task()
    return merged_of(texts.marian(task.tokenizer, task.longest), task)


MODELS = {
    "timm": lambda: merged_of(timm_vit(), noise_task()),
    "transformers": lambda: merged_of(transformers_vit(), noise_task()),
    "GPT-2": language_model,
    "Marian": translator,
}


@pytest.fixture(params=["timm", "GPT-2"])
def merged(request: pytest.FixtureRequest) -> fm.LoadedModel:
    return MODELS[request.param]()  # type: ignore[no-any-return]


@pytest.fixture
def small() -> fm.LoadedModel:
    return MODELS["timm"]()  # type: ignore[no-any-return]


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_new_model_with_the_same_ties_and_the_old_one_as_it_was(
    name: str, rank: int | None
) -> None:
    merged = MODELS[name]()
    before, tied = fingerprint(merged.model), ties(merged.model)
    flags = {path: p.requires_grad for path, p in merged.model.named_parameters()}
    tuned = fm.recover(merged, steps=2, batch_size=6, learning_rate=1e-2, lora_rank=rank)
    assert fingerprint(merged.model) == before
    assert fingerprint(tuned.model) != before
    assert tuned.curve is not None
    assert tuned.curve.best_step > 0
    first, second = (weights_by_role(tuned.model, s) for s in tuned.sublayers[:2])
    assert all(first[role] is second[role] for role in first)
    assert ties(tuned.model) == tied
    assert tuned.n_parameters == merged.n_parameters
    assert tuned.plan == merged.plan
    shared = {id(each) for each in merged.model.parameters()}
    assert not any(id(each) in shared for each in tuned.model.parameters()), "a real copy"
    assert {path: p.requires_grad for path, p in tuned.model.named_parameters()} == flags
    kinds = [type(module) for module in merged.model.modules()]
    assert [type(module) for module in tuned.model.modules()] == kinds, "no wrapping is left"
    assert not any(module.training for module in tuned.model.modules())


def test_the_best_weights_of_the_curve_are_kept(merged: fm.LoadedModel) -> None:
    tuned = fm.recover(merged, steps=20, batch_size=6, learning_rate=3e-3)
    curve = tuned.curve
    assert curve is not None
    best = min(curve.points, key=lambda point: point.loss)
    assert curve.best_step == best.step > 0
    score = fm.evaluate(tuned)
    assert (score.loss, score.value, score.metric) == (best.loss, best.value, curve.metric)
    start = fm.evaluate(merged)
    assert curve.points[0] == CurvePoint(0, None, start.loss, start.value)
    assert score.loss < start.loss


def test_the_same_seed_gives_the_same_curve(merged: fm.LoadedModel) -> None:
    first, again, other = (
        fm.recover(merged, steps=5, batch_size=6, seed=seed) for seed in (1, 1, 2)
    )
    assert first.curve == again.curve
    assert fingerprint(first.model) == fingerprint(again.model)
    assert first.curve != other.curve


def test_the_caller_s_random_numbers_are_left_alone(small: fm.LoadedModel) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fm.recover(small, steps=2, lora_rank=2)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("distill", [False, True])
def test_the_loss_is_the_task_s_and_half_of_it_the_distance_to_the_original(
    distill: bool, small: fm.LoadedModel
) -> None:
    task, teacher = small.require_task(), fm.load(timm_vit(), task=small.task)
    before = fingerprint(teacher.model)
    tuned = fm.recover(small, steps=1, batch_size=9, distill=distill, original=teacher)
    batch = next(task.training(0, 9))
    with torch.no_grad():
        logits, wanted = batch.run(small.model), batch.run(teacher.model).softmax(-1)
    expected = functional.cross_entropy(logits, batch.targets)
    if distill:
        nats = (wanted * (wanted.log() - logits.log_softmax(-1))).sum(-1).mean()
        expected = (expected + nats) / 2
    assert tuned.curve is not None
    assert tuned.curve.points[1].training_loss == pytest.approx(float(expected), rel=1e-5)
    assert fingerprint(teacher.model) == before


def test_adapters_change_matrices_alone_and_by_their_rank(merged: fm.LoadedModel) -> None:
    tuned = fm.recover(merged, steps=6, batch_size=6, learning_rate=1e-2, lora_rank=2)
    own = {path for sublayer in merged.sublayers for path in sublayer.modules.values()}
    changed = set()
    for name, after in tuned.model.named_parameters():
        difference = (after - merged.model.get_parameter(name)).detach().double()
        if not bool(difference.any()):
            continue
        changed.add(name)
        values = torch.linalg.svdvals(difference)
        assert values[2] < 1e-4 * values[0], f"{name} changed by more than rank 2"
        assert name.endswith("weight")
        module = name.rsplit(".", 1)[0]
        attention = not set(module.split(".")).isdisjoint(merged.family.attention)
        assert attention or module in own
    assert {f"{path}.weight" for path in merged.sublayers[0].modules.values()} <= changed


def test_adapters_of_a_tied_weight_are_added_once(merged: fm.LoadedModel) -> None:
    """What was scored with the adapters beside the weights is what is returned."""
    tuned = fm.recover(merged, steps=6, batch_size=6, learning_rate=1e-2, lora_rank=2)
    assert tuned.curve is not None
    best = min(point.loss for point in tuned.curve.points)
    assert best < tuned.curve.points[0].loss
    assert fm.evaluate(tuned).loss == pytest.approx(best, rel=1e-4)


def test_it_stops_where_nothing_is_gained(small: fm.LoadedModel) -> None:
    learnt = fm.recover(small, steps=40, learning_rate=1e-2, batch_size=10)
    assert learnt.curve is not None
    assert learnt.curve.stopped == "no gain"
    points = learnt.curve.points
    assert learnt.curve.steps == points[-1].step < 40
    assert learnt.curve.best_step == points[-4].step, "three checks without gain"
    assert "no longer fell" in learnt.curve.in_words


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_divergence_stops_it_and_the_best_is_kept(rate: float, merged: fm.LoadedModel) -> None:
    tuned = fm.recover(merged, steps=30, learning_rate=rate, batch_size=6)
    assert tuned.curve is not None
    assert tuned.curve.stopped == "diverged"
    assert tuned.curve.steps < 30
    assert "smaller learning rate" in tuned.curve.in_words
    best = min(point.loss for point in tuned.curve.points)
    assert fm.evaluate(tuned).loss == best
    assert all(bool(parameter.isfinite().all()) for parameter in tuned.model.parameters())


@pytest.mark.parametrize("at", [1, 7, 20])
def test_cancel_keeps_the_best_so_far(at: int, small: fm.LoadedModel) -> None:
    def stop(step: int, total: int, message: str, values: object = None) -> None:
        if step == at:
            raise Cancelled("Cancelled.")

    tuned = fm.recover(small, steps=20, batch_size=6, report=stop)
    assert tuned.curve is not None
    whole = fm.recover(small, steps=20, batch_size=6).curve
    assert whole is not None
    assert tuned.curve.stopped == "cancelled"
    # The last step's score was due, and did not come.
    assert f"Cancelled after {min(at, 19)} of 20" in tuned.curve.in_words
    points = tuned.curve.points
    assert points == whole.points[: len(points)]
    assert fm.evaluate(tuned).loss == min(point.loss for point in points)


def test_cancelled_before_the_first_score_there_is_nothing_to_keep(small: fm.LoadedModel) -> None:
    def stop(step: int, total: int, message: str, values: object = None) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        fm.recover(small, steps=5, report=stop)


def test_progress_tells_losses_and_the_metric(small: fm.LoadedModel) -> None:
    steps, names = [], set()

    def listen(step: int, total: int, message: str, values: dict[str, float] | None = None) -> None:
        steps.append(step)
        names.update(values or {})
        assert total == 10
        assert message == f"step {step} of 10"

    fm.recover(small, steps=10, batch_size=4, report=listen)
    assert steps == sorted(steps)
    assert {steps[0], steps[-1]} == {0, 10}
    assert names == {"training loss", "validation loss", "accuracy"}


def test_a_model_that_is_not_merged_becomes_another_source(small: fm.LoadedModel) -> None:
    """Features of the weights before are not taken for those of the weights after."""
    original = fm.load(timm_vit(), task=small.task)
    feats = fm.calibrate(original, tokens=100)
    tuned = fm.recover(original, steps=2, learning_rate=1e-2)
    with pytest.raises(PlanError, match="other weights"):
        fm.apply(tuned, fm.MergePlan((("encoder.0", "encoder.1"),)), feats)
    assert fm.recover(small, steps=2).revision == small.revision


def test_fidelity_is_recovered_without_labels(small: fm.LoadedModel) -> None:
    model = fm.load(timm_vit(), task=noise_task(), fidelity=True)
    merged = fm.apply(model, fm.MergePlan((("encoder.0", "encoder.1"),), method="vanilla"))
    tuned = fm.recover(merged, steps=20, batch_size=10, learning_rate=1e-3)
    assert tuned.curve is not None
    assert tuned.curve.metric == "top-1 agreement"
    assert fm.evaluate(tuned).loss < fm.evaluate(merged).loss


def test_what_cannot_be_done_is_a_sentence(small: fm.LoadedModel) -> None:
    for options, words in (
        ({"steps": 0}, "steps is 0; a whole number from 1 up was expected"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"lora_rank": 0}, "lora_rank is 0"),
        ({"learning_rate": 0.0}, "learning rate is 0.0; it must be above 0"),
        ({"learning_rate": math.nan}, "learning rate is nan"),
        ({"distill": True}, "needs the original"),
    ):
        with pytest.raises(PlanError, match=words):
            fm.recover(small, **options)  # type: ignore[arg-type]
    faithful = fm.load(timm_vit(), task=noise_task(), fidelity=True)
    with pytest.raises(PlanError, match="already measures the distance"):
        fm.recover(faithful, distill=True, original=small)
    with pytest.raises(DataError, match="opened without data"):
        fm.recover(replace(small, task=None))
    untaught = replace(small, task=tiny.NoiseTask(small.model))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="task of noise does not say how to train"):
        fm.recover(untaught)


def test_data_of_other_classes_is_a_sentence(small: fm.LoadedModel) -> None:
    head = shared_copy(small.model)
    head.head = nn.Linear(32, 3)
    with pytest.raises(FFMergeError, match="tells 3 classes apart"):
        fm.recover(replace(small, model=head))


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    recovery = Recovery(steps=100, learning_rate=2.0)
    rates = [recovery.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10] == 2
    assert rates[55] == pytest.approx(1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001
    assert Recovery(steps=1).rate(0) == Recovery().learning_rate


def test_decay_pulls_at_matrices_alone() -> None:
    from ffmerge_core.compression.training import WEIGHT_DECAY, _adamw

    module = timm_vit()
    module.get_parameter("head.weight").requires_grad_(False)
    groups = _adamw(module).param_groups
    assert [group["weight_decay"] for group in groups] == [WEIGHT_DECAY, 0]
    assert [{parameter.ndim == 1 for parameter in group["params"]} for group in groups] == [
        {False},
        {True},
    ]
    n = sum(len(group["params"]) for group in groups)
    assert n == len(list(copy.deepcopy(module).parameters())) - 1

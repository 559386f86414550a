"""Fidelity: how near a model is to the original, without labels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from ffmerge_core.tasks.batch import Batch
from ffmerge_core.tasks.fidelity import Fidelity
from ffmerge_core.tasks.task import Task
from tests.conftest import noise_task, timm_vit, transformers_vit
from tests.models.tiny import timm_encoder, vit_encoder
from tests.tasks.test_translation import pairs_task
from tests.tasks.texts import gpt2, language_task, letters_tokenizer, marian, set_nan


def small_gpt2() -> nn.Module:
    return gpt2(letters_tokenizer(), 16)


def small_marian() -> nn.Module:
    return marian(letters_tokenizer(), 24)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Task], str]] = {
    "timm classifier": (timm_vit, noise_task, "top-1 agreement"),
    "transformers classifier": (transformers_vit, noise_task, "top-1 agreement"),
    "language model": (small_gpt2, language_task, "top-1 agreement"),
    "translator": (small_marian, pairs_task, "top-1 agreement"),
    "timm encoder": (timm_encoder, noise_task, "cosine"),
    "transformers encoder": (vit_encoder, noise_task, "cosine"),
}


def altered(model: nn.Module) -> nn.Module:
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return other


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Task, str]:
    build, data, metric = CASES[request.param]
    return build(), data(), metric


def test_the_original_agrees_with_itself(case: tuple[nn.Module, Task, str]) -> None:
    model, inner, metric = case
    task = Fidelity(inner, model)
    result = task.evaluate(model, "test")
    assert (task.metric, result.metric) == (metric, metric)
    assert result.value == pytest.approx(1, abs=1e-12)
    assert result.loss == pytest.approx(0, abs=1e-6)
    changed = task.evaluate(altered(model), "test")
    assert changed.value < 1
    assert changed.loss > 1e-4
    assert changed.versus(result).value == pytest.approx(changed.value - 1)


def test_it_counts_and_reads_what_the_task_does(case: tuple[nn.Module, Task, str]) -> None:
    model, inner, metric = case
    task, seen = Fidelity(inner, model), []

    def note(
        step: int, total: int, message: str, values: Mapping[str, float] | None = None
    ) -> None:
        assert values is not None
        seen.append((step, total, values[metric]))

    result = task.evaluate(altered(model), "test", note)
    n = inner.size("test")
    assert (task.size("test"), result.n) == (n, n)
    assert seen[-1] == (n, n, pytest.approx(result.value))
    assert (task.data, task.revision, task.examples) == (
        inner.data, inner.revision, inner.examples,
    )  # fmt: skip
    assert task.kind == "fidelity"


def logits_alone(model: nn.Module, ids: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids[None]).logits[0]
    return logits


def test_the_divergence_is_torch_s_on_real_tokens_alone() -> None:
    original, inner = small_gpt2(), language_task()
    model = altered(original)
    (batch,) = inner.inputs("test")
    assert not batch.masks["decoder"].all(), "or nothing was padded"
    nats, same = [], []
    for row, real in zip(batch.kwargs["input_ids"], batch.masks["decoder"], strict=True):
        before, after = (logits_alone(each, row[real]) for each in (original, model))
        nats.append(kl_divergence(Categorical(logits=before), Categorical(logits=after)))
        same.append(before.argmax(-1) == after.argmax(-1))
    result = Fidelity(inner, original).evaluate(model, "test")
    assert result.loss == pytest.approx(torch.cat(nats).mean().item(), rel=1e-3)
    assert result.value == pytest.approx(torch.cat(same).double().mean().item())
    assert [len(each) for each in result.predictions] == [len(each) for each in nats]
    backwards = Fidelity(inner, model).evaluate(original, "test")
    assert backwards.loss != pytest.approx(result.loss, rel=1e-3)


def test_a_classifier_s_divergence_is_torch_s() -> None:
    original, inner = timm_vit(), noise_task()
    model = altered(original)
    images = inner.normalised(inner.splits["test"].images)
    with torch.no_grad():
        before, after = original(images), model(images)
    expected = kl_divergence(Categorical(logits=before), Categorical(logits=after))
    result = Fidelity(inner, original).evaluate(model, "test")
    assert result.loss == pytest.approx(expected.mean().item(), rel=1e-3)
    assert result.value == (before.argmax(1) == after.argmax(1)).double().mean().item()


def test_the_padding_of_a_translation_does_not_count() -> None:
    original, inner = small_marian(), pairs_task()
    model = altered(original)
    together = Fidelity(inner, original).evaluate(model, "test").measures["loss"].statistics
    rows = []
    for pair in inner.pairs["test"]:
        alone = pairs_task(pairs={**inner.pairs, "test": (pair,)})
        result = Fidelity(alone, original).evaluate(model, "test")
        rows.append(result.measures["loss"].statistics[0])
    assert together[:, 1].tolist() == [row[1] for row in rows]
    assert together[:, 0] == pytest.approx([row[0] for row in rows], rel=1e-2)


def test_a_cosine_is_that_of_the_mean_over_tokens() -> None:
    original, inner = vit_encoder(), noise_task()
    model = altered(original)
    images = inner.normalised(inner.splits["test"].images)
    with torch.no_grad():
        before, after = (
            each(images).last_hidden_state.mean(1).double() for each in (original, model)
        )
    cosine = nn.functional.cosine_similarity(before, after)
    result = Fidelity(inner, original).evaluate(model, "test")
    assert result.value == pytest.approx(cosine.mean().item(), rel=1e-6)
    assert result.loss == pytest.approx(1 - cosine.mean().item(), rel=1e-6)


class Words(nn.Module):
    """A text encoder as simple as can be: a state a token, and no head."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.states = nn.Embedding(80, 6)

    def forward(self, input_ids: Tensor, **_: object) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.states(input_ids))


class Sentences:
    """Inputs alone: one sentence of three tokens and one of two, padded with token 0."""

    kind, data, metric, revision, examples = "inputs", "words", "none", "0", "sentences"

    def size(self, split: str) -> int:
        return 2

    def inputs(self, split: str) -> Iterator[Batch]:
        ids = torch.tensor([[3, 4, 5], [6, 7, 0]])
        yield Batch(kwargs={"input_ids": ids}, masks={"encoder": ids > 0})


def test_an_encoder_s_padding_does_not_count() -> None:
    original, model = Words(0), Words(1)
    first = Fidelity(Sentences(), original).evaluate(model, "test")  # type: ignore[arg-type]
    with torch.no_grad():
        for words in (original, model):
            words.states.weight[0] = 100
    again = Fidelity(Sentences(), original).evaluate(model, "test")  # type: ignore[arg-type]
    assert first.metric == "cosine"
    assert again.value == pytest.approx(first.value)


def test_every_mode_comes_back() -> None:
    model, original = timm_vit().train(), timm_vit().train()
    original.head.eval()
    Fidelity(noise_task(), original).evaluate(model, "test")
    assert (model.training, original.training, original.head.training) == (True, True, False)


def test_load_makes_it_of_any_task() -> None:
    model = fm.load(vit_encoder(), task=noise_task(), fidelity=True)
    assert fm.evaluate(model).value == pytest.approx(1)
    merged = fm.apply(model, fm.MergePlan((("encoder.0", "encoder.1"),), method="copy"))
    assert fm.evaluate(merged).value < 1


def test_two_outputs_are_a_sentence() -> None:
    other = timm_vit()
    other.reset_classifier(7)
    with pytest.raises(DataError, match=r"shape \(30, 10\) and the model \(30, 7\)"):
        Fidelity(noise_task(), timm_vit()).evaluate(other.eval(), "test")


def test_weights_that_are_not_numbers_are_a_sentence() -> None:
    with pytest.raises(DataError, match="not finite"):
        Fidelity(noise_task(), timm_vit()).evaluate(set_nan(timm_vit(), "head.bias"), "test")
    # An embedding that is not finite has no cosine.
    damaged = set_nan(timm_encoder(), "norm.bias")
    with pytest.raises(DataError, match="not a finite number"):
        Fidelity(noise_task(), timm_encoder()).evaluate(damaged, "test")


def test_what_gives_neither_logits_nor_states_is_a_sentence() -> None:
    class Nothing(nn.Module):
        def forward(self, images: Tensor) -> str:
            return "nothing"

    with pytest.raises(DataError, match="returned a str with neither logits nor"):
        Fidelity(noise_task(), Nothing()).evaluate(Nothing(), "test")

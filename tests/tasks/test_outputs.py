"""Losses of many classes: right to the last position, and never a second copy of the logits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional

from ffmerge_core.errors import DataError
from ffmerge_core.tasks import outputs, vocabulary
from ffmerge_core.tasks.batch import IGNORED, Batch
from ffmerge_core.tasks.outputs import compared, divergence, logits_of, token_losses
from ffmerge_core.tasks.vocabulary import Vocabulary
from tests.tasks.test_translation import LONGEST, PAIRS, pairs_task
from tests.tasks.texts import gpt2, language_task, letters_tokenizer, marian


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def targets(*shape: int, classes: int) -> Tensor:
    found = torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(9))
    found[..., -1] = IGNORED
    return found


@pytest.fixture(params=[1, 7_000, 10**9], ids=["a row", "some rows", "all rows"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(outputs, "_CHUNK_BYTES", request.param)
    return int(request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_are_torch_s_at_every_position(dtype: torch.dtype) -> None:
    logits, wanted = drawn(5, 11, 300), targets(5, 11, classes=300)
    found = token_losses(logits, wanted, dtype)
    expected = functional.cross_entropy(logits.double().transpose(1, 2), wanted, reduction="none")
    assert (found.dtype, found.shape) == (torch.float64, wanted.shape)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert bool((found[:, -1] == 0).all())


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("shape", [(5, 11), (6,)], ids=["tokens", "classes"])
def test_agreement_and_divergence_are_torch_s(shape: tuple[int, ...]) -> None:
    before, after = drawn(*shape, 300), drawn(*shape, 300, seed=1)
    after[0] = before[0]
    nats, same, chosen = compared(before, after)
    expected = kl_divergence(Categorical(logits=before), Categorical(logits=after))
    torch.testing.assert_close(nats, expected.double(), rtol=1e-4, atol=1e-5)
    assert torch.equal(same, before.argmax(-1) == after.argmax(-1))
    assert torch.equal(chosen, after.argmax(-1))
    assert bool(same[0].all())


@pytest.mark.usefixtures("chunk")
def test_what_training_loses_has_torch_s_gradient() -> None:
    before, real = drawn(4, 6, 300), targets(4, 6, classes=300) != IGNORED
    grads = []
    for loss in (divergence, by_the_book):
        after = drawn(4, 6, 300, seed=1).requires_grad_()
        value = loss(before, after, real)
        value.backward()
        assert after.grad is not None
        grads.append((value.detach(), after.grad))
    for found, expected in zip(*grads, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def by_the_book(before: Tensor, after: Tensor, real: Tensor) -> Tensor:
    nats = functional.kl_div(
        after.log_softmax(-1), before.log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)
    return nats[real].sum() / real.sum()


def made(work: Callable[[], object]) -> int:
    """Bytes that torch has allocated at the highest, by its profiler."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    assert profile.profiler is not None
    events = sorted(
        (event.start_ns(), event.nbytes())
        for event in profile.profiler.kineto_results.events()
        if event.name() == "[memory]"
    )
    return max(accumulate(n_bytes for _, n_bytes in events), default=0)


def test_scoring_makes_no_second_copy_of_the_logits() -> None:
    logits, wanted = drawn(4, 64, 100_000), targets(4, 64, classes=100_000)
    whole = logits.nbytes
    model = nn.Identity()
    for work in (
        lambda: token_losses(logits, wanted),
        lambda: token_losses(logits, wanted, torch.float64),
        lambda: compared(logits, logits),
        lambda: logits_of(model, Batch((logits,)), "numbers"),
    ):
        assert made(work) < 0.4 * whole
    # Of both models' probabilities nothing is kept for the gradient, which is as large as one.
    after = logits.clone().requires_grad_()
    real = wanted != IGNORED
    assert made(lambda: divergence(logits, after, real).backward()) < 2.6 * whole
    assert made(lambda: by_the_book(logits, after, real).backward()) > 4 * whole


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_logit_that_is_not_finite_is_found(bad: float) -> None:
    logits = drawn(3, 5, 70)
    output = SimpleNamespace(logits=logits)

    class Says(nn.Module):
        def forward(self) -> SimpleNamespace:
            return output

    assert logits_of(Says(), Batch(), "numbers") is logits
    logits[1, 2, 3] = bad
    with pytest.raises(DataError, match="not finite"):
        logits_of(Says(), Batch(), "numbers")


def test_a_translator_s_batches_keep_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = pairs_task(), marian(letters_tokenizer(), LONGEST)
    whole = task.evaluate(model, "test")
    assert len(list(task.inputs("test"))) == 1
    bytes_a_token = 4 * len(task.tokenizer)
    monkeypatch.setattr(vocabulary, "_LOGIT_BYTES", 40 * bytes_a_token)
    batches = list(task.inputs("test"))
    sizes = [batch.masks["decoder"].numel() for batch in batches]
    assert len(sizes) > 2
    assert all(size <= 40 or len(batch.kwargs["input_ids"]) == 1
               for size, batch in zip(sizes, batches, strict=True))  # fmt: skip
    parts = task.evaluate(model, "test")
    assert (parts.n, parts.predictions) == (whole.n, whole.predictions)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    read = [batch.kwargs["input_ids"].shape for batch in task.calibration(3)]
    assert sum(rows for rows, _ in read) == len(PAIRS)
    assert len(read) > 2


@pytest.mark.parametrize(
    ("lengths", "parts"),
    [
        ((), []),
        ((3, 3, 4), [3]),
        ((6, 6, 6), [2, 1]),
        ((99, 1, 1, 12, 1), [1, 2, 1, 1]),
        ((1, 99), [1, 1]),
        ((1,) * 30, [12, 12, 6]),
    ],
)
def test_sequences_go_together_while_there_is_room(
    lengths: tuple[int, ...], parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Vocabulary(None, 10, "numbers")
    monkeypatch.setattr(vocabulary, "_LOGIT_BYTES", 12 * 10 * 4)
    found = list(known.within_bounds(iter(lengths)))
    assert [len(lengths[part]) for part in found] == parts
    assert [length for part in found for length in lengths[part]] == list(lengths)


def test_a_language_model_s_batches_keep_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = language_task(16), gpt2(letters_tokenizer(), 16)
    whole = task.evaluate(model, "test")
    monkeypatch.setattr(vocabulary, "_LOGIT_BYTES", 2 * 16 * 4 * len(task.tokenizer))
    rows = [len(batch.kwargs["input_ids"]) for batch in task.inputs("test")]
    assert (max(rows), sum(rows)) == (2, task.size("test"))
    assert max(len(batch.kwargs["input_ids"]) for batch in task.calibration(0)) == 2
    parts = task.evaluate(model, "test")
    assert parts.versus(whole).agreement == 1
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)

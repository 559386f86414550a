"""Language modelling on texts small enough to score by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2LMHeadModel, PreTrainedTokenizer, PreTrainedTokenizerFast

from ffmerge_core.errors import Cancelled, DataError
from ffmerge_core.tasks import language_modeling, windows
from ffmerge_core.tasks.language_modeling import LanguageModeling
from tests.tasks.texts import bytes_tokenizer, gpt2, language_task, letters_tokenizer, set_nan

CONTEXT = 16


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return gpt2(letters_tokenizer(), CONTEXT)


def one_text(text: str, context: int = CONTEXT, tokenizer: object = None) -> LanguageModeling:
    """A task of which every split says `text`."""
    texts = dict.fromkeys(("train", "validation", "test"), (text,))
    return language_task(context, texts=texts, tokenizer=tokenizer or letters_tokenizer())


class Position(nn.Module):
    """Gives every position's own logits away, so that a score tells which were used."""

    def forward(self, input_ids: Tensor, **_: object) -> SimpleNamespace:
        logits = torch.zeros(*input_ids.shape, 80)
        logits[..., 2] = torch.arange(input_ids.shape[1]) / 100
        return SimpleNamespace(logits=logits)


@pytest.mark.parametrize("n_tokens", [2, 200, 256, 257, 258, 384, 385, 386, 1000])
@pytest.mark.parametrize("context", [256, 7])
def test_every_token_is_scored_once_with_the_most_context(n_tokens: int, context: int) -> None:
    result = one_text("a" * (n_tokens - 1), context).evaluate(Position(), "test")
    # Token t of the first window is told at position t - 1; later ones in its last `stride`.
    stride = context // 2
    positions = [
        at if at < context else context - stride + (at - context) % stride
        for at in range(n_tokens - 1)
    ]
    logits = torch.zeros(len(positions), 80)
    logits[:, 2] = torch.tensor(positions) / 100
    losses = functional.cross_entropy(logits, torch.full((len(positions),), 2), reduction="none")
    assert result.measures["loss"].statistics[:, 1].sum() == n_tokens - 1
    assert sum(map(len, result.predictions)) == n_tokens - 1
    assert result.loss == pytest.approx(losses.double().mean().item(), rel=1e-5)
    assert result.value == pytest.approx(math.exp(result.loss))
    bits = losses.double().sum().item() / math.log(2) / (n_tokens - 1)
    assert result.others["bits per byte"].value == pytest.approx(bits, rel=1e-5)


@torch.no_grad()
def by_the_book(model: nn.Module, ids: Tensor, context: int) -> Tensor:
    """Nats of every token but the first, a window at a time and never padded."""
    losses, known = [], 1
    for begin in range(0, len(ids), context // 2):
        end = min(begin + context, len(ids) - 1)
        new = ids[known : end + 1]
        logits = model(ids[None, begin:end]).logits[0]
        losses.append(functional.cross_entropy(logits[-len(new) :], new, reduction="none"))
        known = end + 1
        if known == len(ids):
            return torch.cat(losses)
    raise AssertionError


def test_a_score_is_that_of_the_textbook_s_loop(model: GPT2LMHeadModel) -> None:
    task = language_task()
    ids = [
        each
        for text in task.texts["test"]
        for each in (1, *task.tokenizer(text, add_special_tokens=False)["input_ids"])
    ]
    losses = by_the_book(model, torch.tensor(ids), CONTEXT).double()
    result = task.evaluate(model, "test")
    assert result.loss == pytest.approx(losses.mean().item(), rel=1e-5)
    assert result.value == pytest.approx(losses.mean().exp().item(), rel=1e-5)
    n_bytes = sum(len(text.encode()) for text in task.texts["test"])
    bits = losses.sum().item() / math.log(2) / n_bytes
    assert result.others["bits per byte"].value == pytest.approx(bits, rel=1e-5)
    assert result.n == task.size("test") == len(result.predictions)


def test_the_size_of_a_batch_does_not_matter(
    model: GPT2LMHeadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = language_task().evaluate(model, "test")
    monkeypatch.setattr(windows, "_TOKENS_A_BATCH", 1)
    apart = language_task().evaluate(model, "test")
    assert apart.loss == pytest.approx(together.loss, rel=1e-6)
    assert apart.versus(together).agreement == 1


def test_predictions_are_the_model_s_first_choices(model: GPT2LMHeadModel) -> None:
    task = one_text("abcabc")
    (predicted,) = task.evaluate(model, "test").predictions
    ids = task.stream("test").ids
    with torch.no_grad():
        assert predicted.tolist() == model(ids[None, :-1]).logits[0].argmax(-1).tolist()


@pytest.mark.parametrize("text", ["plain", "déjà vu", "数字 🙂 שלום", "🙂", "\n\t é\n"])
def test_bytes_add_up_to_the_text_s_though_tokens_are_parts_of_characters(text: str) -> None:
    task = one_text(text, tokenizer=bytes_tokenizer())
    stream = task.stream("test")
    assert len(stream.ids) == 1 + len(text.encode()) == len(stream.n_bytes)
    assert stream.n_bytes.sum() == len(text.encode())
    scored = task.evaluate(gpt2(bytes_tokenizer(), CONTEXT), "test").measures["bits per byte"]
    assert scored.statistics[:, 1].sum() == len(text.encode())


def test_a_character_s_bytes_go_to_the_first_of_its_tokens() -> None:
    task = one_text("é🙂a", tokenizer=bytes_tokenizer())
    assert task.stream("test").n_bytes.tolist() == [0, 2, 0, 4, 0, 0, 0, 1]


def test_what_no_token_stands_for_counts_to_the_next_one() -> None:
    tokenizer = Tokenizer(models.WordLevel({"ab": 0, "é": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    words = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    task = one_text("  ab  é\n ", tokenizer=words)
    assert task.stream("test").ids.tolist() == [0, 1]
    # The last one is given what follows it, too.
    assert task.stream("test").n_bytes.tolist() == [4, 6]


class Slow(PreTrainedTokenizer):
    """A token a letter, by a tokenizer in Python that knows no offsets."""

    @property
    def vocab_size(self) -> int:
        return 128

    def get_vocab(self) -> dict[str, int]:
        return {chr(index): index for index in range(128)} | self.added_tokens_encoder

    def _tokenize(self, text: str, **_: object) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return min(ord(token), 127)

    def _convert_id_to_token(self, index: int) -> str:
        return chr(index)


def test_a_slow_tokenizer_s_tokens_share_the_bytes_evenly() -> None:
    tokenizer = Slow(eos_token="\n")
    assert not tokenizer.is_fast
    stream = one_text("héllo", tokenizer=tokenizer).stream("test")
    assert stream.n_bytes.tolist() == pytest.approx([0, 1.2, 1.2, 1.2, 1.2, 1.2])


def test_documents_follow_one_another_each_after_a_separator() -> None:
    texts = {"train": ("a",), "validation": ("b",), "test": ("ab", "", "c")}
    task = language_task(texts=texts)
    assert task.stream("test").ids.tolist() == [1, 2, 3, 1, 4]
    assert task.stream("test").n_bytes.tolist() == [0, 1, 1, 0, 1]


def test_validation_takes_windows_evenly_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    task = one_text("a" * 400)
    every = task.windows("test")
    assert task.windows("validation") == every
    monkeypatch.setattr(language_modeling, "QUICK_WINDOWS", 6)
    assert task.windows("test") == every
    chosen = task.windows("validation")
    assert (chosen[0], chosen[-1], task.size("validation")) == (every[0], every[-1], 6)
    steps = np.diff([every.index(window) for window in chosen])
    assert steps.max() - steps.min() <= 1


def test_inputs_are_the_windows_that_are_scored() -> None:
    task = language_task()
    ids = task.stream("test").ids
    (batch,) = task.inputs("test")
    windows = task.windows("test")
    assert batch.kwargs["input_ids"].shape == (len(windows), CONTEXT)
    for window, row, mask in zip(
        windows, batch.kwargs["input_ids"], batch.masks["decoder"], strict=True
    ):
        assert torch.equal(row[mask], ids[window.start : window.stop])


def test_the_mode_comes_back(model: GPT2LMHeadModel) -> None:
    model.train()
    model.lm_head.eval()
    task, seen = language_task(), []

    def note(
        step: int, total: int, message: str, values: Mapping[str, float] | None = None
    ) -> None:
        assert values is not None
        seen.append((step, total, values["perplexity"], torch.is_inference_mode_enabled()))
        if len(seen) == 2:
            raise Cancelled("stop")

    try:
        result = task.evaluate(model, "test", note)
        task.continue_text(model, "a", 2)
        with pytest.raises(Cancelled):
            task.evaluate(model, "test", note)
        assert (model.training, model.lm_head.training) == (True, False)
    finally:
        model.eval()
    n = task.size("test")
    assert seen == [(n, n, pytest.approx(result.value), False)] * 2


def test_the_revision_follows_every_text_its_split_and_its_order() -> None:
    task = language_task()
    assert task.revision == language_task().revision
    texts = dict(task.texts)
    others = [
        texts | {"test": (*texts["test"], "x")},
        texts | {"test": texts["test"][::-1]},
        texts | {"test": texts["validation"], "validation": texts["test"]},
        texts | {"train": ("".join(texts["train"][:2]), *texts["train"][2:])},
    ]
    assert len({task.revision, *(language_task(texts=each).revision for each in others)}) == 5


def test_a_tokenizer_of_another_vocabulary_is_a_sentence(model: GPT2LMHeadModel) -> None:
    task = one_text("déjà vu, again and again", tokenizer=bytes_tokenizer())
    with pytest.raises(DataError, match=r"tokenizer,? that belongs to the model"):
        task.evaluate(model, "test")
    with pytest.raises(DataError, match="Use its own tokenizer"):
        task.continue_text(model, "déjà vu", 4)


def test_a_token_that_is_only_predicted_is_checked_too(model: GPT2LMHeadModel) -> None:
    ids = len(letters_tokenizer())
    tokenizer = letters_tokenizer()
    tokenizer.add_tokens(["~"])
    with pytest.raises(DataError, match=rf"token {ids}, but the model knows {ids} tokens"):
        one_text("ab~", tokenizer=tokenizer).evaluate(model, "test")


def test_weights_that_are_not_numbers_are_a_sentence() -> None:
    damaged = set_nan(gpt2(letters_tokenizer(), CONTEXT), "transformer.h.0.mlp.c_fc.weight")
    with pytest.raises(DataError, match="not finite"):
        language_task().evaluate(damaged, "test")


def test_what_gives_no_logits_is_a_sentence(model: GPT2LMHeadModel) -> None:
    with pytest.raises(DataError, match=r"returned a .*; a tensor of logits"):
        language_task().evaluate(model.transformer, "test")


@pytest.mark.parametrize("texts", [{"train": ("a",)}, {"train": ("a",), "test": (), "a": ("b",)}])
def test_a_split_without_text_is_refused(texts: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(DataError, match="The validation split of letters has no text"):
        language_task(texts=texts)


def test_a_split_of_one_token_and_a_short_context_are_refused() -> None:
    tokenizer = letters_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="one token; 2 are needed"):
        one_text("a", tokenizer=tokenizer).size("test")
    with pytest.raises(DataError, match="context of 3 tokens"):
        language_task(context=3)

"""What a language model is calibrated on, and what it writes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import GPT2LMHeadModel

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from ffmerge_core.tasks.language_modeling import LanguageModeling
from tests.tasks.texts import gpt2, language_task, letters_tokenizer

CONTEXT = 16


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return gpt2(letters_tokenizer(), CONTEXT)


def calibration_windows(task: LanguageModeling, seed: int, batch_size: int = 8) -> list[list[int]]:
    windows = []
    for batch in task.calibration(seed, batch_size):
        ids, mask = batch.kwargs["input_ids"], batch.masks["decoder"]
        assert torch.equal(batch.kwargs["attention_mask"].bool(), mask)
        assert len(ids) <= batch_size
        # Padding is at the end only, so that a token's position is its own.
        assert torch.equal(mask, mask.sum(1, keepdim=True) > torch.arange(ids.shape[1]))
        windows += [row[real].tolist() for row, real in zip(ids, mask, strict=True)]
    return windows


def test_calibration_reads_each_window_of_the_training_split_once() -> None:
    task = language_task()
    expected = [
        [1, *task.tokenizer(text)["input_ids"]][start : start + CONTEXT]
        for text in task.texts["train"]
        for start in range(0, len(text) + 1, CONTEXT)
    ]
    found = calibration_windows(task, seed=0)
    assert sorted(found) == sorted(expected)
    assert sorted(calibration_windows(task, seed=0, batch_size=2)) == sorted(expected)
    assert {len(window) for window in found} != {CONTEXT}, "or nothing was padded"


def test_calibration_s_order_is_the_seed_s_alone() -> None:
    task = language_task()
    state = torch.get_rng_state()
    first = calibration_windows(task, seed=3)
    assert calibration_windows(task, seed=3) == first
    assert calibration_windows(task, seed=4) != first
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seed", range(5))
def test_calibration_reads_of_every_document_before_it_reads_twice_of_one(seed: int) -> None:
    windows = calibration_windows(language_task(), seed)
    # A document of the task repeats one letter.
    letters = [max(window) for window in windows]
    assert len(set(letters[:5])) == 5
    assert len(letters) > 5


def test_calibration_skips_documents_without_text() -> None:
    texts = {"train": ("", "ab", ""), "validation": ("b",), "test": ("c",)}
    assert calibration_windows(language_task(texts=texts), seed=0) == [[1, 2, 3]]


class OneByOne(LanguageModeling):
    """Calibration without any padding."""

    def calibration(self, seed: int, batch_size: int = 1):  # type: ignore[no-untyped-def]
        return super().calibration(seed, 1)


def test_padding_enters_no_feature(model: GPT2LMHeadModel) -> None:
    task = language_task()
    alone = OneByOne(task.data, task.tokenizer, task.texts, task.context)
    padded, plain = (fm.calibrate(fm.load(model, task=each)) for each in (task, alone))
    n_tokens = sum(len(text) + 1 for text in task.texts["train"])
    assert padded.n_tokens == plain.n_tokens == n_tokens
    for name in ("decoder.0", "decoder.1"):
        torch.testing.assert_close(padded[name].pre, plain[name].pre, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(padded[name].output, plain[name].output, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def greedy(model: nn.Module, ids: list[int], n_new: int) -> list[int]:
    written: list[int] = []
    while len(written) < n_new:
        written.append(int(model(torch.tensor([[*ids, *written]])).logits[0, -1].argmax()))
        if written[-1] == 1:
            break
    return written


def test_a_text_is_continued_by_the_likeliest_token_each_time(model: GPT2LMHeadModel) -> None:
    task = language_task()
    said = set()
    for prompt in ("", "a", "quick"):
        ids = [1, *task.tokenizer(prompt)["input_ids"]] if prompt else [1]
        expected = task.tokenizer.decode(greedy(model, ids, 8), skip_special_tokens=True)
        assert task.continue_text(model, prompt, 8) == expected
        said.add(expected)
    assert len(said) > 1, "or the prompt would not matter"


def test_of_a_long_prompt_the_end_is_read(model: GPT2LMHeadModel) -> None:
    task = language_task()
    prompt = "the quick brown fox jumps over the lazy dog"
    ids = task.tokenizer(prompt[-10:])["input_ids"]
    expected = task.tokenizer.decode(greedy(model, ids, 6), skip_special_tokens=True)
    assert task.continue_text(model, prompt, CONTEXT - 10) == expected
    with pytest.raises(DataError, match="sees 16 tokens; ask for fewer"):
        task.continue_text(model, prompt, CONTEXT)

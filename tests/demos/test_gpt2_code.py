"""The code demo: its text and splits, its tokenizer, its training, and what it promises."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from transformers import GPT2LMHeadModel

from ffmerge_core import demos
from ffmerge_core.demos.files import read_tokenizer
from ffmerge_core.demos.gpt2_code import train
from ffmerge_core.demos.gpt2_code.data import (
    END_ID,
    END_OF_TEXT,
    encode,
    modules,
    of_split,
    split_of,
)
from ffmerge_core.demos.gpt2_code.model import CONTEXT, FOLDER, VOCABULARY, load
from ffmerge_core.demos.gpt2_code.muon import orthogonalised
from ffmerge_core.demos.gpt2_code.training import Training, learning_rate
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.language_modeling import LanguageModeling


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return read_tokenizer(FOLDER)


@pytest.fixture(scope="module")
def loaded() -> tuple[GPT2LMHeadModel, LanguageModeling]:
    return load()


def test_a_module_s_split_never_changes() -> None:
    names = ("argparse", "doctest", "enum", "typing", "http.client", "tkinter", "encodings.utf_8")
    found = [split_of(name) for name in names]
    assert found == ["train", "validation", "test", "test", "validation", "train", "train"]


def test_the_splits_share_no_module_and_leave_none_out() -> None:
    names = {split: {each.name for each in of_split(split)} for split in get_args(Split)}
    assert not names["train"] & names["validation"]
    assert not (names["train"] | names["validation"]) & names["test"]
    assert set().union(*names.values()) == {each.name for each in modules()}
    for split, share in (("train", 0.9), ("validation", 0.05), ("test", 0.05)):
        assert len(names[split]) / len(modules()) == pytest.approx(share, abs=0.02)


def test_the_corpus_is_the_library_without_tests_and_build_output() -> None:
    names = {each.name for each in modules()}
    assert {"argparse", "json", "json.decoder", "tkinter.ttk"} <= names
    for name in names:
        assert not {"test", "tests", "idle_test", "site-packages"} & set(name.split("."))
        assert not name.startswith("_sysconfigdata")


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n\treturn x  # déjà vu\r\n",
        "".join(map(chr, range(256))),
        "数字 🙂 ‏שלום\u0000\ufeff",
        "\n\n\n   \n \t \n",
        "1234567 0x1F",
        "",
    ],
)
def test_any_text_comes_back_from_its_tokens(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_each_byte_has_a_token(tokenizer: Tokenizer) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert set(ByteLevel.alphabet()) <= set(tokenizer.get_vocab())
    assert tokenizer.get_vocab_size() == VOCABULARY
    assert tokenizer.token_to_id(END_OF_TEXT) == END_ID


def test_modules_are_encoded_one_after_another(tokenizer: Tokenizer) -> None:
    texts = of_split("test")[:3]
    ids = encode(tokenizer, texts).tolist()
    pieces = tokenizer.decode(ids, skip_special_tokens=False).split(END_OF_TEXT)
    assert pieces == ["", *(each.text for each in texts)]


def test_muon_s_steps_are_close_to_orthogonal() -> None:
    torch.manual_seed(0)
    for shape in ((3, 16, 64), (3, 64, 16), (3, 32, 32)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        assert float(values.max()) < 1.3
        assert float(values.median()) > 0.6


def test_the_learning_rate_rises_stays_and_falls_to_nothing() -> None:
    rates = [learning_rate(done, 1000, 500) for done in range(1000)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[50:500] == [1.0] * 450
    assert rates[501:] == sorted(rates[501:], reverse=True)
    assert rates[-1] == pytest.approx(0.002)


def tiny_training(folder: Path, steps: int) -> tuple[Training[nn.Sequential], list[str]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(16, 8), nn.Linear(8, 24), nn.Linear(24, 16))
    ids = torch.randint(16, (10, 33), generator=torch.Generator().manual_seed(1))
    lines: list[str] = []
    training = Training(model, model[1:], 0.02, 0.004, inputs_first=False)

    def loss_of(step: int) -> torch.Tensor:
        return functional.cross_entropy(model(ids[step, :-1]), ids[step, 1:])

    # The rate is level until the last step, so both trainings below have the same rates.
    training.run(steps, 1, loss_of, lambda: 1 / training.done, folder, lines.append)
    return training, lines


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    for part in ("whole", "parts"):
        (tmp_path / part).mkdir()
    whole, _ = tiny_training(tmp_path / "whole", 6)
    stopped, _ = tiny_training(tmp_path / "parts", 3)
    resumed, lines = tiny_training(tmp_path / "parts", 6)
    assert [line.split()[1] for line in lines] == ["6"]
    assert (stopped.best_step, resumed.best_step) == (3, 6)
    for (name, mine), (_, its) in zip(
        whole.model.named_parameters(), resumed.model.named_parameters(), strict=True
    ):
        torch.testing.assert_close(mine, its, msg=name)


def test_an_epoch_sees_every_cut_once_and_the_next_one_cuts_elsewhere() -> None:
    ids = torch.arange(2 * CONTEXT + 3 * train.BATCH_SIZE * CONTEXT)
    epochs = [
        torch.cat([train.batch(ids, step, seed=0)[:, 0] for step in range(start, start + 3)])
        for start in (0, 3)
    ]
    for starts in epochs:
        assert len(starts.unique()) == 3 * train.BATCH_SIZE
        assert len((starts % CONTEXT).unique()) == 1
    assert epochs[0][0] % CONTEXT != epochs[1][0] % CONTEXT
    assert torch.equal(train.batch(ids, 4, seed=0), train.batch(ids, 4, seed=0))


def test_the_task_s_stream_is_what_was_trained_on(
    loaded: tuple[GPT2LMHeadModel, LanguageModeling], tokenizer: Tokenizer
) -> None:
    _, task = loaded
    for split in ("validation", "test"):
        stream = task.stream(split)
        assert torch.equal(stream.ids, encode(tokenizer, of_split(split)))
        assert stream.n_bytes.sum() == sum(module.n_bytes for module in of_split(split))
    assert (task.context, task.tokenizer.eos_token_id) == (CONTEXT, END_ID)


def test_the_output_matrix_is_the_embedding(
    loaded: tuple[GPT2LMHeadModel, LanguageModeling],
) -> None:
    model, _ = loaded
    assert model.lm_head.weight is model.transformer.wte.weight


def test_it_writes_on_as_python_is_written(
    loaded: tuple[GPT2LMHeadModel, LanguageModeling],
) -> None:
    model, task = loaded
    assert task.continue_text(model, "if __name__ ", 6).startswith("== '__main__':\n")
    assert task.continue_text(model, "try:\n    import x\nexcept ", 6).endswith(
        "Error:\n    pass\n\n"
    )


def test_the_card_keeps_its_promise() -> None:
    card = demos.card("gpt2-code")
    assert card.test["others"]["bits per byte"]["value"] <= 1.75
    assert [each["name"] for each in card.sublayers] == [f"decoder.{i}" for i in range(12)]

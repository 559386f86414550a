"""The code demo: its text and splits, its tokenizer, its scoring, its training, and its card."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, load_model
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from transformers import GPT2LMHeadModel

from ffmerge_core.demos.gpt2_code import train
from ffmerge_core.demos.gpt2_code.data import (
    END_ID,
    END_OF_TEXT,
    corpus_hash,
    encode,
    modules,
    of_split,
    split_of,
)
from ffmerge_core.demos.gpt2_code.model import (
    CONTEXT,
    FOLDER,
    TOKENIZER,
    VOCABULARY,
    WEIGHTS,
    build,
    load,
    load_tokenizer,
)
from ffmerge_core.demos.gpt2_code.muon import orthogonalised
from ffmerge_core.demos.gpt2_code.scoring import STRIDE, score
from ffmerge_core.demos.gpt2_code.training import Training, learning_rate
from ffmerge_core.errors import SourceError
from ffmerge_core.models.sublayers import FFSublayer

CARD = json.loads((FOLDER / "card.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer()


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return load()


def test_a_module_s_split_never_changes() -> None:
    names = ("argparse", "doctest", "enum", "typing", "http.client", "tkinter", "encodings.utf_8")
    found = [split_of(name) for name in names]
    assert found == ["train", "validation", "test", "test", "validation", "train", "train"]


def test_the_splits_share_no_module_and_leave_none_out() -> None:
    names = {split: {each.name for each in of_split(split)} for split in CARD["splits"]}
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


def test_the_corpus_s_hash_follows_every_name_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    from ffmerge_core.demos.gpt2_code import data

    whole = corpus_hash()
    first, *rest = modules()
    for changed in (data.Module(first.name, first.text + "\n"), data.Module("other", first.text)):
        monkeypatch.setattr(data, "modules", lambda changed=changed: (changed, *rest))
        assert corpus_hash() != whole
    monkeypatch.undo()
    assert corpus_hash() == whole


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


class Position(torch.nn.Module):
    """Gives every position's own logits away, so that a score tells which were used."""

    def forward(self, ids: torch.Tensor) -> object:
        logits = torch.zeros(*ids.shape, 7)
        logits[..., 1] = torch.arange(ids.shape[1]) / 100
        return type("Output", (), {"logits": logits})


@pytest.mark.parametrize("n_tokens", [2, 200, 257, 258, 384, 385, 386, 1000])
@pytest.mark.parametrize("stride", [STRIDE, CONTEXT])
def test_every_token_is_scored_once_with_the_most_context(n_tokens: int, stride: int) -> None:
    ids = torch.ones(n_tokens, dtype=torch.long)
    result = score(Position(), ids, n_bytes=n_tokens, stride=stride, batch_size=3)
    # Target t of the first window is at position t - 1; later ones sit in its last `stride`.
    positions = [
        at if at < CONTEXT else CONTEXT - stride + (at - CONTEXT) % stride
        for at in range(n_tokens - 1)
    ]
    logits = torch.zeros(len(positions), 7)
    logits[:, 1] = torch.tensor(positions) / 100
    losses = functional.cross_entropy(logits, ids[1:], reduction="none").double()
    assert result.n_tokens == n_tokens - 1
    expected = losses.sum().item() / math.log(2) / n_tokens
    assert result.bits_per_byte == pytest.approx(expected, rel=1e-5)
    assert result.perplexity == pytest.approx(math.exp(losses.mean().item()), rel=1e-5)


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


def test_the_weights_are_those_of_the_card_and_load_strictly() -> None:
    weights = (FOLDER / WEIGHTS).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == CARD["weights_sha256"]
    model = build()
    assert load_model(model, FOLDER / WEIGHTS, strict=True) == (set(), [])
    assert model.lm_head.weight is model.transformer.wte.weight
    stored = load_file(FOLDER / WEIGHTS)
    assert sum(each.numel() for each in stored.values()) == CARD["n_parameters"]
    assert sum(each.numel() for each in model.parameters()) == CARD["n_parameters"]


@pytest.mark.parametrize("damage", [lambda raw: raw[:1000], lambda raw: b""])
def test_damaged_files_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    for name in (WEIGHTS, TOKENIZER):
        (tmp_path / name).write_bytes(damage((FOLDER / name).read_bytes()))
    with pytest.raises(SourceError, match="weights of demo:gpt2-code cannot be read"):
        load(tmp_path)
    with pytest.raises(SourceError, match="tokenizer of demo:gpt2-code cannot be read"):
        load_tokenizer(tmp_path)


def test_the_card_describes_the_model(model: GPT2LMHeadModel) -> None:
    assert sum(part["n_parameters"] for part in CARD["anatomy"]) == CARD["n_parameters"]
    sublayers = [FFSublayer.from_dict(each) for each in CARD["sublayers"]]
    assert [each.name for each in sublayers] == [f"decoder.{index}" for index in range(12)]
    for each in sublayers:
        model.get_submodule(each.attention)
        # GPT-2's Conv1D keeps its matrix inputs first.
        w_in = model.get_submodule(each.w_in.module).get_parameter("weight")
        w_out = model.get_submodule(each.w_out.module).get_parameter("weight")
        assert w_in.shape == (each.d_model, each.d_ff)
        assert w_out.shape == (each.d_ff, each.d_model)


def test_the_card_keeps_its_promise() -> None:
    assert CARD["test"]["value"] <= 1.75
    assert CARD["validation"]["n_tokens"] == CARD["splits"]["validation"]["tokens"] - 1
    assert CARD["test"]["n_bytes"] == CARD["splits"]["test"]["bytes"]


def test_the_card_s_figure_is_measured_again(model: GPT2LMHeadModel, tokenizer: Tokenizer) -> None:
    again = train.quick_check(model, tokenizer)
    recorded = CARD["quick_check"]
    same_text = corpus_hash() == CARD["corpus_hash"]
    # Another version of Python says other things in the same modules.
    assert again["value"] == pytest.approx(recorded["value"], abs=0.002 if same_text else 0.25)

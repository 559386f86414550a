"""A tokenizer beside a model's table of another size: read where it can be, refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from torch.nn import functional
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizer,
    PreTrainedTokenizerFast,
)

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from ffmerge_core.tasks.translation import Translation
from tests.conftest import randomise
from tests.models.tiny import LONGEST

KNOWN = 40
WORDS = [f"w{number}" for number in range(KNOWN - 3)]


def gpt2() -> nn.Module:
    config = GPT2Config(
        vocab_size=KNOWN, n_positions=LONGEST, n_embd=32, n_layer=3, n_head=4, bos_token_id=1,
        eos_token_id=1,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def opt() -> nn.Module:
    config = OPTConfig(
        vocab_size=KNOWN, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, ffn_dim=48,
        max_position_embeddings=LONGEST, word_embed_proj_dim=32, bos_token_id=1, eos_token_id=1,
        pad_token_id=0,
    )  # fmt: skip
    return OPTForCausalLM(config)


def marian(target_words: int | None = None) -> nn.Module:
    shared = target_words is None
    return MarianMTModel(
        MarianConfig(
            vocab_size=KNOWN, decoder_vocab_size=target_words or KNOWN, d_model=32,
            encoder_layers=3, decoder_layers=3, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48,
            max_position_embeddings=LONGEST, pad_token_id=0, eos_token_id=1,
            forced_eos_token_id=1, decoder_start_token_id=0, bos_token_id=None,
            share_encoder_decoder_embeddings=shared, tie_word_embeddings=shared,
        )
    )  # fmt: skip


def tokenizer(
    words: Sequence[str] = WORDS, unknown: str | None = "<unk>"
) -> PreTrainedTokenizerFast:
    every = ["<pad>", "</s>", unknown or "<other>", *words]
    ids = {token: id for id, token in enumerate(every)}
    inner = Tokenizer(models.WordLevel(ids, unk_token=unknown))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token=unknown
    )


def with_new(**special: str) -> PreTrainedTokenizerFast:
    """Special tokens added, and nobody resized the model."""
    own = tokenizer()
    own.add_special_tokens(special)
    return own


def folder(module: nn.Module, own: object, place: Path) -> Path:
    randomise(module).save_pretrained(place)  # type: ignore[operator]
    own.save_pretrained(place)  # type: ignore[attr-defined]
    return place


def texts(place: Path, extra: str = "") -> Path:
    """Documents of 1 to 30 words, so that there is padding."""
    said = (" ".join(WORDS[(n + at) % 30] for at in range(1 + n)) + extra for n in range(30))
    path = place / "texts.txt"
    path.write_text("\n\n".join(said))
    return path


def pairs(place: Path, extra: str = "", target: str = "") -> Path:
    rows = (
        f"{' '.join(WORDS[n % 30 : n % 30 + 1 + n % 5])}{extra}\t"
        f"{' '.join(WORDS[n % 20 : n % 20 + 1 + n % 4])} w{n % 10}{target}"
        for n in range(60)
    )
    path = place / "pairs.tsv"
    path.write_text("\n".join(rows))
    return path


@pytest.mark.parametrize("build", [gpt2, opt])
@pytest.mark.parametrize(
    "special", [{"pad_token": "[PAD]"}, {"bos_token": "<s>", "pad_token": "[PAD]"}]
)
def test_a_padding_token_that_the_model_does_not_know_changes_no_score(
    build: Callable[[], nn.Module], special: dict[str, str], tmp_path: Path
) -> None:
    data = texts(tmp_path)
    plain = fm.load(folder(build(), tokenizer(), tmp_path / "plain"), task=data)
    added = fm.load(folder(build(), with_new(**special), tmp_path / "added"), task=data)
    plan = fm.MergePlan((("decoder.0", "decoder.1"),))
    scores = []
    for model in (plain, added):
        assert not all(
            batch.masks["decoder"].all() for batch in model.require_task().inputs("test")
        )
        merged = fm.apply(model, plan, fm.calibrate(model, tokens=200))
        again = fm.load(fm.save(merged, tmp_path / f"merged-{id(model)}").folder)
        scores.append([fm.evaluate(each, "test").summary() for each in (model, merged, again)])
    assert scores[0] == scores[1]
    assert len(added.tokenizer) > KNOWN == len(plain.tokenizer)


def test_a_translator_s_padding_may_be_unknown_too(tmp_path: Path) -> None:
    data = pairs(tmp_path)
    plain = fm.load(folder(marian(), tokenizer(), tmp_path / "plain"), task=data)
    added = fm.load(folder(marian(), with_new(pad_token="[PAD]"), tmp_path / "added"), task=data)
    for split in ("validation", "test"):
        one, other = (fm.evaluate(model, split) for model in (plain, added))  # type: ignore[arg-type]
        assert (one.summary(), list(one.predictions)) == (other.summary(), list(other.predictions))
    feats = [fm.calibrate(model, tokens=100) for model in (plain, added)]
    for name in ("encoder.1", "decoder.1"):
        assert torch.equal(feats[0][name].pre, feats[1][name].pre)
    tuned = [fm.recover(model, steps=1, batch_size=4) for model in (plain, added)]
    assert fm.evaluate(tuned[0]).loss == fm.evaluate(tuned[1]).loss


@pytest.mark.parametrize("build", [gpt2, opt])
def test_such_a_token_in_a_text_is_refused_by_name(
    build: Callable[[], nn.Module], tmp_path: Path
) -> None:
    model = fm.load(
        folder(build(), with_new(pad_token="[PAD]"), tmp_path / "model"),
        task=texts(tmp_path, extra=" [PAD]"),
    )
    refused = (
        rf"texts\.txt holds the token '\[PAD\]', whose id is {KNOWN}, and the model knows {KNOWN}"
    )
    with pytest.raises(DataError, match=refused):
        fm.evaluate(model)
    with pytest.raises(DataError, match=refused):
        fm.calibrate(model, tokens=50)
    with pytest.raises(DataError, match=refused):
        model.require_task().continue_text(model.model, "w1 [PAD]", 3)  # type: ignore[attr-defined]
    assert model.require_task().continue_text(model.model, "w1 w2", 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("side", ["extra", "target"])
def test_such_a_token_in_a_pair_is_refused_by_name(side: str, tmp_path: Path) -> None:
    data = pairs(tmp_path, **{side: " [PAD]"})
    model = fm.load(folder(marian(), with_new(pad_token="[PAD]"), tmp_path / "model"), task=data)
    with pytest.raises(
        DataError, match=rf"pairs\.tsv holds the token '\[PAD\]', whose id is {KNOWN}"
    ):
        list(model.require_task().inputs("test"))


def test_an_end_that_the_model_does_not_know_separates_no_documents(tmp_path: Path) -> None:
    data = texts(tmp_path)
    model = fm.load(
        folder(gpt2(), with_new(eos_token="<|im_end|>"), tmp_path / "model"),
        task=data,
    )
    task = model.require_task()
    assert isinstance(task, fm.LanguageModeling)
    said = [
        task.tokenizer(text, add_special_tokens=False)["input_ids"] for text in task.texts["test"]
    ]
    assert task.stream("test").ids.tolist() == [id for ids in said for id in ids]
    known = replace(
        task, tokenizer=with_new(eos_token="<|im_end|>", bos_token="<unk>"), _streams={}
    )
    assert known.stream("test").ids.tolist() == [id for ids in said for id in (2, *ids)]
    assert fm.evaluate(model).loss > 0


def test_an_end_of_every_sentence_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    own = with_new(eos_token="<end>")
    own.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <end>", special_tokens=[("<end>", KNOWN)]
    )
    model = fm.load(folder(marian(), own, tmp_path / "model"), task=pairs(tmp_path))
    with pytest.raises(DataError, match=f"token '<end>', whose id is {KNOWN}"):
        fm.evaluate(model)


def test_a_decoder_may_know_fewer_tokens_than_the_encoder(tmp_path: Path) -> None:
    place = folder(marian(target_words=35), tokenizer(), tmp_path / "model")
    model = fm.load(place, task=pairs(tmp_path, extra=" w36"))
    task = model.require_task()
    assert isinstance(task, Translation)
    assert (task.known, task.known_target) == (KNOWN, 35)
    assert fm.evaluate(model).n > 0
    with pytest.raises(DataError, match=r"token 'w36', whose id is 39, and the model knows 35"):
        fm.evaluate(fm.load(place, task=pairs(tmp_path, target=" w36")))


def test_a_tokenizer_of_fewer_tokens_is_read(tmp_path: Path) -> None:
    place = folder(gpt2(), tokenizer(WORDS[:31]), tmp_path / "model")
    model = fm.load(place, task=texts(tmp_path))
    assert len(model.tokenizer) < KNOWN
    assert fm.evaluate(model).value > 1


def test_a_loss_is_transformers_own_beside_an_unknown_padding(tmp_path: Path) -> None:
    place = folder(marian(), with_new(pad_token="[PAD]"), tmp_path / "model")
    model = fm.load(place, task=pairs(tmp_path))
    theirs, own = MarianMTModel.from_pretrained(place).eval(), tokenizer()
    losses = []
    for source, reference in model.require_task().pairs["test"]:  # type: ignore[attr-defined]
        batch = own(source, text_target=reference, return_tensors="pt")
        with torch.no_grad():
            logits = theirs(**batch).logits[0]
        losses.append(functional.cross_entropy(logits, batch["labels"][0], reduction="none"))
    assert fm.evaluate(model, "test").loss == pytest.approx(
        float(torch.cat(losses).mean()), rel=1e-5
    )


class Slow(PreTrainedTokenizer):
    """Words in Python, which tells no offsets and has no token for what it does not know."""

    def __init__(self, **kwargs: object) -> None:
        self.ids = {token: id for id, token in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
        super().__init__(pad_token="<pad>", eos_token="</s>", **kwargs)

    @property
    def vocab_size(self) -> int:
        return len(self.ids)

    def get_vocab(self) -> dict[str, int]:
        return self.ids | self.added_tokens_encoder

    def _tokenize(self, text: str, **_: object) -> list[str]:
        return text.split()

    def _convert_token_to_id(self, token: str) -> int | None:
        return self.ids.get(token)

    def _convert_id_to_token(self, index: int) -> str:
        return list(self.ids)[index]


UNKNOWN: dict[str, Callable[[], object]] = {
    "fast": lambda: tokenizer(unknown=None),
    "slow": Slow,
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_word_that_no_token_stands_for_is_a_sentence(kind: str, tmp_path: Path) -> None:
    module, own = randomise(gpt2()), UNKNOWN[kind]()
    every = [" ".join(WORDS[n : n + 9]) for n in range(9)]
    splits = {"train": every, "validation": every, "test": [*every, "w1 another w2"]}
    task = fm.LanguageModeling("words", own, splits, LONGEST, known=KNOWN)
    model = fm.load(module, task=task)
    assert fm.evaluate(model).value > 1
    with pytest.raises(DataError, match=r"tokenizer (cannot read|has no id for a part of) words"):
        fm.evaluate(model, "test")

"""Hidden tokens: which they are, what they cost, and that transformers computes the same."""

from __future__ import annotations

import math
from itertools import islice

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.batch import IGNORED
from ffmerge_core.tasks.masked_language_modeling import QUICK_PIECES, MaskedLanguageModeling
from tests.conftest import randomise
from tests.tasks.texts import LETTERS, letters_tokenizer

SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
CONTEXT = 24


def masking_tokenizer() -> PreTrainedTokenizerFast:
    """A token a letter between [CLS] and [SEP]."""
    ids = {token: index for index, token in enumerate([*SPECIAL, *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", unk_token="[UNK]",
    )  # fmt: skip


def bert(size: int = len(SPECIAL) + len(LETTERS), **config: object) -> BertForMaskedLM:
    given = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    given |= {"intermediate_size": 48, "max_position_embeddings": CONTEXT, "vocab_size": size}
    return randomise(BertForMaskedLM(BertConfig(**given | config)))  # type: ignore[return-value]


def task(**changes: object) -> MaskedLanguageModeling:
    texts = {
        "train": ("the quick brown fox jumps over the lazy dog", "pack my box", "a"),
        "validation": ("how vexingly quick daft zebras jump", "sphinx of black quartz"),
        "test": ("waltz, bad nymph, for quick jigs vex",),
    }
    given = {"data": "letters", "tokenizer": masking_tokenizer(), "texts": texts}
    return MaskedLanguageModeling(**{**given, "context": CONTEXT, **changes})  # type: ignore[arg-type]


def test_a_score_is_what_transformers_makes_of_the_same_hidden_tokens() -> None:
    model, own = bert().eval(), task()
    result = own.evaluate(model, "validation")
    losses, hidden = 0.0, 0
    for piece in own.scored("validation"):
        shown = piece.ids.masked_fill(piece.hidden, own.tokenizer.mask_token_id)
        labels = piece.ids.masked_fill(~piece.hidden, IGNORED)
        with torch.no_grad():
            found = model(input_ids=shown[None], labels=labels[None])
        losses += float(found.loss) * int(piece.hidden.sum())
        hidden += int(piece.hidden.sum())
    assert result.loss == pytest.approx(losses / hidden, rel=1e-5)
    assert result.value == pytest.approx(math.exp(losses / hidden), rel=1e-5)
    assert result.metric == "pseudo-perplexity"
    assert result.notes["scored"].startswith(f"{hidden} hidden tokens in ")


def test_pieces_hold_every_word_once_and_hide_no_special_token() -> None:
    own = task()
    for split in ("train", "validation", "test"):
        pieces = own.pieces(split)
        words = [int(id) for piece in pieces for id in piece.ids[piece.words]]
        expected = [
            id for text in own.texts[split]
            for id in own.tokenizer(text, add_special_tokens=False)["input_ids"]
        ]  # fmt: skip
        assert words == expected
        for piece in pieces:
            assert len(piece.ids) <= CONTEXT
            assert not bool((piece.hidden & ~piece.words).any())
            assert int(piece.hidden.sum()) == max(1, round(0.15 * int(piece.words.sum())))


def test_the_same_tokens_are_hidden_every_time_and_others_in_training() -> None:
    for mine, other in zip(task().pieces("test"), task().pieces("test"), strict=True):
        assert torch.equal(mine.hidden, other.hidden)
    own = task()
    batches = list(islice(own.training(0, 3), 12))
    again = list(islice(own.training(0, 3), 12))
    for batch, same in zip(batches, again, strict=True):
        assert torch.equal(batch.targets, same.targets)  # type: ignore[arg-type]
        ids = batch.kwargs["input_ids"]
        assert bool((ids[batch.targets != IGNORED] == own.tokenizer.mask_token_id).all())
    hidden = {tuple((batch.targets != IGNORED).flatten().tolist()) for batch in batches}
    assert len(hidden) > 6, "each time others"


def test_padding_changes_nothing() -> None:
    model, own = bert().eval(), task()
    alone = [own.evaluate(model, "validation").loss]
    many = task(texts={**own.texts, "validation": (*own.texts["validation"], "a")})
    rows = many.evaluate(model, "validation")
    losses = rows.measures["loss"].statistics
    assert losses[:-1, 0].sum() / losses[:-1, 1].sum() == pytest.approx(alone[0], rel=1e-5)


def test_calibration_reads_training_alone_in_a_drawn_order() -> None:
    own = task()
    seen = [tuple(batch.kwargs["input_ids"].shape) for batch in own.calibration(0, 2)]
    n_pieces = len(own.pieces("train"))
    assert sum(rows for rows, _ in seen) == n_pieces
    first = next(own.calibration(0, 100)).kwargs["input_ids"]
    other = next(own.calibration(1, 100)).kwargs["input_ids"]
    assert not torch.equal(first, other)
    assert sorted(first.tolist()) == sorted(other.tolist())


def test_the_loss_is_that_of_hidden_tokens_with_a_gradient() -> None:
    model, own = bert(), task()
    batch = next(own.training(0, 3))
    loss = own.loss(batch.run(model), batch)
    loss.backward()
    with torch.no_grad():
        found = model(**batch.kwargs, labels=batch.targets)
    assert float(loss.detach()) == pytest.approx(float(found.loss), rel=1e-5)


def test_of_a_long_validation_split_pieces_are_spread_evenly() -> None:
    own = task(texts={**task().texts, "validation": ("abcdefgh " * 2000,)})
    assert own.size("validation") == QUICK_PIECES
    assert len(own.pieces("validation")) > QUICK_PIECES
    assert own.count("validation") == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokenizer": letters_tokenizer()}, "has no mask token"),
        ({"context": 3}, "4 or more are needed"),
        ({"texts": {"train": ("a",), "validation": (), "test": ("a",)}}, "validation split .* no"),
    ],
)
def test_what_cannot_be_is_a_sentence(changes: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        task(**changes)


def test_a_split_without_a_token_is_a_sentence() -> None:
    with pytest.raises(DataError, match="no token to hide"):
        task(texts={**task().texts, "test": ("   ",)}, tokenizer=_no_spaces()).size("test")


def _no_spaces() -> PreTrainedTokenizerFast:
    tokenizer = masking_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def test_padding_beyond_the_model_s_table_is_another_token() -> None:
    tokenizer = masking_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[NEW]"})
    size = len(SPECIAL) + len(LETTERS)
    assert tokenizer.pad_token_id >= size
    plain, added = (
        task(tokenizer=each, known=size).evaluate(bert().eval(), "validation")
        for each in (masking_tokenizer(), tokenizer)
    )
    assert added.loss == pytest.approx(plain.loss, rel=1e-6)
    with pytest.raises(DataError, match=r"holds the token '\[NEW\]', whose id is"):
        task(tokenizer=tokenizer, known=size, texts={**task().texts, "test": ("a[NEW]b",)}).size(
            "test"
        )

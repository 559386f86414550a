"""The translator demo: its sentences and splits, its tokenizer, its weights and its card."""

import re

import pytest
import torch
from num2words import num2words  # type: ignore[import-untyped]
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import MarianMTModel

from ffmerge_core import demos
from ffmerge_core.demos.files import WEIGHTS, read_tokenizer
from ffmerge_core.demos.marian_en_fr import train
from ffmerge_core.demos.marian_en_fr.clauses import CLAUSES, Clause
from ffmerge_core.demos.marian_en_fr.data import SIZES, Pair, Sentences, pair, pairs
from ffmerge_core.demos.marian_en_fr.model import (
    END_ID,
    FOLDER,
    PAD_ID,
    VOCABULARY,
    encode,
    load,
)
from ffmerge_core.demos.marian_en_fr.values import Values, names, split_of
from ffmerge_core.tasks import translation
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.translation import Translation

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return read_tokenizer(FOLDER)


@pytest.fixture(scope="module")
def loaded() -> tuple[MarianMTModel, Translation]:
    return load()


@pytest.fixture(scope="module")
def sentences() -> dict[Split, list[Pair]]:
    return {
        "train": pairs("train", 5_000),
        "validation": pairs("validation"),
        "test": pairs("test"),
    }


def test_no_number_date_time_or_pair_of_names_is_in_two_splits(
    sentences: dict[Split, list[Pair]],
) -> None:
    values = {split: {key for each in sentences[split] for key in each.values} for split in SPLITS}
    assert not values["train"] & values["validation"]
    assert not (values["train"] | values["validation"]) & values["test"]
    for split in SPLITS:
        assert {key.split()[0] for key in values[split]} == {"number", "date", "time", "names"}


def test_every_sentence_of_every_split_is_filled_with_its_own_split_s_values(
    sentences: dict[Split, list[Pair]],
) -> None:
    for split in SPLITS:
        for each in sentences[split]:
            assert each.values
            assert {split_of(key) for key in each.values} == {split}


def test_a_sentence_s_values_are_what_it_says(sentences: dict[Split, list[Pair]]) -> None:
    for each in sentences["test"][:300]:
        digits = re.sub(r"(?<=\d),(?=\d)", "", each.english)
        for key in each.values:
            kind, value = key.split(maxsplit=1)
            if kind == "number":
                words = (
                    (num2words(float(value)), num2words(float(value), to="ordinal"))
                    if ("." not in value)
                    else ()
                )
                assert value in digits or any(word in each.english for word in words)
            if kind == "names":
                assert all(name in each.english for name in value.split(" and "))
            if kind == "date":
                assert f", {value[:4]}" in each.english


def test_no_sentence_is_in_two_splits(sentences: dict[Split, list[Pair]]) -> None:
    texts = {split: {each.english for each in sentences[split]} for split in SPLITS}
    assert not texts["train"] & texts["validation"]
    assert not (texts["train"] | texts["validation"]) & texts["test"]


def test_a_sentence_is_the_same_however_it_is_asked_for() -> None:
    assert pairs("validation", 20)[13] == pair("validation", 13) == pair("validation", 13)
    assert pair("validation", 13) != pair("test", 13)


def test_a_split_s_sentences_can_be_indexed_and_cut() -> None:
    test = Sentences("test")
    known = [(each.english, each.french) for each in pairs("test", 5)]
    assert (len(test), test[3], test[-1000]) == (SIZES["test"], known[3], known[0])
    assert list(test[:5]) == known
    assert list(test[1:5:2]) == known[1::2]
    with pytest.raises(IndexError):
        test[SIZES["test"]]


def test_a_value_s_split_never_changes() -> None:
    keys = ("number 65", "number 4.07", "names Denmark and Niger", "date 1962-02-16")
    assert [split_of(key) for key in keys] == ["test"] * 4
    assert [split_of(f"number {number}") for number in (2, 3, 10, 355)] == [
        "train",
        "train",
        "train",
        "test",
    ]


def test_names_are_many_and_take_the_words_that_french_wants() -> None:
    known = names()
    assert len(known.places) > 200
    assert len(known.languages) > 150
    assert len(known.countries) > 100
    said = {text for each in known.countries for text in (*each.within, *each.out_of)}
    assert {"in the United States", "aux États-Unis", "from Japan", "du Japon"} <= said
    assert {"d’Espagne", "de France", "à Cuba", "de Cuba", "des Pays-Bas"} <= said


@pytest.mark.parametrize("clause", CLAUSES)
def test_every_template_says_its_values_in_both_languages(clause: Clause) -> None:
    first, second = Values("test", "one seed"), Values("test", "another seed")
    english, french = clause(first)
    assert first.keys
    assert english != french
    assert {english, french}.isdisjoint(clause(second))


def test_no_invisible_spaces_and_every_sentence_is_whole(
    sentences: dict[Split, list[Pair]],
) -> None:
    for split in SPLITS:
        for each in sentences[split]:
            for text in (each.english, each.french):
                assert not set(text) & {"\u00a0", "\u202f", "\n", "\t"}
                assert text[0] == text[0].upper()
                assert text.endswith(".")
                assert "  " not in text


def test_values_of_another_split_are_never_drawn() -> None:
    values = Values("validation", "a seed")
    for _ in range(200):
        values.number(9_999)
        values.date()
        values.languages()
    assert len(values.keys) == 600
    assert {split_of(key) for key in values.keys} == {"validation"}


@pytest.mark.parametrize(
    "text",
    [
        "Le 1 234,50 € déjà vu.",
        "".join(map(chr, range(256))),
        "数字 🙂 ‏שלום\u0000\ufeff",
        "\n\n   \t",
        "",
    ],
)
def test_any_text_comes_back_from_its_tokens(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert tokenizer.encode(text).ids == [*ids, END_ID]


def test_every_digit_is_a_token_of_its_own(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() == VOCABULARY
    longer = [
        token for token in tokenizer.get_vocab() if re.search(r"\d", token) and len(token) > 1
    ]
    assert longer == []


def test_a_batch_is_padded_after_its_end(tokenizer: Tokenizer) -> None:
    ids = encode(tokenizer, ["He lives in Denmark.", "Hm"])
    short = ids[1].tolist()
    end = short.index(END_ID)
    assert set(short[end + 1 :]) == {PAD_ID}
    assert PAD_ID not in ids[0]


def test_an_epoch_holds_every_pair_once_and_the_next_one_in_another_order() -> None:
    size = train.BATCH_SIZE * 7
    sentences = [Pair(f"{'long ' * (index % 50)}{index}", "", ()) for index in range(size)]
    epochs = [
        [
            each.english
            for step in range(start, start + 7)
            for each in train.batch(sentences, step, 0)
        ]
        for start in (0, 7)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(each.english for each in sentences)
    assert epochs[0] != epochs[1]


def test_padding_does_not_change_the_training_loss(
    loaded: tuple[MarianMTModel, Translation], tokenizer: Tokenizer
) -> None:
    model, _ = loaded
    short, long = sorted(pairs("validation", 40), key=lambda each: len(each.english))[::39]
    with torch.inference_mode():
        apart = [train.loss_of(model, tokenizer, [each]).item() for each in (short, long)]
        together = train.loss_of(model, tokenizer, [short, long]).item()
    lengths = [len(tokenizer.encode(each.french).ids) for each in (short, long)]
    expected = (apart[0] * lengths[0] + apart[1] * lengths[1]) / sum(lengths)
    assert together == pytest.approx(expected, rel=1e-4)


def test_the_task_s_loss_is_the_one_that_was_trained(
    loaded: tuple[MarianMTModel, Translation],
    tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, task = loaded
    monkeypatch.setattr(translation, "QUICK_PAIRS", 8)
    with torch.inference_mode():
        expected = train.loss_of(model, tokenizer, pairs("validation", 8)).item()
    assert task.evaluate(model, "validation").loss == pytest.approx(expected, rel=1e-4)


def test_weights_are_stored_in_half_precision_and_the_output_matrix_is_the_embedding(
    loaded: tuple[MarianMTModel, Translation],
) -> None:
    model, _ = loaded
    assert model.lm_head.weight is model.model.shared.weight
    assert all(each.dtype == torch.float16 for each in load_file(FOLDER / WEIGHTS).values())
    assert {each.dtype for each in model.parameters()} == {torch.float32}


def test_translations_come_in_the_order_of_the_sentences(
    loaded: tuple[MarianMTModel, Translation],
) -> None:
    model, task = loaded
    chosen = pairs("test", 6)
    said = task.translate(model, [each.english for each in chosen])
    for each, french in zip(chosen, said, strict=True):
        assert french[:4] == each.french[:4]


def test_the_card_keeps_its_promise() -> None:
    card = demos.card("marian-en-fr")
    assert 80 <= card.test["value"] <= 97
    assert card.test["n"] == SIZES["test"]
    assert card.test["notes"]["BLEU"].startswith("nrefs:1|case:mixed|")
    assert card.splits == SIZES
    assert [each["name"] for each in card.sublayers] == [
        f"{stack}.{index}" for stack in ("encoder", "decoder") for index in range(6)
    ]

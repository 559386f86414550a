"""Labelled texts: accuracy and loss as transformers computes them; splits, labels, refusals."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.class_names import LABEL, OWN_NAMES, match_classes
from ffmerge_core.tasks.own_data import read_labelled
from ffmerge_core.tasks.text_classification import TextClassification
from tests.conftest import randomise
from tests.tasks.test_masked_language_modeling import CONTEXT, SPECIAL, masking_tokenizer
from tests.tasks.texts import LETTERS

CLASSES = ("dull", "fine", "great")


def bert(labels: int = 3) -> BertForSequenceClassification:
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=CONTEXT, vocab_size=len(SPECIAL) + len(LETTERS), num_labels=labels,
    )  # fmt: skip
    return randomise(BertForSequenceClassification(config)).eval()  # type: ignore[return-value]


def task(**changes: object) -> TextClassification:
    texts = [(n % 3, f"text number {n} " + "z" * (n % 30)) for n in range(40)]
    splits = {"train": texts[:20], "validation": texts[20:30], "test": texts[30:]}
    given = {"data": "reviews", "tokenizer": masking_tokenizer(), "classes": CLASSES}
    given |= {"examples_of": splits, "longest": CONTEXT}
    return TextClassification(**{**given, **changes})  # type: ignore[arg-type]


def test_a_score_is_what_transformers_makes_of_each_text_alone() -> None:
    model, own = bert(), task(notes={"classes": OWN_NAMES})
    result = own.evaluate(model, "validation")
    right, losses = [], []
    for label, text in own.examples_of["validation"]:
        inputs = own.tokenizer(text, return_tensors="pt", truncation=True, max_length=CONTEXT)
        with torch.no_grad():
            found = model(
                inputs["input_ids"], inputs["attention_mask"], labels=torch.tensor([label])
            )
        right.append(int(found.logits.argmax()) == label)
        losses.append(float(found.loss))
    assert result.value == sum(right) / len(right)
    assert result.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert (result.n, result.notes) == (10, {"classes": OWN_NAMES})


def test_training_gives_every_text_with_its_class() -> None:
    own = task()
    batches = list(islice(own.training(0, 4), 5))
    labels = torch.cat([batch.targets for batch in batches])  # type: ignore[misc]
    assert sorted(labels.tolist()) == sorted(label for label, _ in own.examples_of["train"])
    loss = own.loss(batches[0].run(model := bert()), batches[0])
    with torch.no_grad():
        found = model(**batches[0].kwargs, labels=batches[0].targets)
    assert float(loss.detach()) == pytest.approx(float(found.loss), rel=1e-5)


def test_a_file_is_read_and_equal_texts_share_a_split(tmp_path: Path) -> None:
    rows = [(CLASSES[n % 3], f"text {n // 2}") for n in range(60)]
    path = tmp_path / "reviews.tsv"
    path.write_text("".join(f"{label}\t{text}\n" for label, text in rows), "utf-8")
    own = read_labelled(path)
    assert sorted(pair for pairs in own.pairs.values() for pair in pairs) == sorted(rows)
    texts = [{text for _, text in pairs} for pairs in own.pairs.values()]
    assert not texts[0] & texts[1]
    assert not texts[1] & texts[2]
    assert not texts[0] & texts[2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("only text", "line 11 has 1 column; 2 separated by a tab were expected, the label and"),
        ("great\t", "line 11 has an empty text"),
        ("\tsome text", "line 11 has an empty label"),
        ("great\ta\tb", "line 11 has 3 columns"),
    ],
)
def test_a_line_that_is_no_example_is_named(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "reviews.tsv"
    path.write_text("".join(f"great\ttext {n}\n" for n in range(10)) + line + "\n", "utf-8")
    with pytest.raises(DataError, match=said):
        read_labelled(path)


def test_labels_are_matched_as_folders_are() -> None:
    named = match_classes(["fine", "great"], CLASSES, 3, "reviews", LABEL)
    assert (named.number, named.by) == ({"fine": 1, "great": 2}, OWN_NAMES)
    numbered = match_classes(["0", "2"], CLASSES, 3, "reviews", LABEL)
    assert (numbered.number, numbered.by) == (
        {"0": 0, "2": 2},
        "by the numbers that the labels bear",
    )
    ordered = match_classes(["neg", "pos"], None, 2, "reviews", LABEL)
    assert ordered.by.startswith("by the order of the labels' names")
    with pytest.raises(DataError, match="reviews has the label awful, which the model does not"):
        match_classes(["awful"], CLASSES, 3, "reviews", LABEL)


def test_what_cannot_be_is_a_sentence() -> None:
    with pytest.raises(DataError, match="test split of reviews has no text"):
        task(examples_of={**task().examples_of, "test": []})
    with pytest.raises(DataError, match="label 5, but there are only 3 classes"):
        task(examples_of={**task().examples_of, "test": [(5, "text")]})
    with pytest.raises(DataError, match=r"logits of shape \(10, 4\) for 10 texts of 3 classes"):
        task().evaluate(bert(labels=4), "validation")


def test_padding_beyond_the_model_s_table_is_another_token() -> None:
    tokenizer = masking_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[NEW]"})
    known = len(SPECIAL) + len(LETTERS)
    plain, added = (
        task(tokenizer=each, known=known).evaluate(bert(), "validation")
        for each in (masking_tokenizer(), tokenizer)
    )
    assert added.loss == pytest.approx(plain.loss, rel=1e-6)

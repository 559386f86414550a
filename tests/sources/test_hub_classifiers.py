"""Encoders of text on data sets of the hub, scored as transformers scores the same rows."""

from __future__ import annotations

from pathlib import Path

import datasets
import pyarrow as pa
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from tests.conftest import randomise
from tests.sources.data_sets import Lay
from tests.sources.hub_server import Hub
from tests.tasks.test_masked_language_modeling import CONTEXT, SPECIAL, masking_tokenizer
from tests.tasks.test_text_classification import CLASSES, bert
from tests.tasks.texts import LETTERS

TEXTS = [f"text number {i} " + "z" * (i % 30) for i in range(60)]


def reviews(names: list[str], labels: list[int]) -> object:
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    rows = {"sentence": TEXTS[: len(labels)], "label": labels}
    return datasets.Dataset.from_dict(rows, features=features).data.table


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    module = bert()
    module.config.id2label = {i: name.upper() for i, name in enumerate(CLASSES)}
    module.save_pretrained(tmp_path / "reader")
    masking_tokenizer().save_pretrained(tmp_path / "reader")
    return tmp_path / "reader"


def test_a_classifier_of_texts(data_hub: Hub, lay: Lay, reader: Path) -> None:
    # The data numbers its classes in another order than the model.
    names = [CLASSES[2], CLASSES[0], CLASSES[1]]
    labels = [i % 3 for i in range(60)]
    lay({"train.parquet": reviews(names, labels), "test.parquet": reviews(names, [-1] * 20)})
    model = fm.load(reader, "hf:someone/data")
    found = fm.evaluate(model, "validation")
    assert found.notes["classes"] == "by the model's own names"
    assert "“test” has no labels" in found.notes["splits"]
    task = model.require_task()
    right = []
    for label, text in task.examples_of["validation"]:  # type: ignore[attr-defined]
        assert CLASSES[label] == names[labels[TEXTS.index(text)]]
        inputs = masking_tokenizer()(text, return_tensors="pt", truncation=True, max_length=CONTEXT)
        with torch.no_grad():
            logits = model.model(inputs["input_ids"], inputs["attention_mask"]).logits
        right.append(int(logits.argmax()) == label)
    assert found.value == sum(right) / len(right)
    assert fm.evaluate(fm.load(reader, "hf:someone/data", fidelity=True)).value == 1


def test_labels_of_other_names(data_hub: Hub, lay: Lay, reader: Path, tmp_path: Path) -> None:
    lay({"train.parquet": reviews(["neg", "neu", "pos"], [i % 3 for i in range(60)])})
    with pytest.raises(DataError, match=r"the label neg, which the model does not know"):
        fm.load(reader, "hf:someone/data")
    (tmp_path / "classes.json").write_text('{"neg": "DULL", "neu": 1, "pos": "GREAT"}')
    by_file = fm.load(reader, f"hf:someone/data?classes={tmp_path}/classes.json")
    by_number = fm.load(reader, "hf:someone/data?classes=numbers")
    assert fm.evaluate(by_file).value == fm.evaluate(by_number).value
    assert fm.evaluate(by_file).notes["classes"] == "by classes.json"


def test_a_file_of_labelled_texts_with_a_file_of_classes(reader: Path, tmp_path: Path) -> None:
    path = tmp_path / "reviews.tsv"
    path.write_text("\n".join(f"{'abc'[i % 3]}\t{text.strip()}" for i, text in enumerate(TEXTS)))
    (tmp_path / "classes.tsv").write_text("a\tDULL\nb\tFINE\nc\t2\n")
    task = fm.load(reader, f"{path}?classes={tmp_path}/classes.tsv").require_task()
    for label, text in task.examples_of["train"]:  # type: ignore[attr-defined]
        assert label == [each.strip() for each in TEXTS].index(text) % 3
    assert task.notes["classes"] == "by classes.tsv"  # type: ignore[attr-defined]


def test_a_filler_of_hidden_tokens(data_hub: Hub, lay: Lay, tmp_path: Path) -> None:
    config = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=CONTEXT, vocab_size=len(SPECIAL) + len(LETTERS),
    )  # fmt: skip
    randomise(BertForMaskedLM(config)).save_pretrained(tmp_path / "filler")  # type: ignore[operator]
    masking_tokenizer().save_pretrained(tmp_path / "filler")
    lay(
        {
            "train.parquet": pa.table({"text": TEXTS[:40]}),
            "test.parquet": pa.table({"text": TEXTS[40:]}),
        }
    )
    model = fm.load(tmp_path / "filler", "hf:someone/data")
    assert list(model.require_task().texts["test"]) == TEXTS[40:]  # type: ignore[attr-defined]
    found = fm.evaluate(model)
    assert found.metric == "pseudo-perplexity"
    assert "validation carved by hash from “train”" in found.notes["splits"]
    (tmp_path / "classes.tsv").write_text("a\tb\n")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    with pytest.raises(DataError, match=r"classes\.tsv says what classes are\. Leave it out"):
        fm.load(tmp_path / "filler", f"{tmp_path}/texts.txt?classes={tmp_path}/classes.tsv")

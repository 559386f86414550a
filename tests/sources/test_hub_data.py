"""Data sets of the hub: their splits, columns and rows, against the files as they lie there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

import ffmerge_core as fm
from ffmerge_core.errors import Cancelled, DataError
from ffmerge_core.sources import hub_tasks
from ffmerge_core.sources.data_names import hub_data
from ffmerge_core.sources.hub_tasks import hub_labelled, hub_texts
from ffmerge_core.tasks.own_data import splits_by_hash
from tests.models.tiny import marian
from tests.sources.data_sets import REPO, THREE, Lay, sentences, silent, texts
from tests.sources.hub_server import COMMIT, Hub
from tests.sources.test_data import folder_of


def test_a_data_set_with_three_splits_is_taken_as_it_is(
    data_hub: Hub, lay: Lay, writer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = lay(THREE)
    told: list[str] = []
    model = fm.load(writer, f"hf:{REPO}", lambda a, b, said, values=None: told.append(said))
    task = model.require_task()
    # By pyarrow alone, of the files as they lie there.
    for split in ("train", "validation", "test"):
        there = parquet.read_table(place / f"data/{split}-00000-of-00001.parquet")
        assert list(task.texts[split]) == there["text"].to_pylist()  # type: ignore[attr-defined]
    assert model.data == f"hf:{REPO}@{COMMIT}"
    assert task.data == REPO
    notes = {"splits": "train is “train”; validation is “validation”; test is “test”"}
    assert dict(task.notes) == notes  # type: ignore[attr-defined]
    assert fm.evaluate(model).notes["splits"] == notes["splits"]
    assert any("Asking the hub for the data set" in said for said in told)


@pytest.mark.parametrize("missing", [("validation",), ("test",), ("validation", "test")])
def test_a_split_that_is_absent_is_carved_from_train_by_hash(
    missing: tuple[str, ...], data_hub: Hub, lay: Lay
) -> None:
    lay(
        {name: table for name, table in THREE.items() if not any(f"/{m}-" in name for m in missing)}
    )
    own = hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent)
    train = sentences(40)
    by_hash = splits_by_hash(train)
    kept = [i for split in by_hash if split not in missing for i in by_hash[split]]
    assert list(own.texts["train"]) == [train[i] for i in sorted(kept)]
    for split in missing:
        assert list(own.texts[split]) == [train[i] for i in by_hash[split]]  # type: ignore[index]
        assert f"{split} carved by hash from “train”, because there is none" in own.notes["splits"]
    assert not set(own.texts["train"]) & set(own.texts["validation"])
    if "test" not in missing:
        assert list(own.texts["test"]) == sentences(7, 200)


SPLITS = """---
configs:
- config_name: default
  data_files:
  - split: learn
    path: a.csv
  - split: dev
    path: b.csv
---
"""


def test_csv_with_its_own_names_of_splits_and_columns(data_hub: Hub, lay: Lay) -> None:
    rows = "\n".join(f"{i},{'good' if i % 2 else 'bad'},text {i}" for i in range(30))
    lay(
        {
            "README.md": SPLITS,
            "a.csv": f"id,mood,said\n{rows}",
            "b.csv": "id,mood,said\n1,good,all well\n2,,lost\n",
        }
    )
    name = f"hf:{REPO}@{COMMIT}?text=said&label=mood&train=learn"
    own = hub_labelled(hub_data(name), True, silent)
    assert own.pairs["validation"] == (("good", "all well"),)
    assert len(own.pairs["train"]) + len(own.pairs["test"]) == 30
    assert own.notes["left out"] == "1 row lacks a value"
    with pytest.raises(
        DataError, match=r"the splits learn, dev, and none is called train.*\?train="
    ):
        hub_labelled(hub_data(f"hf:{REPO}@{COMMIT}?text=said&label=mood"), True, silent)
    with pytest.raises(DataError, match=r"no column that is known to be the label.*mood \(text\)"):
        hub_labelled(hub_data(f"hf:{REPO}@{COMMIT}?text=said&train=learn"), True, silent)
    with pytest.raises(DataError, match=r"no column called words; text was expected\. Its columns"):
        hub_labelled(hub_data(f"hf:{REPO}@{COMMIT}?text=words&train=learn"), True, silent)
    with pytest.raises(DataError, match=r"no split called lern\. It has learn, dev\."):
        hub_labelled(hub_data(f"{name}&validation=dev".replace("learn", "lern")), True, silent)


def test_a_csv_says_what_it_says(data_hub: Hub, lay: Lay) -> None:
    said = ["NA", "null", "None", "nan", *sentences(26)]
    lay({"train.csv": "text,label\n" + "\n".join(f"{each},{i % 2}" for i, each in enumerate(said))})
    own = hub_labelled(hub_data(f"hf:{REPO}@{COMMIT}"), True, silent)
    found = {text: label for each in own.pairs.values() for label, text in each}
    assert found == {each: str(i % 2) for i, each in enumerate(said)}
    assert "left out" not in own.notes


CLASSES = """---
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': bad
          '1': good
---
"""


def test_classes_that_the_card_names(data_hub: Hub, lay: Lay) -> None:
    rows = "".join(f"{each},{i % 2}\n" for i, each in enumerate(sentences(30)))
    lay({"README.md": CLASSES, "train.csv": f"text,label\n{rows}"})
    own = hub_labelled(hub_data(f"hf:{REPO}@{COMMIT}"), True, silent)
    found = {text: label for each in own.pairs.values() for label, text in each}
    assert found == {each: ("bad", "good")[i % 2] for i, each in enumerate(sentences(30))}
    assert own.classes == ("bad", "good")


def test_a_part_of_what_is_sorted_by_class_has_all_classes(
    data_hub: Hub, lay: Lay, tmp_path: Path
) -> None:
    place = lay({})
    place.mkdir(parents=True)
    rows = {"text": sentences(400), "label": [i // 100 for i in range(400)]}
    parquet.write_table(pa.table(rows), place / "train.parquet", row_group_size=20)
    name = f"hf:{REPO}@{COMMIT}?examples=40"
    own = hub_labelled(hub_data(name), True, silent)
    labels = [label for each in own.pairs.values() for label, _ in each]
    assert len(labels) == 40
    assert all(8 <= labels.count(each) <= 12 for each in "0123")
    assert own.notes["splits"].startswith("train is “train”, 40 rows from all over it;")
    assert hub_labelled(hub_data(name), True, silent) == own
    for kept in (tmp_path / "assets").rglob("*.*"):
        kept.unlink()
    assert hub_labelled(hub_data(name), True, silent) == own, "read again, it is the same"


@pytest.mark.parametrize("name", ["train.txt", "train.csv"])
def test_a_data_set_without_rows_is_a_sentence(name: str, data_hub: Hub, lay: Lay) -> None:
    lay({name: "" if name == "train.txt" else "text\n"})
    with pytest.raises(DataError, match=r"someone/data has no rows"):
        hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent)


def labelled(labels: list[int], names: list[str] = ["neg", "pos"]) -> Any:  # noqa: B006
    rows = {"text": sentences(len(labels), 9 * len(labels)), "label": labels}
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    return datasets.Dataset.from_dict(rows, features=features).data.table


def test_labels_that_are_kept_secret_make_no_test_split(data_hub: Hub, lay: Lay) -> None:
    lay({"train.parquet": labelled([0, 1] * 10), "test.parquet": labelled([-1] * 5)})
    own = hub_labelled(hub_data(f"hf:{REPO}@{COMMIT}"), True, silent)
    assert own.classes == ("neg", "pos")
    assert "test carved by hash from “train”, because “test” has no labels" in own.notes["splits"]
    assert {label for label, _ in own.pairs["train"]} == {"neg", "pos"}


def test_minus_one_is_a_class_where_others_are(data_hub: Hub, lay: Lay) -> None:
    rows = {"text": sentences(30), "label": [-1, 0, 1] * 10}
    lay({"train.parquet": pa.table(rows)})
    own = hub_labelled(hub_data(f"hf:{REPO}@{COMMIT}"), True, silent)
    assert {label for each in own.pairs.values() for label, _ in each} == {"-1", "0", "1"}


@pytest.mark.parametrize("form", ["struct", "columns"])
def test_pairs_of_a_translation(form: str, data_hub: Hub, lay: Lay, tmp_path: Path) -> None:
    en, zh = sentences(30), sentences(30, 50)
    if form == "struct":
        pairs = [{"en": a, "zh": b} for a, b in zip(en, zh, strict=True)]
        lay({"train.jsonl": "\n".join(json.dumps({"translation": pair}) for pair in pairs)})
    else:
        lay({"train.parquet": pa.table({"en": en, "zh": zh})})
    folder = folder_of(marian(), tmp_path / "translator")
    with pytest.raises(DataError, match=r"not clear from what into what .*\?source=…&target=…"):
        fm.load(folder, f"hf:{REPO}")
    model = fm.load(folder, f"hf:{REPO}?source=zh&target=en")
    found = [pair for each in model.require_task().pairs.values() for pair in each]  # type: ignore[attr-defined]
    assert sorted(found) == sorted(zip(zh, en, strict=True))
    if form == "struct":  # the model says into which language
        (folder / "README.md").write_text("---\nlanguage:\n- zh\n---\n")
        model = fm.load(folder, f"hf:{REPO}")
        found = [pair for each in model.require_task().pairs.values() for pair in each]  # type: ignore[attr-defined]
        assert sorted(found) == sorted(zip(en, zh, strict=True))
    assert fm.evaluate(model).notes["splits"].startswith("train is “train”; validation carved")


TEN = [f"kind {n}" for n in range(10)]


def test_no_more_is_read_than_is_asked_for(data_hub: Hub, lay: Lay) -> None:
    place = lay({})
    (place / "data").mkdir(parents=True)
    for part in range(3):
        path = place / f"data/train-0000{part}-of-00003.parquet"
        parquet.write_table(texts(50, 1000 * part), path)
    own = hub_texts(hub_data(f"hf:{REPO}@{COMMIT}?examples=20"), silent)
    assert sorted(sum(own.texts.values(), ())) == sorted(sentences(20))
    assert own.notes["splits"].startswith("train is “train”, its first 20 rows;")
    assert data_hub.sent("train-00000-of-00003.parquet")
    assert not data_hub.sent("train-00001-of-00003.parquet")


def test_bytes_are_bounded_too(data_hub: Hub, lay: Lay, monkeypatch: pytest.MonkeyPatch) -> None:
    lay({"train.parquet": texts(50)})
    monkeypatch.setattr(hub_tasks, "MAX_TEXT_BYTES", 400)
    own = hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent)
    read = sum(len(text) for each in own.texts.values() for text in each)
    assert 370 < read <= 400
    assert "its first" in own.notes["splits"]


def test_reading_can_be_cancelled(data_hub: Hub, lay: Lay) -> None:
    lay({"train.parquet": texts(500)})

    def cancel(step: int, total: int, said: str, values: object = None) -> None:
        if "rows of “train” of someone/data read" in said:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), cancel)
    assert len(hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent).texts["train"]) == 400


def test_rows_that_are_paragraphs_are_joined_as_transformers_guide_has_it(
    data_hub: Hub, lay: Lay
) -> None:
    rows = ["", " = Title = \n", "", " One paragraph . \n", " Another . \n"] * 4
    test = pa.table({"text": rows, "id": list(range(20))})
    lay({"train.parquet": texts(40), "test.parquet": test, "validation.parquet": texts(3, 60)})
    own = hub_texts(hub_data(f"hf:{REPO}@{COMMIT}?rows=paragraphs"), silent)
    assert own.texts["test"] == ("\n\n".join(rows),)
    assert own.texts["validation"] == ("\n\n".join(sentences(3, 60)),)
    assert own.notes["rows"] == "paragraphs, joined by blank lines"


def test_a_text_files_rows_are_lines(data_hub: Hub, lay: Lay) -> None:
    lines = [line for text in sentences(60) for line in (text, "")]
    lay({"train.txt": "\n".join(lines), "test.txt": "one\n\ntwo\n"})
    own = hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent)
    assert own.texts["test"] == ("one\n\ntwo",)
    assert len(own.texts["train"]) > 9
    assert own.notes["rows"] == "lines, joined by newlines"


CARD = """---
configs:
- config_name: one
  data_files: one/*.csv
- config_name: two
  data_files: two/*.csv
---
"""


def test_configurations(data_hub: Hub, lay: Lay) -> None:
    rows = {each: "text\n" + "\n".join(f"{each} {i}" for i in range(20)) for each in ("one", "two")}
    lay({"README.md": CARD, "one/a.csv": rows["one"], "two/a.csv": rows["two"]})
    own = hub_texts(hub_data(f"hf:{REPO}/two@{COMMIT}"), silent)
    assert own.name == "two of someone/data"
    assert {text for each in own.texts.values() for text in each} == {f"two {i}" for i in range(20)}
    with pytest.raises(DataError, match=r"has several configurations\. It has one, two\. Name one"):
        hub_texts(hub_data(f"hf:{REPO}@{COMMIT}"), silent)
    with pytest.raises(DataError, match=r"no configuration called six\. It has one, two\."):
        hub_texts(hub_data(f"hf:{REPO}/six@{COMMIT}"), silent)

"""Names of data: what is read of them, what is refused, and the presets."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from ffmerge_core.sources.columns import Column, pair_ways, text_way
from ffmerge_core.sources.data import data_name
from ffmerge_core.sources.data_names import KEYS, HubData, hub_data, own_data
from ffmerge_core.sources.presets import PRESETS
from ffmerge_core.tasks.kinds import TASKS
from tests.conftest import transformers_vit
from tests.models.tiny import marian
from tests.sources.data_sets import Lay, sentences
from tests.sources.hub_server import COMMIT, Hub
from tests.sources.test_data import folder_of
from tests.sources.test_hub_images import pictures


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf:org/name", HubData("org/name")),
        ("hf:org/name/en-zh", HubData("org/name", "en-zh")),
        ("hf:org/name@v1.2", HubData("org/name", None, "v1.2")),
        (
            "hf:org/na.me/a b@refs/convert/parquet?source=en&target=zh",
            HubData("org/na.me", "a b", "refs/convert/parquet", {"source": "en", "target": "zh"}),
        ),
        ("hf:o/n?text=my col&rows=lines",
         HubData("o/n", options={"text": "my col", "rows": "lines"})),
        ("hf:o/n?text=a%26b%25=c", HubData("o/n", options={"text": "a&b%=c"})),
    ],
)  # fmt: skip
def test_a_name_says_what_is_meant(name: str, expected: HubData) -> None:
    assert hub_data(name) == expected
    assert hub_data(str(expected)) == expected


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(TEXT, TEXT)
def test_any_column_survives_being_written_and_read(text: str, label: str) -> None:
    data = HubData("o/n", "c", COMMIT, {"text": text, "label": label})
    assert hub_data(str(data)) == data


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:", "no data set of the hub; hf:organisation/name"),
        ("hf:imdb", "no data set of the hub"),
        ("hf:a/b/c/d", "no data set of the hub"),
        ("hf:a/b@", "no data set of the hub"),
        ("hf:a/b?", "no data set of the hub"),
        ("hf:a/..", "no data set of the hub"),
        ("hf:../../etc", "no data set of the hub"),
        ("hf:a/b?lables=x", r"“lables” in .* is not known\. Known are text: the column of texts;"),
        ("hf:a/b?text=", r"text in .* is empty\. It is the column of texts\."),
        ("hf:a/b?text=a&text=b", "text in .* is given twice"),
        ("hf:a/b?split=test&train=x", "names split, the only one to use, and train too"),
        ("hf:a/b?examples=0", "examples is “0”; a whole number from 1"),
        ("hf:a/b?examples=ten", "examples is “ten”; a whole number"),
        ("hf:a/b?rows=words", "rows is “words”; it must be one of documents, paragraphs, lines"),
        ("hf:a/b?classes=/no/such.tsv", "There is no file /no/such.tsv"),
        ("hf:" + "a" * 5000, "no data set of the hub"),
    ],
)
def test_what_is_no_name_is_a_sentence(name: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as refused:
        hub_data(name)
    assert len(str(refused.value)) < 1200


def test_a_wrong_name_is_said_before_the_model_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="“lable” in hf:a/b"):
        fm.load(tmp_path / "no model", "hf:a/b?lable=x")


def test_a_path_with_a_file_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "classes.tsv").write_text("a\tb\n")
    monkeypatch.chdir(tmp_path)
    own = own_data("images?classes=classes.tsv")
    assert (own.path, own.classes) == (tmp_path / "images", tmp_path / "classes.tsv")
    assert own_data(str(own)) == own
    assert data_name("images?classes=classes.tsv") == str(own)
    with pytest.raises(DataError, match=r"There is no file .*absent\.tsv"):
        own_data("images?classes=absent.tsv")
    odd = tmp_path / "odd?classes=x"
    odd.mkdir()
    assert own_data(str(odd)).path == odd, "a file that is called so goes first"


LANGUAGES = {"id": Column("number"), "translation": Column("struct", ("en", "zh"))}


@pytest.mark.parametrize(
    ("language", "target"), [("zho", "zh"), ("zh", "zh"), ("cmn_Hans", "zh"), ("en", "en")]
)
def test_the_models_language_says_which_side_is_the_target(language: str, target: str) -> None:
    _, into = pair_ways(LANGUAGES, HubData("o/n"), language)
    assert into == ("translation", target)


@pytest.mark.parametrize("language", [None, "fr", "mul"])
def test_a_side_is_never_guessed(language: str | None) -> None:
    with pytest.raises(DataError, match=r"Its columns are id \(number\), translation \(struct of"):
        pair_ways(LANGUAGES, HubData("o/n"), language)


def test_columns_by_name_alone_or_the_only_one() -> None:
    words = {"a": Column("text"), "b": Column("number")}
    assert text_way(words, HubData("o/n")) == ("a",)
    assert text_way({**words, "text": Column("text")}, HubData("o/n")) == ("text",)
    with pytest.raises(DataError, match=r"2 columns that could be the text\. .*\?text=…"):
        text_way({**words, "c": Column("text")}, HubData("o/n"))
    with pytest.raises(DataError, match=r"has number in its column b; text was expected"):
        text_way(words, HubData("o/n", options={"text": "b"}))
    inner = HubData("o/n", options={"text": "translation.zh"})
    assert text_way(LANGUAGES, inner) == ("translation", "zh")


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_every_preset_is_a_whole_name(preset: object) -> None:
    data = hub_data(preset.data)  # type: ignore[attr-defined]
    assert str(data) == preset.data  # type: ignore[attr-defined]
    assert set(preset.kinds) <= set(TASKS)  # type: ignore[attr-defined]
    assert preset.licence  # type: ignore[attr-defined]
    assert set(data.options) <= set(KEYS)


def test_wikitext(data_hub: Hub, lay: Lay, writer: Path) -> None:
    parts = {"train": 60, "validation": 5, "test": 8}
    lay(
        {
            "README.md": "---\nconfigs:\n" + "".join(
                f"- config_name: {name}\n  data_files:\n" + "".join(
                    f"  - split: {split}\n    path: {name}/{split}-*\n" for split in parts
                )
                for name in ("wikitext-103-raw-v1", "wikitext-2-raw-v1")
            ) + "---\n",
            **{
                f"{name}/{split}-00000-of-00001.parquet": pa.table(
                    {"text": sentences(n, len(name))}
                )
                for name in ("wikitext-103-raw-v1", "wikitext-2-raw-v1")
                for split, n in parts.items()
            },
        },
        "Salesforce/wikitext",
    )  # fmt: skip
    model = fm.load(writer, "wikitext-2")
    config = "hf:Salesforce/wikitext/wikitext-2-raw-v1"
    assert model.data == f"{config}@{COMMIT}?text=text&rows=paragraphs"
    task = model.require_task()
    assert task.data == "wikitext-2-raw-v1 of Salesforce/wikitext"
    assert task.texts["test"] == ("\n\n".join(sentences(8, 17)),)  # type: ignore[attr-defined]
    few = data_name("wikitext-103?examples=3")
    assert few == (
        f"hf:Salesforce/wikitext/wikitext-103-raw-v1@{COMMIT}?text=text&rows=paragraphs&examples=3"
    )


def test_tatoeba(data_hub: Hub, lay: Lay, tmp_path: Path) -> None:
    rows = {"sourceLang": ["eng"] * 30, "targetlang": ["cmn_Hans"] * 30}
    rows |= {"sourceString": sentences(30), "targetString": sentences(30, 40)}
    other = pa.table({name: values[:1] for name, values in rows.items()})
    lay(
        {
            "eng-zho/validation/0000.parquet": pa.table(rows),
            "eng-zho/test/0000.parquet": pa.table(rows).slice(0, 4),
            "eng-zul/test/0000.parquet": other,
        },
        "Helsinki-NLP/tatoeba_mt",
    )
    data_hub.branches["refs/convert/parquet"] = COMMIT
    task = fm.load(folder_of(marian(), tmp_path / "model"), "tatoeba-eng-zho").require_task()
    pairs = task.pairs  # type: ignore[attr-defined]
    assert pairs["test"] == tuple(zip(sentences(4), sentences(4, 40), strict=True))
    assert (len(pairs["train"]), len(pairs["validation"])) == (27, 3)
    assert dict(task.notes)["splits"] == (  # type: ignore[attr-defined]
        "train is “validation”; validation carved by hash from “validation”, because there is "
        "none; test is “test”"
    )


def test_imagenet(data_hub: Hub, lay: Lay, tmp_path: Path) -> None:
    names = [f"class {n}" for n in range(10)]
    lay(
        {
            "data/train-00000-of-00001.parquet": pictures(3, names),
            "data/validation-00000-of-00001.parquet": pictures(30, names),
            "data/test-00000-of-00001.parquet": pictures(5, names, label=[-1] * 5),
        },
        "ILSVRC/imagenet-1k",
    )
    module = transformers_vit()
    module.config.id2label = dict(enumerate(names))  # type: ignore[union-attr]
    task = fm.load(folder_of(module, tmp_path / "vit", words=None), "imagenet-1k").require_task()
    assert [task.count(split) for split in ("train", "validation", "test")] == [24, 3, 3]  # type: ignore[arg-type]
    assert "carved by hash from “validation”" in dict(task.notes)["splits"]  # type: ignore[attr-defined]


def test_data_that_is_not_what_the_model_takes_is_a_sentence(
    data_hub: Hub, lay: Lay, writer: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"imagenet-1k is for image-classification, .* wikitext-2"):
        fm.load(writer, "imagenet-1k?examples=5")
    lay({"train.parquet": pa.table({"text": sentences(30)})}, "o/n")
    with pytest.raises(DataError, match=r"no column that is known to be the image\. Its columns"):
        fm.load(folder_of(transformers_vit(), tmp_path / "vit", words=None), "hf:o/n")
    with pytest.raises(DataError, match=r"label= says the column of labels, and for this kind"):
        fm.load(writer, "hf:o/n?label=x")
    with pytest.raises(DataError, match=r"no column called words; text was expected"):
        fm.load(writer, "hf:o/n?text=words")

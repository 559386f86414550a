"""Which class a folder of images is: the model's own names before any guess."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import timm

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from ffmerge_core.tasks.image_classification import ImageClassification
from tests.real_files.images import (
    edit,
    flat_timm_folder,
    pictures,
    timm_folder,
    timm_vit,
    transformers_folder,
    transformers_vit,
)

NAMES = ["owl", "cat", "dog"]  # not in the order of the alphabet
COUNTS = (5, 6, 9)
OWN = "by the model's own names"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("images"), NAMES, (20, 4, 4))


def opened(source: Any, images: Path) -> tuple[ImageClassification, fm.Evaluation]:
    model = fm.load(source, task=images)
    assert isinstance(model.task, ImageClassification)
    return model.task, fm.evaluate(model)


def assert_owl(source: Any, images: Path) -> None:
    """A model that always says its class 0, which is the owl, is right about the owls."""
    task, score = opened(source, images)
    assert task.classes == tuple(NAMES)
    assert (score.value, score.n) == (2 / 4, 4)
    assert score.notes["classes"] == OWN


def numbered(names: list[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


@pytest.mark.parametrize(
    "config",
    [
        {"label_names": NAMES},
        {"label_names": numbered(NAMES)},
        {"label_names": {name: number for number, name in enumerate(NAMES)}},
        {"label_names": NAMES, "label_descriptions": {"owl": "a bird"}},
    ],
    ids=["list", "by number", "by name", "described"],
)
def test_names_that_timm_saves(config: dict[str, Any], images: Path, tmp_path: Path) -> None:
    assert_owl(timm_folder(tmp_path / "a", timm_vit(0), config), images)


def test_names_after_timms_own_round_trip(images: Path, tmp_path: Path) -> None:
    first = timm_folder(tmp_path / "a", timm_vit(0), {"label_names": NAMES})
    again = timm.create_model(f"local-dir:{first}", pretrained=True)
    second = timm_folder(tmp_path / "b", again)
    assert "label_names" not in json.loads((second / "config.json").read_text())
    assert_owl(second, images)
    assert_owl(again, images)  # a module in memory carries them too


@pytest.mark.parametrize("field", ["labels", "label_names"])
def test_names_of_a_flat_configuration(field: str, images: Path, tmp_path: Path) -> None:
    folder = flat_timm_folder(tmp_path / "a", 0, **{field: NAMES})
    assert_owl(folder, images)


def test_names_survive_saving_here(images: Path, tmp_path: Path) -> None:
    first = timm_folder(tmp_path / "a", timm_vit(0), {"label_names": numbered(NAMES)})
    second = timm_folder(tmp_path / "b", timm.create_model(f"local-dir:{first}", pretrained=True))
    for folder in (first, second):
        for layout in ("compact", "portable"):
            place = tmp_path / f"{folder.name}-{layout}"
            assert_owl(fm.save(fm.load(folder), place, layout).folder, images)


def test_names_of_transformers(images: Path, tmp_path: Path) -> None:
    folder = transformers_folder(tmp_path / "a", transformers_vit(0))
    edit(folder / "config.json", id2label=numbered(NAMES), label2id=None)
    assert_owl(folder, images)


def test_a_class_without_a_name_is_a_sentence(images: Path, tmp_path: Path) -> None:
    folder = transformers_folder(tmp_path / "a", transformers_vit(0))
    edit(folder / "config.json", id2label={"0": "owl", "1": "cat", "7": "dog"}, label2id=None)
    with pytest.raises(DataError, match=r"id2label .* names 2 classes and the model tells 3"):
        fm.load(folder, task=images)


def test_digits_as_names_are_names(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", ["2", "0", "1"], (20, 4, 4))
    model = transformers_vit(0, id2label={0: "2", 1: "0", 2: "1"}, label2id=None)
    task, score = opened(transformers_folder(tmp_path / "a", model), images)
    assert (task.classes, score.value) == (("2", "0", "1"), 2 / 4)
    assert score.notes["classes"] == OWN


@pytest.mark.parametrize("build", [timm_vit, transformers_vit])
def test_folders_in_order_are_said_to_be(build: Any, images: Path) -> None:
    task, score = opened(build(0), images)
    assert task.classes == ("cat", "dog", "owl")
    assert score.notes["classes"] == (
        "by the order of the class folders' names, because the model names no classes"
    )


@pytest.mark.parametrize("folders", [("0", "1", "2"), ("000", "002")])
@pytest.mark.parametrize("named", [False, True])
def test_folders_by_number_are_said_to_be(
    folders: tuple[str, ...], named: bool, tmp_path: Path
) -> None:
    images = pictures(tmp_path / "images", folders, 6)
    config = {"label_names": NAMES} if named else {}
    task, score = opened(timm_folder(tmp_path / "a", timm_vit(2), config), images)
    assert task.classes == (tuple(NAMES) if named else ("0", "1", "2"))
    assert score.value == 1 / len(folders)
    assert score.notes["classes"] == "by the numbers that the class folders bear"


def test_numbers_from_one_are_an_order(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", ["1", "2", "3"], 6)
    task, score = opened(timm_vit(2), images)
    assert (task.classes, score.value) == (("1", "2", "3"), 1 / 3)
    assert "order" in score.notes["classes"]


@pytest.mark.parametrize("names", [["owl"], [*NAMES, "eel"], {"0": "owl", "2": "cat"}, 5, "owl"])
def test_names_that_do_not_fit_the_head_are_a_sentence(
    names: Any, images: Path, tmp_path: Path
) -> None:
    folder = timm_folder(tmp_path / "a")
    edit(folder / "config.json", label_names=names)
    with pytest.raises(DataError, match=r"label_names .* the model tells 3 apart"):
        fm.load(folder, task=images)
    assert fm.evaluate(fm.load(folder, task=images, fidelity=True)).value == 1


TWICE = ["crane", "dog", "crane"]


def test_a_name_of_two_classes_is_never_guessed(tmp_path: Path) -> None:
    folder = timm_folder(tmp_path / "a", timm_vit(2), {"label_names": TWICE})
    birds = pictures(tmp_path / "named", ["crane", "dog"], 6)
    with pytest.raises(
        DataError, match=r"2 classes called “crane”: numbers 0 and 2\. .* by number"
    ):
        fm.load(folder, task=birds)
    by_number = pictures(tmp_path / "numbered", ["0", "1", "2"], 6)
    task, score = opened(folder, by_number)
    assert (task.classes, score.value) == (("crane (0)", "dog", "crane (2)"), 1 / 3)
    # Where no folder bears the name, nothing has to be guessed.
    task, _ = opened(folder, pictures(tmp_path / "dogs", ["dog"], 12))
    assert set(task.splits["test"].labels.tolist()) == {1}


LETTERS = ["Käse", "Öl", "Brot"]


@pytest.mark.parametrize("model_has", ["NFC", "NFD"])
@pytest.mark.parametrize("disk_has", ["NFC", "NFD"])
def test_two_spellings_of_a_letter_are_one_name(
    model_has: Any, disk_has: Any, tmp_path: Path
) -> None:
    names = [unicodedata.normalize(model_has, name) for name in LETTERS]
    disk = [unicodedata.normalize(disk_has, name) for name in LETTERS]
    images = pictures(tmp_path / "images", disk, (20, 4, 4))
    model = transformers_vit(0, id2label=dict(enumerate(names)))
    task, score = opened(transformers_folder(tmp_path / "a", model), images)
    assert (task.classes, score.value) == (tuple(names), 2 / 4)


def test_folders_that_differ_in_spelling_alone_are_one_class(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for form in ("NFC", "NFD"):
        pictures(images, [unicodedata.normalize(form, name) for name in LETTERS], 4)  # type: ignore[arg-type]
    pictures(images, [unicodedata.normalize("NFD", "Käse")], 9)
    for build in (lambda: transformers_vit(id2label=dict(enumerate(LETTERS))), transformers_vit):
        task, _ = opened(build(), images)
        assert sorted(task.classes) == sorted(LETTERS)


@pytest.mark.parametrize("seeming", ["dog\u200b", "dog ", "ｄog"], ids=ascii)
def test_a_refusal_shows_no_two_names_that_look_alike(seeming: str, tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", ["cat", seeming], 6)
    with pytest.raises(DataError) as refused:
        fm.load(transformers_vit(id2label={0: "cat", 1: "dog", 2: "owl"}), task=images)
    said = str(refused.value)
    assert said.isascii() or seeming not in said
    assert ascii(seeming) in said
    assert "'dog'" in said

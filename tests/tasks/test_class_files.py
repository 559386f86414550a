"""A file that says which class a folder is; and a model of 1,000 classes on a few of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.class_files import class_file, class_file_among, read_class_file
from ffmerge_core.tasks.class_names import (
    DATA_NUMBERS,
    OWN_NAMES,
    match_by_file,
    match_classes,
    match_numbers,
)
from tests.tasks.own_files import folder, task, two_classes, zipped

# As many as ImageNet-1k has; in no order that sorting would find.
THOUSAND = tuple(f"thing {(7 * n) % 1000:03}" for n in range(1000))
SYNSETS = {"n01440764": "tench", "n01443537": "goldfish"}
FISH = ("goldfish", "great white shark", "tench")


def synset_images() -> dict[str, bytes]:
    return two_classes(*SYNSETS)


def labels_by_folder(root: Path, **options: object) -> tuple[dict[str, set[int]], str]:
    """The label that each folder's images got, by their pixels; and how they were matched."""
    found = task(root, **options)
    by_folder: dict[str, set[int]] = {}
    alone = task(root)  # which numbers folders by their order
    names = sorted({path.parent.name for path in root.rglob("*.png")})
    for split, images in found.splits.items():
        assert torch.equal(images.images, alone.splits[split].images)
        for label, order in zip(images.labels, alone.splits[split].labels, strict=True):
            by_folder.setdefault(names[int(order)], set()).add(int(label))
    return by_folder, found.notes["classes"]


def test_a_few_folders_of_a_thousand_classes_by_name(tmp_path: Path) -> None:
    root = folder(tmp_path / "some", two_classes("thing 999", "thing 014"))
    labels, by = labels_by_folder(root, classes=THOUSAND)
    assert labels == {name: {THOUSAND.index(name)} for name in ("thing 999", "thing 014")}
    assert by == OWN_NAMES


def test_a_few_folders_of_a_thousand_classes_by_number(tmp_path: Path) -> None:
    root = folder(tmp_path / "some", two_classes("7", "993"))
    labels, _ = labels_by_folder(root, classes=THOUSAND)
    assert labels == {"7": {7}, "993": {993}}
    with pytest.raises(DataError, match=r"names none of them, so it needs a class folder for each"):
        task(folder(tmp_path / "named", two_classes("cat", "dog")), n_classes=1000)


TSV = "n01440764\ttench\nn01443537\tgoldfish\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.tsv", TSV),
        ("classes.tsv", "\ufeffn01440764\t2\r\n\r\nn01443537\t0\r\n"),
        ("classes.tsv", TSV + "n09999999\tnever asked for\n"),
        ("classes.json", json.dumps(SYNSETS)),
        ("classes.json", '{"n01440764": 2, "n01443537": "0"}'),
    ],
)
@pytest.mark.parametrize("place", ["folder", "zip", "zip in a folder", "elsewhere"])
def test_a_file_says_which_class_a_folder_is(
    place: str, name: str, content: str, tmp_path: Path
) -> None:
    files = synset_images()
    options: dict[str, object] = {"classes": FISH}
    if place == "elsewhere":
        (tmp_path / name).write_text(content, "utf-8")
        options["named"] = read_class_file(tmp_path / name)
    else:
        files[name] = content.encode()
    if place.startswith("zip"):
        around = "set/" if place == "zip in a folder" else ""
        files = {around + each: data for each, data in files.items()}
        found = task(zipped(tmp_path / "set.zip", files), **options)
    else:
        found = task(folder(tmp_path / "set", files), **options)
    assert found.classes == FISH
    assert found.notes["classes"] == f"by {name}"
    assert sum(found.count(split) for split in found.splits) == 40
    plain = task(folder(tmp_path / "plain", two_classes("2", "0")), classes=FISH)
    for split, images in plain.splits.items():
        assert torch.equal(found.splits[split].images.sum((1, 2, 3)).sort()[0],
                           images.images.sum((1, 2, 3)).sort()[0])  # fmt: skip
        assert torch.equal(found.splits[split].labels.sort()[0], images.labels.sort()[0])


def test_a_model_without_names_takes_numbers_from_the_file(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", synset_images())
    (root / "classes.tsv").write_text("n01440764\t0\nn01443537\t1\n")
    found = task(root, n_classes=1000)
    assert found.classes == tuple(map(str, range(1000)))
    (root / "classes.tsv").write_text("n01440764\t0\nn01443537\t1000\n")
    with pytest.raises(DataError, match=r"is “1000”, which is no class of the model. Give one"):
        task(root, n_classes=1000)


def test_without_labels_the_file_is_not_heard(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", synset_images())
    (root / "classes.tsv").write_text("n01440764\tnothing that is known\n")
    assert len(task(root).classes) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("classes.tsv", b"", "is empty; a line for each folder"),
        ("classes.tsv", b"a b\n", r"line 1 is “a b”; a folder, a tab, and the model's name"),
        ("classes.tsv", b"a\tb\na\tc\n", "line 2 names a again"),
        ("classes.tsv", b"a\t\n", "line 1 is"),
        ("classes.tsv", b"\xff\xfe", "not UTF-8 text"),
        ("classes.json", b"{", "is not JSON"),
        ("classes.json", b"[1]", "something else than a name or number for each folder"),
        ("classes.json", b'{"0": ["n01440764", "tench"]}', "something else than a name or number"),
        ("classes.json", b'{"a": true}', "something else than a name or number"),
        ("classes.json", b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(name: str, content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        class_file(name, content)


@pytest.mark.parametrize(
    ("said", "classes", "problem"),
    [
        ({"a": "tench"}, FISH, r"does not say which class the class folder b of set is"),
        ({"a": "tench", "b": "Tench!"}, FISH, r"is “Tench!”, which is no class .* knows goldfish,"),
        ({"a": "tench", "b": 3}, FISH, r"is “3”, which is no class .* from 0 to 2"),
        ({"a": "tench", "b": -1}, FISH, r"is “-1”, which is no class"),
        ({"a": "crane", "b": 0}, ("crane", "crane"), r"2 classes called “crane”"),
    ],
)
def test_a_file_that_names_no_class_is_a_sentence(
    said: dict[str, str | int], classes: Sequence[str], problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        match_by_file(["a", "b"], said, classes, None, "set", "classes.tsv")


def test_two_files_are_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", synset_images() | {"classes.tsv": b"", "classes.json": b""})
    with pytest.raises(DataError, match=r"set has classes\.json and classes\.tsv, and one"):
        task(root, classes=FISH)
    assert class_file_among(["a/1.png", "b/classes.tsv"], "set") is None


def test_a_name_that_is_a_number_is_a_name_first() -> None:
    matched = match_by_file(["a", "b"], {"a": "1", "b": "0"}, ("1", "0", "2"), None, "set", "f")
    assert matched.number == {"a": 0, "b": 1}


def test_names_that_differ_in_capitals_are_one_unless_the_model_has_both() -> None:
    matched = match_classes(["negative", "Positive"], ("NEGATIVE", "POSITIVE"), 2, "set")
    assert (matched.number, matched.by) == ({"negative": 0, "Positive": 1}, OWN_NAMES)
    with pytest.raises(DataError, match="does not know"):
        match_classes(["a", "A"], ("A ", "b"), 2, "set")
    with pytest.raises(DataError, match="does not know"):
        match_classes(["polish"], ("Polish", "POLISH"), 2, "set")


def test_numbers_of_the_data() -> None:
    matched = match_numbers(("n0", "n1"), FISH, 3, "set")
    assert (matched.classes, matched.number) == (FISH, {"n0": 0, "n1": 1})
    assert matched.by == DATA_NUMBERS
    assert match_numbers(("n0", "n1"), None, 3, "set").classes == ("n0", "n1", "2")
    with pytest.raises(DataError, match="numbers 4 classes, and the model tells 3 apart"):
        match_numbers(("a", "b", "c", "d"), FISH, 3, "set")

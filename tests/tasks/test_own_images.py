"""A user's own images as a task: splits, classes, and what is refused."""

import io
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from ffmerge_core.errors import Cancelled, DataError
from tests.tasks.own_files import SIZE, assert_same, folder, some, task, two_classes, zipped


def test_a_folder_is_a_task_with_its_pixels_and_labels(tmp_path: Path) -> None:
    files = two_classes()
    own = task(folder(tmp_path / "photos", files))
    assert (own.data, own.classes, own.shape) == ("photos", ("cat", "dog"), (3, *SIZE))
    assert [own.size(split) for split in ("train", "validation", "test")] == [32, 4, 4]
    expected = {Image.open(io.BytesIO(c)).tobytes(): name[:3] for name, c in files.items()}
    for images in own.splits.values():
        assert set(Counter(images.labels.tolist()).values()) == {len(images) // 2}
        for image, label in zip(images.images, images.labels, strict=True):
            pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy().tobytes()
            assert expected.pop(pixels) == own.classes[label]
    assert not expected


def test_a_zip_gives_what_the_folder_gives(tmp_path: Path) -> None:
    files = two_classes()
    own = task(folder(tmp_path / "photos", files))
    backwards = dict(reversed(files.items()))
    junk = {"__MACOSX/cat/._1.png": b"x", "photos/.DS_Store": b"x", "photos/cat/Thumbs.db": b"x"}
    wrapped = {f"photos/{name}": content for name, content in files.items()} | junk
    windows = {name.replace("/", "\\"): content for name, content in files.items()}
    dotted = {f"./{name}": content for name, content in files.items()}
    for i, packing in enumerate((backwards, wrapped, windows, dotted)):
        path = zipped(tmp_path / f"{i}.zip", packing, compression=zipfile.ZIP_DEFLATED)
        assert_same(task(path), own)
        assert task(path).data == f"{i}.zip"


def test_equal_files_share_a_split_even_across_classes(tmp_path: Path) -> None:
    files = two_classes()
    copies = {f"cat/copy of {name[4:]}": content for name, content in files.items()}
    own = task(folder(tmp_path, files | copies))
    seen = [{image.numpy().tobytes() for image in images.images} for images in own.splits.values()]
    assert sum(map(own.size, own.splits)) == 80
    assert sum(map(len, seen)) == len(set.union(*seen)) == 40


def test_small_classes_are_in_train_alone_and_three_images_in_every_split(tmp_path: Path) -> None:
    names = ["a/1", "b/1", "b/2", "c/1", "c/2", "c/3", *(f"d/{i}" for i in range(5))]
    files = dict(zip((f"{name}.png" for name in names), some(11), strict=True))
    own = task(folder(tmp_path, files))
    labels = {split: sorted(images.labels.tolist()) for split, images in own.splits.items()}
    assert labels == {"train": [0, 1, 1, 2, 3, 3, 3], "validation": [2, 3], "test": [2, 3]}


@pytest.mark.parametrize(("classes", "each"), [(3, 3), (12, 2)])
def test_too_few_images_are_counted(classes: int, each: int, tmp_path: Path) -> None:
    names = (f"{label}/{i}.png" for label in range(classes) for i in range(each))
    files = dict(zip(names, some(classes * each), strict=True))
    with pytest.raises(DataError, match=rf"has {classes * each} different .* at least 10, and 3"):
        task(folder(tmp_path, files))


def test_class_names_have_the_models_numbering(tmp_path: Path) -> None:
    own = task(folder(tmp_path, two_classes()), classes=("dog", "eel", "cat"), n_classes=3)
    assert own.classes == ("dog", "eel", "cat")
    assert set(own.splits["test"].labels.tolist()) == {0, 2}


def test_class_names_may_bear_the_models_numbers(tmp_path: Path) -> None:
    own = task(folder(tmp_path, two_classes("002", "000")), classes=("dog", "eel", "cat"))
    assert own.classes == ("dog", "eel", "cat")
    assert set(own.splits["test"].labels.tolist()) == {0, 2}


def test_names_that_look_like_numbers_are_names(tmp_path: Path) -> None:
    own = task(folder(tmp_path, two_classes("1", "2")), classes=("2", "0", "1"))
    assert set(own.splits["test"].labels.tolist()) == {0, 2}


@pytest.mark.parametrize("unknown", ["zebra", "3", "9" * 100])
def test_an_unknown_class_folder_is_named_with_the_known(unknown: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"folder {unknown}, .* knows dog, eel, cat\. .*to 2\."):
        task(folder(tmp_path, two_classes("cat", unknown)), classes=("dog", "eel", "cat"))


def test_a_long_list_of_classes_is_shortened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"c0, c1, .*c7, … \(1,000 in all\)"):
        task(folder(tmp_path, two_classes()), classes=[f"c{i}" for i in range(1000)])


def test_without_names_folders_are_the_classes_in_order_of_number(tmp_path: Path) -> None:
    own = task(folder(tmp_path, two_classes("10", "9")), n_classes=2)
    assert own.classes == ("9", "10")


def test_without_names_the_number_of_folders_must_be_the_models(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 class folders \(cat, dog\); the model tells 10"):
        task(folder(tmp_path, two_classes()), n_classes=10)


def test_progress_is_reported_and_cancel_heard(tmp_path: Path) -> None:
    heard = []
    root = folder(tmp_path / "photos", two_classes())
    task(
        root, report=lambda step, total, message, values=None: heard.append((step, total, message))
    )
    assert heard[:40:39] == [(i, 40, "files of photos compared") for i in (1, 40)]
    assert heard[40::39] == [(i, 40, "images of photos read") for i in (1, 40)]

    def cancel(step, total, message, values=None):
        raise Cancelled

    with pytest.raises(Cancelled):
        task(root, report=cancel)


def test_more_images_than_memory_holds_are_refused_before_reading(tmp_path: Path) -> None:
    files = two_classes() | {"cat/broken.png": b"broken"}
    with pytest.raises(DataError, match=r"41 images, which fill 12\.\d GB .* 3×5000×5000; .* 21 "):
        task(folder(tmp_path, files), size=(5000, 5000))


def test_other_numbers_of_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="images of 4 channels"):
        task(folder(tmp_path, two_classes()), channels=4)

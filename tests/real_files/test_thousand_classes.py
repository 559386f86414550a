"""A classifier of 1,000 classes measured on folders of a few of them, as ImageNet's are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from tests.real_files.images import (
    SIDE,
    timm_folder,
    timm_vit,
    transformers_folder,
    transformers_vit,
)

# Sorted by name they would be in another order.
NAMES = [f"thing {(7 * n) % 1000:03}" for n in range(1000)]
SOME = {"n01440764": 637, "n02102040": 14, "n03000684": 999}
TSV = "".join(f"{synset}\t{NAMES[number]}\n" for synset, number in SOME.items())


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that names its classes, and answers with those of `SOME` alone."""
    module = transformers_vit(num_labels=1000, id2label=dict(enumerate(NAMES)))
    with torch.no_grad():
        module.classifier.weight[list(SOME.values())] *= 40  # type: ignore[union-attr, index]
    return transformers_folder(tmp_path_factory.mktemp("named"), module)


def folders(root: Path, names: list[str]) -> Path:
    """Noise of the size that the models take, so that nothing is resized."""
    for row, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(20):
            rng = np.random.default_rng(100 * row + number)
            values = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(values).save(root / name / f"{number}.png")
    return root


def right(model: fm.LoadedModel, root: Path, numbers: dict[str, int]) -> int:
    """How many images the model calls by the number of their folder, one at a time."""
    found = 0
    for name, number in numbers.items():
        for path in (root / name).glob("*.png"):
            pixels = torch.tensor(np.array(Image.open(path))).permute(2, 0, 1)[None] / 255
            with torch.no_grad():
                output = model.model((pixels - 0.5) / 0.5)
            found += int(getattr(output, "logits", output).argmax()) == number
    return found


def scored(model: fm.LoadedModel) -> int:
    """How many of all splits were right, by the scores."""
    scores = [fm.evaluate(model, split) for split in ("train", "validation", "test")]
    return sum(round(score.value * score.n) for score in scores)


@pytest.mark.parametrize("how", ["beside the folders", "by the user", "named as the model"])
def test_folders_of_some_classes(how: str, named: Path, tmp_path: Path) -> None:
    numbers = SOME
    if how == "named as the model":
        numbers = {NAMES[number]: number for number in SOME.values()}
    root = folders(tmp_path / "images", list(numbers))
    data: str | Path = root
    if how == "beside the folders":
        (root / "classes.tsv").write_text(TSV)
    elif how == "by the user":
        (tmp_path / "synsets.tsv").write_text(TSV)
        data = f"{root}?classes={tmp_path / 'synsets.tsv'}"
    model = fm.load(named, data)
    expected = right(model, root, numbers)
    assert 0 < expected < 60
    assert scored(model) == expected
    by = {"by the user": "by synsets.tsv", "beside the folders": "by classes.tsv"}
    assert fm.evaluate(model).notes["classes"] == by.get(how, "by the model's own names")


def test_a_model_of_timm_without_names_takes_numbers(tmp_path: Path) -> None:
    """As timm's models of ImageNet have it: a configuration that names no class."""
    source = timm_folder(tmp_path / "model", timm_vit(num_classes=1000), num_classes=1000)
    root = folders(tmp_path / "images", list(SOME))
    with pytest.raises(DataError, match=r"tells 1,000 classes apart and names none of them"):
        fm.load(source, root)
    lines = "".join(f"{synset}\t{number}\n" for synset, number in SOME.items())
    (root / "classes.tsv").write_text(lines)
    task = fm.load(source, root).require_task()
    labels = {int(label) for each in task.splits.values() for label in each.labels}  # type: ignore[attr-defined]
    assert labels == set(SOME.values())
    assert len(task.classes) == 1000  # type: ignore[attr-defined]

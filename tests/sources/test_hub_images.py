"""Data sets of images: whose numbers the labels are, and that no image is sought elsewhere."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from ffmerge_core.sources import hub_tasks
from ffmerge_core.sources.preparing import preparation_of
from tests.conftest import transformers_vit
from tests.sources.data_sets import REPO, Lay
from tests.sources.hub_server import COMMIT, Hub
from tests.sources.test_data import folder_of

TEN = [f"kind {n}" for n in range(10)]


def pixels(number: int) -> bytes:
    generator = torch.Generator().manual_seed(number)
    values = torch.randint(0, 256, (9, 7), generator=generator, dtype=torch.uint8)
    file = io.BytesIO()
    Image.fromarray(values.numpy()).save(file, "PNG")
    return file.getvalue()


def pictures(n: int, names: list[str], **changes: Any) -> Any:
    rows = {
        "image": [{"bytes": pixels(i), "path": f"{i}.png"} for i in range(n)],
        "label": [i % len(names) for i in range(n)],
    }
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    )
    return datasets.Dataset.from_dict(rows | changes, features=features).data.table


def named_vit(names: list[str] | None) -> nn.Module:
    module = transformers_vit()
    if names is not None:
        module.config.id2label = dict(enumerate(names))  # type: ignore[union-attr]
    return module


@pytest.mark.parametrize(
    ("names", "by"),
    [(TEN[::-1], "by the model's own names"),
     ([name.title() for name in TEN[::-1]], "by the model's own names"),
     (None, "by the numbers that the data gives its classes")],
)  # fmt: skip
def test_images_with_labels(
    names: list[str] | None, by: str, data_hub: Hub, lay: Lay, tmp_path: Path
) -> None:
    # Alphabetical order is not the order of the data's numbers, and half of the classes appear.
    own = ["b", "a", *TEN[2:]] if names is None else TEN
    lay({"data/train-00000-of-00001.parquet": pictures(40, own, label=[i % 5 for i in range(40)])})
    model = fm.load(folder_of(named_vit(names), tmp_path / "vit", words=None), f"hf:{REPO}")
    task = model.require_task()
    assert task.notes["classes"] == by  # type: ignore[attr-defined]
    plain = {torch.as_tensor(list(pixels(i))).sum().item(): i for i in range(40)}
    assert len(plain) > 30
    seen = 0
    for images in task.splits.values():  # type: ignore[attr-defined]
        for image, label in zip(images.images, images.labels, strict=True):
            i = next(
                i
                for i in range(40)
                if torch.equal(hub_tasks.read_image(pixels(i), "x", preparation_of(model)), image)
            )
            assert int(label) == (9 - i % 5 if names is not None else i % 5)
            seen += 1
    assert seen == 40
    assert fm.evaluate(model).n == 4


def test_images_of_other_class_names(data_hub: Hub, lay: Lay, tmp_path: Path) -> None:
    lay({"train.parquet": pictures(40, [f"n{i:03}" for i in range(10)])})
    folder = folder_of(named_vit(TEN[::-1]), tmp_path / "vit", words=None)
    with pytest.raises(DataError, match=r"the label n000, .*\?classes=numbers .*classes\.tsv"):
        fm.load(folder, f"hf:{REPO}")
    model = fm.load(folder, f"hf:{REPO}?classes=numbers")
    assert "by the numbers that the data gives" in fm.evaluate(model).notes["classes"]
    lines = "\n".join(f"n{i:03}\t{TEN[i]}" for i in range(10))
    (tmp_path / "classes.tsv").write_text(lines)
    model = fm.load(folder, f"hf:{REPO}?classes={tmp_path}/classes.tsv")
    assert fm.evaluate(model).notes["classes"] == "by classes.tsv"
    assert model.data == f"hf:{REPO}@{COMMIT}?classes={tmp_path}/classes.tsv"
    assert fm.evaluate(fm.load(folder, f"hf:{REPO}", fidelity=True)).value == 1


def test_images_as_bare_bytes(data_hub: Hub, lay: Lay, tmp_path: Path) -> None:
    rows = {"img": [pixels(i) for i in range(40)], "label": [str(i % 10) for i in range(40)]}
    lay({"train.parquet": pa.table(rows)})
    folder = folder_of(named_vit(None), tmp_path / "vit", words=None)
    task = fm.load(folder, f"hf:{REPO}").require_task()
    assert task.count("train") == 32  # type: ignore[attr-defined]
    rows["img"][3] = b"no image"
    lay({"train.parquet": pa.table(rows)}, "someone/damaged")
    with pytest.raises(DataError, match=r"Image \d+ of \w+ of someone/damaged is not an image"):
        fm.load(folder, "hf:someone/damaged")


def test_an_image_by_its_place_is_never_followed(data_hub: Hub, lay: Lay, tmp_path: Path) -> None:
    here = tmp_path / "secret.png"
    here.write_bytes(pixels(1))
    images = [{"bytes": None, "path": str(here)}] * 40
    lay({"train.parquet": pictures(40, TEN, image=images)})
    with pytest.raises(DataError, match=r"holds an image by its place, not by its bytes"):
        fm.load(folder_of(named_vit(TEN), tmp_path / "vit", words=None), f"hf:{REPO}")

"""Image files, folders and zips for the tests of a user's own images."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ffmerge_core.tasks.image_classification import ImageClassification
from ffmerge_core.tasks.own_images import image_task
from ffmerge_core.tasks.preparation import Preparation, stretched

SIZE = (6, 5)
RGB = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def packed(picture: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(stream, kind, **options)
    return stream.getvalue()


def some(n: int, seed: int = 0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [packed(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)) for _ in range(n)]


def two_classes(first: str = "cat", second: str = "dog") -> dict[str, bytes]:
    pictures = enumerate(some(40))
    return {f"{first if i < 20 else second}/{i}.png": picture for i, picture in pictures}


def folder(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def zipped(path: Path, files: Mapping[str, bytes], **options) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def stretch(channels: int = 3, size: tuple[int, int] = SIZE) -> Preparation:
    half = (0.5,) * channels
    return stretched((channels, *size), half, half, "stretched")


def task(path: Path, channels: int = 3, size: tuple[int, int] = SIZE, **options):
    return image_task(path, stretch(channels, size), **options)


def assert_same(one: ImageClassification, other: ImageClassification) -> None:
    for split, images in one.splits.items():
        assert torch.equal(images.images, other.splits[split].images)
        assert torch.equal(images.labels, other.splits[split].labels)

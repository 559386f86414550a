"""A user's own images: a folder or zip with a folder for each class, as a task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ffmerge_core.errors import DataError
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.archives import Files, open_files
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.image_classification import ImageClassification
from ffmerge_core.tasks.images import LabelledImages
from ffmerge_core.tasks.own_data import MIN_EXAMPLES

MAX_PIXELS = 80_000_000  # below Pillow's own bound, past which it only warns
MAX_TASK_BYTES = 6_400_000_000  # over 10,000 RGB images of 224×224

# What browsers, cameras and scanners write. Not every decoder of Pillow's: EPS runs a program.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_SMALLEST_IN_ALL_SPLITS = 3
_LISTED = 8


def image_task(
    path: str | Path,
    *,
    classes: Sequence[str] | None,
    n_classes: int | None,
    channels: int,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    report: Report = silent,
) -> ImageClassification:
    """The images of <class>/<file> in a folder or zip, for a model that takes (channels, *size).

    classes: the model's class names, in its numbering; the folders bear these names or all
        bear class numbers from 0. None: the folders are the classes, in the order of their
        names (of their numbers where all are numbers).
    n_classes: how many classes the model tells apart, if known; heard where `classes` is None.
    channels: 1 (grey) or 3 (RGB). size: (height, width) in pixels; images are stretched to it.

    About 80, 10 and 10 % of each class's different images are train, validation and test;
    files of equal bytes share a split, whatever their class. A class of three different images
    or more is in every split; a smaller one is in train alone. Raises `DataError`, naming the
    file, for what cannot be used.
    """
    path = Path(path)
    name = path.resolve().name
    if channels not in (1, 3):
        raise DataError(
            f"The model takes images of {channels} channels; own images are read as grey (1) or "
            "RGB (3). Choose another model, or build the task in Python."
        )
    with open_files(path) as files:
        folders = _class_folders(files.names, name)
        known, number = _numbering(sorted(set(folders)), classes, n_classes, name)
        labels = [number[folder] for folder in folders]
        shape = (channels, *size)
        _check_memory(len(labels), shape, name)
        splits: dict[Split, LabelledImages] = {}
        done = 0
        for split, chosen in _split(files, labels, name, report).items():
            images = torch.empty(len(chosen), *shape)
            for row, position in enumerate(chosen):
                member = files.names[position]
                images[row] = read_image(files.read(member), member, channels, size)
                done += 1
                report(done, len(labels), f"images of {name} read")
            splits[split] = LabelledImages(images, torch.tensor([labels[i] for i in chosen]))
    return ImageClassification(
        data=name, classes=known, splits=splits, mean=tuple(mean), std=tuple(std)
    )


def read_image(content: bytes, name: str, channels: int, size: tuple[int, int]) -> Tensor:
    """An image file's (first) picture as (channels, *size) float32 in [0, 1].

    Upright by its EXIF orientation; transparency lies on white; stretched by bilinear
    interpolation with antialiasing. Integers are taken as 16 bits (0 to 65,535), floats as 0 to
    1. Raises `DataError`, with `name`, for a file that is damaged, too large, or no image.
    """
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            plain = _plain(ImageOps.exif_transpose(opened), channels)
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name} is not an image; BMP, GIF, JPEG, PNG, PPM, TIFF or WebP was expected. Remove "
            "or convert it."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{name} has over {MAX_PIXELS // 1_000_000} million pixels, the most that are read of "
            "one image. Save it smaller."
        ) from error
    except Exception as error:
        # On damaged bytes the decoders raise nearly anything: SyntaxError, struct.error, KeyError.
        raise DataError(
            f"{name} is damaged or of a kind that is not read: {error}. Replace or remove it."
        ) from error
    return _pixels(plain, name, channels, size)


def _class_folders(names: Sequence[str], data: str) -> list[str]:
    """The class folder of each file; a folder around all classes is left out."""
    parts = [tuple(name.split("/")) for name in names]
    if parts and len({part[0] for part in parts}) == 1 and all(len(part) == 3 for part in parts):
        parts = [part[1:] for part in parts]
    if not parts:
        raise DataError(f"{data} has no files; a folder of images for each class was expected.")
    for name, part in zip(names, parts, strict=True):
        if len(part) != 2:
            found = "in no class folder" if len(part) < 2 else "in folders too deep"
            raise DataError(
                f"{name} in {data} lies {found}; <class>/<image> was expected. Move or remove it."
            )
    return [part[0] for part in parts]


def _numbering(
    folders: list[str], classes: Sequence[str] | None, n_classes: int | None, data: str
) -> tuple[tuple[str, ...], dict[str, int]]:
    """All class names in the model's numbering, and the number of each folder."""
    # Nine digits are more classes than any model's; int() refuses thousands of them.
    numbers = all(re.fullmatch("[0-9]{1,9}", folder) for folder in folders)
    if classes is None:
        if n_classes is not None and len(folders) != n_classes:
            raise DataError(
                f"{data} has {len(folders)} class folders ({_listed(folders)}); the model tells "
                f"{n_classes:,} classes apart and needs a folder for each. Add or remove folders."
            )
        # Numbers may have leading zeros: "007" and "7" are two folders of one number.
        ordered = sorted(folders, key=lambda folder: (int(folder), folder)) if numbers else folders
        return tuple(ordered), {folder: i for i, folder in enumerate(ordered)}
    known = {name: i for i, name in enumerate(classes)}
    unknown = [folder for folder in folders if folder not in known]
    if unknown and numbers and all(int(folder) < len(classes) for folder in folders):
        return tuple(classes), {folder: int(folder) for folder in folders}
    if unknown:
        raise DataError(
            f"{data} has the class folder {unknown[0]}, which the model does not know. It knows "
            f"{_listed(classes)}. Name the folders after these, or all by number from 0 to "
            f"{len(classes) - 1:,}."
        )
    return tuple(classes), {folder: known[folder] for folder in folders}


def _split(
    files: Files, labels: Sequence[int], data: str, report: Report
) -> dict[Split, list[int]]:
    """Positions of the files of each split, ascending."""
    contents: list[bytes] = []
    by_class: dict[int, set[bytes]] = {}
    for name, label in zip(files.names, labels, strict=True):
        contents.append(sha256(files.read(name)).digest())
        by_class.setdefault(label, set()).add(contents[-1])
        report(len(contents), len(labels), f"files of {data} compared")
    split_of: dict[bytes, Split] = {}
    for label in sorted(by_class):
        # An image of two classes keeps the split that it has by the first.
        new = sorted(by_class[label] - split_of.keys())
        each = max(1, (len(new) + 5) // 10) if len(new) >= _SMALLEST_IN_ALL_SPLITS else 0
        train = len(new) - 2 * each
        split_of |= dict.fromkeys(new[:train], "train")
        split_of |= dict.fromkeys(new[train : train + each], "validation")
        split_of |= dict.fromkeys(new[train + each :], "test")
    if len(split_of) < MIN_EXAMPLES or "test" not in split_of.values():
        raise DataError(
            f"{data} has {len(split_of)} different images; the training, validation and test "
            f"splits together need at least {MIN_EXAMPLES}, and {_SMALLEST_IN_ALL_SPLITS} of one "
            "class. Add more."
        )
    splits: dict[Split, list[int]] = {"train": [], "validation": [], "test": []}
    for position, content in enumerate(contents):
        splits[split_of[content]].append(position)
    return splits


def _check_memory(n: int, shape: tuple[int, ...], data: str) -> None:
    each = torch.float32.itemsize * int(np.prod(shape))
    if n * each > MAX_TASK_BYTES:
        raise DataError(
            f"{data} has {n:,} images, which fill {n * each / 1e9:,.1f} GB of memory at the "
            f"model's {'×'.join(map(str, shape))}; at most {MAX_TASK_BYTES / 1e9:.1f} GB, "
            f"{MAX_TASK_BYTES // each:,} images, are read. Take fewer of each class."
        )


def _plain(picture: Image.Image, channels: int) -> Image.Image:
    """In mode F as it is where the values are wider than 8 bits, in L or RGB otherwise."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return Image.fromarray(_unit_range(picture))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("L" if channels == 1 else "RGB")


def _unit_range(picture: Image.Image) -> NDArray[np.float32]:
    highest = 1 if picture.mode == "F" else 2**16 - 1
    values = np.asarray(picture, dtype=np.float32)
    # Not "outside", so that NaN is refused too.
    if not (values.min() >= 0 and values.max() <= highest):
        raise ValueError(
            f"its pixels lie between {values.min():g} and {values.max():g}, and 0 to {highest:,} "
            "was expected"
        )
    return values / np.float32(highest)


def _pixels(plain: Image.Image, name: str, channels: int, size: tuple[int, int]) -> Tensor:
    height, width = size
    resized = plain.resize((width, height), Image.Resampling.BILINEAR)
    values = np.array(resized, dtype=np.float32)
    if resized.mode != "F":
        values /= 255
    pixels = torch.from_numpy(values.reshape(height, width, -1)).permute(2, 0, 1)
    # Interpolated floats may pass 1 by a rounding error.
    return pixels.clamp(0, 1).expand(channels, height, width)


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _LISTED:
        return ", ".join(names)
    return f"{', '.join(names[:_LISTED])}, … ({len(names):,} in all)"

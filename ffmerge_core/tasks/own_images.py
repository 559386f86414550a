"""A user's own images: a folder or zip with a folder for each class, as a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ffmerge_core.errors import DataError
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.archives import Files, open_files
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.class_files import ClassFile, class_file, class_file_among
from ffmerge_core.tasks.class_names import Matched, match_by_file, match_classes
from ffmerge_core.tasks.image_classification import ImageClassification
from ffmerge_core.tasks.images import LabelledImages
from ffmerge_core.tasks.own_data import MIN_EXAMPLES
from ffmerge_core.tasks.preparation import Preparation

MAX_PIXELS = 80_000_000  # below Pillow's own bound, past which it only warns
MAX_TASK_BYTES = 6_400_000_000  # over 10,000 RGB images of 224×224

# What browsers, cameras and scanners write. Not every decoder of Pillow's: EPS runs a program.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_SMALLEST_IN_ALL_SPLITS = 3


def image_task(
    path: str | Path,
    preparation: Preparation,
    classes: Sequence[str] | None = None,
    *,
    n_classes: int | None = None,
    named: ClassFile | None = None,
    report: Report = silent,
) -> ImageClassification:
    """The images of <class>/<file> in a folder or zip, for a model.

    preparation: how a picture becomes what the model is fed. classes: the model's class names, in
        its numbering; `match_classes` says how folders are matched to them. n_classes: how many
        classes the model tells apart, if known; heard where `classes` is None. named: a file that
        says which class a folder is; else one that lies beside the folders.

    About 80, 10 and 10 % of each class's different images are train, validation and test;
    files of equal bytes share a split, whatever their class. A class of three different images
    or more is in every split; a smaller one is in train alone. Raises `DataError`, naming the
    file, for what cannot be used.
    """
    path = Path(path)
    name = path.resolve().name
    if (channels := preparation.shape[0]) not in (1, 3):
        raise DataError(
            f"The model takes images of {channels} channels; own images are read as grey (1) or "
            "RGB (3). Choose another model, or build the task in Python."
        )
    with open_files(path) as files:
        beside = class_file_among(files.names, name)
        if named is None and beside is not None:
            named = class_file(beside.split("/")[-1], files.read(beside))
        files = replace(files, names=tuple(each for each in files.names if each != beside))
        folders = _class_folders(files.names, name)
        matched = _matched(sorted(set(folders)), classes, n_classes, name, named)
        labels = [matched.number[folder] for folder in folders]
        check_memory(len(labels), preparation.shape, name)
        splits: dict[Split, LabelledImages] = {}
        done = 0
        for split, chosen in _split(files, labels, name, report).items():
            images = torch.empty(len(chosen), *preparation.shape)
            for row, position in enumerate(chosen):
                member = files.names[position]
                images[row] = read_image(files.read(member), member, preparation)
                done += 1
                report(done, len(labels), f"images of {name} read")
            splits[split] = LabelledImages(images, torch.tensor([labels[i] for i in chosen]))
    return ImageClassification(
        data=name,
        classes=matched.classes,
        splits=splits,
        mean=preparation.mean,
        std=preparation.std,
        notes={"classes": matched.by, "images": preparation.how},
    )


def _matched(
    folders: Sequence[str],
    classes: Sequence[str] | None,
    n_classes: int | None,
    data: str,
    named: ClassFile | None,
) -> Matched:
    if named is None or (classes is None and n_classes is None):
        return match_classes(folders, classes, n_classes, data)
    return match_by_file(folders, named.said, classes, n_classes, data, named.name)


def read_image(content: bytes, name: str, preparation: Preparation) -> Tensor:
    """An image file's (first) picture, prepared: (channels, height, width) float32 in [0, 1].

    Upright by its EXIF orientation; transparency lies on white. Integers are taken as 16 bits (0
    to 65,535), floats as 0 to 1. Raises `DataError`, with `name`, for a file that is damaged, too
    large, or no image.
    """
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            return preparation.of(ImageOps.exif_transpose(opened))
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


def check_memory(n: int, shape: tuple[int, ...], data: str) -> None:
    each = torch.float32.itemsize * int(np.prod(shape))
    if n * each > MAX_TASK_BYTES:
        raise DataError(
            f"{data} has {n:,} images, which fill {n * each / 1e9:,.1f} GB of memory at the "
            f"model's {'×'.join(map(str, shape))}; at most {MAX_TASK_BYTES / 1e9:.1f} GB, "
            f"{MAX_TASK_BYTES // each:,} images, are read. Take fewer of each class."
        )

"""Handwritten digits: the set that scikit-learn carries, split once and for all.

1,797 images of 8×8 pixels by 13 writers: the test part of Alpaydin & Kaynak, "Optical
Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
doi:10.24432/C50P49, CC BY 4.0.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.image_classification import ImageClassification
from ffmerge_core.tasks.images import LabelledImages

SIDE = 8
N_TEST = 540
N_VALIDATION = 359
_SPLIT_SEED = 0
# Each value of the set counts the ink in a block of 4×4 pixels of a 32×32 bitmap.
_BLOCK = 4


@cache
def split_indices() -> dict[Split, NDArray[np.int64]]:
    """Positions of each split's images in scikit-learn's order, about 50/20/30 %, by class."""
    labels = load_digits().target
    every = np.arange(len(labels))
    rest, test = train_test_split(
        every, test_size=N_TEST, stratify=labels, random_state=_SPLIT_SEED
    )
    train, validation = train_test_split(
        rest, test_size=N_VALIDATION, stratify=labels[rest], random_state=_SPLIT_SEED
    )
    return {"train": train, "validation": validation, "test": test}


@cache
def digits_task() -> ImageClassification:
    """The digits as a task: (1, 8, 8) images in [0, 1], classes "0" to "9"."""
    digits = load_digits()
    images = torch.tensor(digits.images / _BLOCK**2, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(digits.target, dtype=torch.int64)
    splits: dict[Split, LabelledImages] = {
        split: LabelledImages(images[chosen], labels[chosen])
        for split, chosen in split_indices().items()
    }
    train = splits["train"].images
    return ImageClassification(
        data="digits",
        classes=tuple(str(digit) for digit in range(10)),
        splits=splits,
        mean=(float(train.mean()),),
        std=(float(train.std()),),
    )


def digit_from_drawing(bitmap: NDArray[np.bool_] | NDArray[np.floating]) -> Tensor:
    """A drawing as the set's images were made: (1, 1, 8, 8) in [0, 1].

    bitmap: (side, side), side 32 or more; ink is where it is above one half. As far as the
    set's description tells: the ink's bounding box is scaled into 32×32, keeping its
    proportions and centred, and the ink of each 4×4 block counted, 0 to 16. Strokes about
    an eighth of the digit's height match the set's pens best.
    Raises `DataError` for another shape, values that are not finite, or no ink.
    """
    drawing = np.asarray(bitmap)
    side = SIDE * _BLOCK
    if drawing.ndim != 2 or drawing.shape[0] != drawing.shape[1] or len(drawing) < side:
        raise DataError(
            f"The drawing has shape {drawing.shape}; a square of at least {side} by {side} pixels "
            "was expected."
        )
    if not np.isfinite(drawing).all():
        raise DataError("The drawing has values that are not finite. Clear it and draw again.")
    rows, columns = np.nonzero(drawing > 0.5)
    if rows.size == 0:
        raise DataError("The drawing is empty. Draw a digit first.")

    ink = drawing[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] > 0.5
    height, width = (max(1, round(side * extent / max(ink.shape))) for extent in ink.shape)
    scaled = functional.interpolate(
        torch.tensor(ink, dtype=torch.float32)[None, None],
        size=(height, width),
        mode="bilinear",
        antialias=True,
    )
    top, left = (side - height) // 2, (side - width) // 2
    centred = functional.pad(scaled, (left, side - width - left, top, side - height - top))
    counts = (functional.avg_pool2d(centred, _BLOCK) * _BLOCK**2).round()
    return (counts / _BLOCK**2).clamp(0, 1)

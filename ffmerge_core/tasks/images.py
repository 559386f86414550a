"""Images with their classes, checked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ffmerge_core import showing
from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with their classes.

    Parameters
    ----------
    images : Tensor
        (n, channels, height, width) float32 in [0, 1].
    labels : Tensor
        (n,) int64, class numbers from 0.

    Raises
    ------
    DataError
        For other shapes, types or ranges.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> import torch
    >>> fm.LabelledImages(torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2]))
    LabelledImages(6 of 1×8×8)
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        expect(DataError, images=(self.images, Tensor), labels=(self.labels, Tensor))
        check_images(self.images)
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"Labels have shape {tuple(self.labels.shape)} and type {self.labels.dtype}; "
                f"{len(self.images)} images need {len(self.images)} labels of type torch.int64."
            )
        if int(self.labels.min()) < 0:
            raise DataError(
                f"A label is {int(self.labels.min())}; labels are class numbers from 0."
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return showing.line(self, f"{len(self):,} of {'×'.join(map(str, self.shape))}")

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width) of one image."""
        return tuple(self.images.shape[1:])


def check_images(images: Tensor) -> None:
    """Raise `DataError` for what are not images in [0, 1], (n, channels, height, width)."""
    if images.ndim != 4 or images.dtype != torch.float32 or images.numel() == 0:
        raise DataError(
            f"Images have shape {tuple(images.shape)} and type {images.dtype}; expected "
            "(n, channels, height, width) of type torch.float32, with at least one image."
        )
    lowest, highest = images.aminmax()  # in one pass, without copies; NaN is in no range
    if not (lowest >= 0 and highest <= 1):
        raise DataError(
            "Some pixels are not finite or lie outside 0 to 1. Scale the images to 0 to 1; the "
            "task normalises them itself."
        )

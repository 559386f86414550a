"""How a picture of any size and kind becomes the numbers that a model is fed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Preparation:
    """What is done to a picture before a model sees it.

    shape: (channels, height, width) that the model takes. pixels: a picture, in mode L where
    there is one channel and in RGB otherwise, to float32 in [0, 1] of that shape. mean, std: a
    channel; what the model is fed is pixels minus mean, over std. how: all this in words, and who
    says so. wide: whether `pixels` takes mode F too, grey values in [0, 1].
    """

    shape: tuple[int, int, int]
    pixels: Callable[[Image.Image], Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    how: str
    wide: bool = False

    def of(self, picture: Image.Image) -> Tensor:
        """The pixels of an upright picture of any mode. Raises `ValueError` for wild values."""
        plain = _plain(picture, self.shape[0])
        if plain.mode == "F" and not self.wide:
            eight = Image.fromarray((np.asarray(plain) * 255).round().astype(np.uint8))
            plain = eight.convert("L" if self.shape[0] == 1 else "RGB")
        return self.pixels(plain)


def stretched(
    shape: tuple[int, int, int], mean: tuple[float, ...], std: tuple[float, ...], how: str
) -> Preparation:
    """The whole picture, resized by bilinear interpolation with antialiasing."""

    def pixels(plain: Image.Image) -> Tensor:
        channels, height, width = shape
        resized = plain.resize((width, height), Image.Resampling.BILINEAR)
        values = np.array(resized, dtype=np.float32)
        if resized.mode != "F":
            values /= 255
        found = torch.from_numpy(values.reshape(height, width, -1)).permute(2, 0, 1)
        # Interpolated floats may pass 1 by a rounding error.
        return found.clamp(0, 1).expand(channels, height, width)

    return Preparation(shape, pixels, mean, std, how, wide=True)


def _plain(picture: Image.Image, channels: int) -> Image.Image:
    """In mode F where the values are wider than 8 bits, in L or RGB otherwise."""
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

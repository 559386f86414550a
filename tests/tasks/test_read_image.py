"""Reading one image file: every mode, and every kind of damage."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.own_images import read_image
from tests.tasks.own_files import RGB, SIZE, folder, packed, stretch, task, two_classes

GREY = RGB[..., 0]
COLOUR = Image.fromarray(RGB)


def flat(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (4, 4), colour)


WIDE = (np.arange(30).reshape(SIZE) * 2_000).astype(np.uint16)
UNIT = np.linspace(0, 1, 30, dtype=np.float32).reshape(SIZE)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (packed(GREY), GREY / 255),
        (packed(GREY, "BMP"), GREY / 255),
        (packed(Image.fromarray(GREY).convert("LA")), GREY / 255),
        (packed(Image.fromarray(GREY).convert("1"), "TIFF"), None),
        (packed(WIDE), WIDE / 65_535),
        (packed(WIDE, "TIFF"), WIDE / 65_535),
        (packed(WIDE.astype(np.int32), "TIFF"), WIDE / 65_535),
        (packed(Image.fromarray(WIDE.astype(np.int32)), "PPM"), WIDE / 65_535),
        (packed(UNIT, "TIFF"), UNIT),
    ],
    ids=["L", "BMP", "LA", "1", "I;16", "I;16 TIFF", "I TIFF", "I PGM", "F"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_of_every_depth(content, expected, channels: int) -> None:
    image = read_image(content, "a", stretch(channels, SIZE))
    assert (image.shape, image.dtype) == ((channels, *SIZE), torch.float32)
    if expected is None:
        expected = np.asarray(Image.open(io.BytesIO(content)), dtype=np.float32)
    for plane in image:
        np.testing.assert_allclose(plane, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "within"),
    [
        (packed(COLOUR), 0),
        (packed(COLOUR.convert("RGBA")), 0),
        (packed(COLOUR.convert("P", palette=Image.Palette.ADAPTIVE)), 0),
        (packed(COLOUR.convert("P", palette=Image.Palette.ADAPTIVE), "GIF"), 0),
        (packed(COLOUR.convert("CMYK"), "TIFF"), 0),
        (packed(COLOUR, "PPM"), 0),
        (packed(COLOUR, "WEBP", lossless=True), 0),
        (packed(COLOUR, "JPEG", quality=100, subsampling=0), 4),
    ],
    ids=["RGB", "RGBA", "P", "GIF", "CMYK", "PPM", "WebP", "JPEG"],
)
def test_colour_images_of_every_mode(content: bytes, within: int) -> None:
    image = read_image(content, "a", stretch(3, SIZE)).permute(1, 2, 0)
    np.testing.assert_allclose(image, RGB / 255, atol=within / 255 + 1e-6)
    grey = read_image(content, "a", stretch(1, SIZE))[0]
    weighted = RGB @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grey, weighted / 255, atol=(within + 1) / 255)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (packed(flat("RGBA", (255, 0, 0, 0))), (1, 1, 1)),
        (packed(flat("RGBA", (255, 0, 0, 51))), (1, 0.8, 0.8)),
        (packed(flat("LA", (0, 102))), (0.6, 0.6, 0.6)),
        (packed(flat("L", 7), transparency=7), (1, 1, 1)),
        (packed(flat("RGB", (1, 2, 3)), transparency=(1, 2, 3)), (1, 1, 1)),
        (packed(flat("P", 0), transparency=0), (1, 1, 1)),
    ],
    ids=["RGBA clear", "RGBA half", "LA", "L key", "RGB key", "P"],
)
def test_transparency_lies_on_white(content: bytes, expected) -> None:
    image = read_image(content, "a", stretch(3, (4, 4)))
    np.testing.assert_allclose(image[:, 0, 0], expected, atol=1 / 255)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    half = Image.new("L" if kind != "WEBP" else "RGB", (16, 16), 0)
    half.paste("white" if kind == "WEBP" else 255, (0, 0, 16, 8))
    image = read_image(packed(half, kind, exif=exif), "a", stretch(1, (16, 16)))[0]
    assert image[:, :7].max() < 0.1
    assert image[:, 9:].min() > 0.9


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    first, second = flat("RGB", "red"), flat("RGB", "blue")
    content = packed(first, kind, save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(content)).n_frames == 2
    image = read_image(content, "a", stretch(3, (4, 4)))
    np.testing.assert_allclose(image[:, 0, 0], (1, 0, 0), atol=0.03)


def test_images_are_stretched_with_antialiasing() -> None:
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (32, 64))
    image = read_image(packed(stripes), "a", stretch(1, (8, 16)))
    assert image.shape == (1, 8, 16)
    # Without antialiasing each pixel would be one stripe's 0 or 1.
    np.testing.assert_allclose(image[0, :, 1:-1], 0.5, atol=0.02)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 70_000]], dtype=np.int32),
        np.array([[-1, 5]], dtype=np.int32),
        np.array([[0, 1.5]], dtype=np.float32),
        np.array([[0, np.nan]], dtype=np.float32),
    ],
)
def test_values_without_a_known_range_are_refused(values: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"a\.tif .* pixels lie between .* and 0 to [\d,]+ was"):
        read_image(packed(values, "TIFF"), "a.tif", stretch(1, SIZE))


def header_only(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 99) + b"IDAT"


@pytest.mark.parametrize("side", [9_000, 10_000, 60_000])
def test_images_that_unpack_to_too_many_pixels_are_refused(side: int) -> None:
    with pytest.raises(DataError, match=r"bomb\.png has over 80 million pixels"):
        read_image(header_only(side, side), "bomb.png", stretch(3, SIZE))


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
def test_a_truncated_image_is_named(kind: str, tmp_path: Path) -> None:
    large = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = packed(large, kind)
    files = two_classes() | {"dog/half.bin": content[: len(content) // 2]}
    with pytest.raises(DataError, match=r"dog/half\.bin is (damaged|not an image)"):
        task(folder(tmp_path, files))


@pytest.mark.parametrize("content", [b"", b"Photos of my cat.", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_named(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cat/notes\.txt is not an image; BMP, GIF"):
        task(folder(tmp_path, two_classes() | {"cat/notes.txt": content}))


def test_noise_in_a_good_file_gives_an_image_or_a_sentence() -> None:
    rng = np.random.default_rng(0)
    for kind in ("GIF", "JPEG", "PNG", "TIFF", "WEBP"):
        good = np.frombuffer(packed(RGB, kind), dtype=np.uint8)
        for _ in range(60):
            noisy = good.copy()
            noisy[rng.integers(0, len(good), 4)] = rng.integers(0, 256, 4)
            try:
                image = read_image(noisy.tobytes(), "noisy", stretch(3, SIZE))
            except DataError:
                continue
            assert image.shape == (3, *SIZE)

"""The digits demo: its data, its training, and the drawing canvas's way in."""

import hashlib
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load

from ffmerge_core import demos
from ffmerge_core.demos.files import WEIGHTS
from ffmerge_core.demos.vit_digits import train
from ffmerge_core.demos.vit_digits.data import digit_from_drawing, digits_task, split_indices
from ffmerge_core.demos.vit_digits.model import build
from ffmerge_core.errors import DataError

CHECKSUM = "feb9950570785507471ae8859fe0e4b5833fd05775c60d4d7688e056c2c1409d"


def test_the_split_never_changes() -> None:
    digest = hashlib.sha256()
    for split in ("train", "validation", "test"):
        digest.update(np.ascontiguousarray(split_indices()[split], dtype="<i8").tobytes())
    assert digest.hexdigest() == CHECKSUM


def test_the_splits_never_mix_and_keep_the_classes_shares() -> None:
    splits = split_indices()
    together = np.concatenate(list(splits.values()))
    assert sorted(together.tolist()) == list(range(1797))
    task = digits_task()
    for split, share in (("train", 0.5), ("validation", 0.2), ("test", 0.3)):
        labels = task.splits[split].labels
        assert len(labels) / 1797 == pytest.approx(share, abs=0.001)
        assert torch.bincount(labels, minlength=10).div(len(labels)).sub(0.1).abs().max() < 0.01


def test_no_image_is_in_two_splits() -> None:
    seen = [
        {image.numpy().tobytes() for image in digits_task().splits[split].images}
        for split in ("train", "validation", "test")
    ]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]


def test_the_card_lists_every_part_and_sublayer() -> None:
    card = demos.card("vit-digits")
    parts = [part.part for part in card.anatomy]
    assert parts == ["FF", "attention", "embeddings", "norms", "head"]
    assert [each["name"] for each in card.sublayers] == [f"encoder.{i}" for i in range(12)]
    assert card.splits == {split: digits_task().size(split) for split in card.splits}


def test_the_model_reads_digits() -> None:
    model, task = demos.load("vit-digits")
    assert task.evaluate(model, "test").value >= 0.965


def test_the_script_writes_one_model_a_seed_and_a_card_that_describes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    for out in ("once", "again"):
        options = ["--out", str(tmp_path / out), "--epochs", "1", "--seed", "3"]
        monkeypatch.setattr(sys, "argv", ["train", *options])
        train.main()
    torch.set_num_threads(threads)
    once, again = ((tmp_path / out / WEIGHTS).read_bytes() for out in ("once", "again"))
    assert once == again
    build().load_state_dict(load(once))
    card = demos.Card.from_dict(json.loads((tmp_path / "once" / "card.json").read_text("utf-8")))
    assert card.weights_sha256 == hashlib.sha256(once).hexdigest()
    assert card.training_command.endswith("--epochs 1 --seed 3")
    assert sorted(path.name for path in (tmp_path / "once").iterdir()) == ["card.json", WEIGHTS]


def test_distortion_varies_images_but_keeps_them_images() -> None:
    torch.manual_seed(0)
    images = digits_task().splits["train"].images[:100]
    changed = train.distorted(images)
    assert changed.shape == images.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    correlation = torch.corrcoef(torch.stack([images.flatten(), changed.flatten()]))[0, 1]
    assert 0.6 < correlation < 0.99


def stroke(
    *corners: tuple[float, float], side: int = 280, width: float = 0.12
) -> NDArray[np.bool_]:
    """A polyline as a canvas gives it; corners are (x, y) in [0, 1], width a share of the side."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    ink = np.zeros((side, side), dtype=bool)
    for (x0, y0), (x1, y1) in pairwise(corners):
        for t in np.linspace(0, 1, 100):
            x, y = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
            ink |= (columns - x) ** 2 + (rows - y) ** 2 <= (width / 2) ** 2
    return ink


def test_a_drawing_is_cropped_scaled_centred_and_counted() -> None:
    drawing = np.zeros((64, 64), dtype=bool)
    drawing[10:26, 40:48] = True  # 16 high, 8 wide: doubled, it fills the rows and half the columns
    expected = torch.zeros(1, 1, 8, 8)
    expected[..., 2:6] = 1
    assert torch.equal(digit_from_drawing(drawing), expected)


def test_where_and_how_large_a_digit_is_drawn_does_not_matter() -> None:
    small = stroke((0.2, 0.2), (0.4, 0.2), (0.3, 0.4), width=0.04)
    large = stroke((0.15, 0.25), (0.75, 0.25), (0.45, 0.85))
    assert (digit_from_drawing(small) - digit_from_drawing(large)).abs().max() <= 2 / 16


def test_a_drawn_value_is_a_count_of_sixteenths() -> None:
    counts = digit_from_drawing(stroke((0.3, 0.1), (0.7, 0.9))) * 16
    assert set(counts.unique().tolist()) <= set(range(17))
    assert 0 < counts.unique()[1] < 16


def test_a_single_pixel_and_a_hairline_keep_their_ink() -> None:
    drawing = np.zeros((300, 300))
    drawing[7, 9] = 1
    assert digit_from_drawing(drawing).sum() == 64
    drawing[:, 9] = 1
    assert digit_from_drawing(drawing).sum() > 0


def test_the_test_images_survive_being_drawn_again() -> None:
    """An image's ink laid out at 32 by 32 comes back about as it was, and is read as it was."""
    model, task = demos.load("vit-digits")
    split = task.splits["test"]
    size = {"size": (64, 64), "mode": "bilinear"}
    drawings = torch.nn.functional.interpolate(split.images, **size)[:, 0].numpy()  # type: ignore[arg-type]
    again = torch.cat([digit_from_drawing(drawing) for drawing in drawings])
    read = task.predict(model, again).argmax(1)
    assert (read == split.labels).double().mean() > 0.85


@pytest.mark.parametrize(
    ("digit", "corners"),
    [
        (1, [(0.5, 0.1), (0.5, 0.9)]),
        (7, [(0.25, 0.12), (0.75, 0.12), (0.4, 0.9)]),
        (0, [(0.5, 0.1), (0.3, 0.3), (0.3, 0.7), (0.5, 0.9), (0.7, 0.7), (0.7, 0.3), (0.5, 0.1)]),
    ],
)
def test_drawn_digits_are_read(digit: int, corners: list[tuple[float, float]]) -> None:
    model, task = demos.load("vit-digits")
    assert task.predict(model, digit_from_drawing(stroke(*corners))).argmax() == digit


@pytest.mark.parametrize(
    ("drawing", "found"),
    [
        (np.zeros((64, 64), dtype=bool), "empty"),
        (np.ones((64, 32)), r"\(64, 32\)"),
        (np.ones((16, 16)), "at least 32 by 32"),
        (np.ones((64, 64, 4)), r"\(64, 64, 4\)"),
        (np.full((64, 64), np.nan), "not finite"),
    ],
)
def test_unusable_drawings_are_refused(drawing: NDArray[np.floating], found: str) -> None:
    with pytest.raises(DataError, match=found):
        digit_from_drawing(drawing)

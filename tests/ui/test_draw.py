"""What a browser may send as a drawing."""

from __future__ import annotations

import numpy as np
import pytest

from pages._ui.merge.draw import SIDE, decode_drawing


def test_pixels_come_in_rows_from_the_top() -> None:
    levels = np.random.default_rng(0).integers(0, 16, size=(SIDE, SIDE))
    drawing = decode_drawing("".join(f"{level:x}" for level in levels.flat))
    assert drawing is not None
    assert drawing.dtype == np.float32
    np.testing.assert_allclose(drawing, levels / 15, rtol=1e-6)


BLANK = "0" * SIDE * SIDE


@pytest.mark.parametrize(
    "sent",
    [None, 5, "", BLANK, "f" * 4095, "f" * 4097, "f" * 4096 + "\n", "g" * 4096, "F" * 4096,
     ["f"] * 4096, {"drawing": "f"}, "\uff11" * 4096],
)  # fmt: skip
def test_blank_or_malformed_is_no_drawing(sent: object) -> None:
    assert decode_drawing(sent) is None

"""A canvas to draw one's own digit on, with mouse, finger or pen.

Its twin for people who use the keyboard is the picker of held-out images on the same page.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import streamlit as st

SIDE = 64
_PIXELS = re.compile(rf"[0-9a-f]{{{SIDE * SIDE}}}")
_HERE = Path(__file__).parent

_canvas = st.components.v2.component(
    "ffmerge.digit_canvas",
    html=(_HERE / "draw.html").read_text(encoding="utf-8"),
    css=(_HERE / "draw.css").read_text(encoding="utf-8"),
    js=(_HERE / "draw.js").read_text(encoding="utf-8"),
)


def draw_digit(key: str) -> np.ndarray | None:
    """Show the canvas; the drawing after the latest stroke, or None while it is blank.

    Returns (64, 64) float32, rows from the top, 0 = paper to 1 = ink.
    """
    kept = st.session_state.get(key, {}).get("drawing")
    drawn = _canvas(
        key=key,
        data={"drawing": kept if decode_drawing(kept) is not None else None},
        on_drawing_change=lambda: None,
    )
    return decode_drawing(drawn.get("drawing"))


def decode_drawing(text: object) -> np.ndarray | None:
    """What a browser sent, as pixels; None for a blank canvas and for anything malformed.

    text: one hexadecimal digit of ink a pixel, rows from the top.
    """
    if not isinstance(text, str) or not _PIXELS.fullmatch(text):
        return None
    levels = np.frombuffer(bytes.fromhex("0" + "0".join(text)), dtype=np.uint8)
    if not levels.any():
        return None
    return levels.reshape(SIDE, SIDE).astype(np.float32) / 15

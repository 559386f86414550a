"""One example through the original and the merged model, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ffmerge_core import demos
from ffmerge_core.reporting.figures import probability_bars
from ffmerge_core.reporting.formats import percent
from ffmerge_core.reporting.stored import made
from pages._ui.merge.draw import draw_digit
from pages._ui.merge.examples import (
    PICTURE_WIDTH,
    answers,
    changed_examples,
    content_of,
    picture,
    shows,
)
from pages._ui.merge.try_text import continuation, translation
from pages._ui.pieces.widgets import guarded

if TYPE_CHECKING:
    from torch import Tensor

    import ffmerge_core as fm


@st.fragment
@guarded()
def try_out(run_id: str, result: fm.RunResult) -> None:
    """What suits the examples: a held-out image, a drawing, a prompt, a sentence."""
    tried = {"images": _images, "texts": continuation, "sentences": translation}
    if not answers(result):
        st.caption(
            "This model is an encoder without a head. It gives no answers, so there is nothing to "
            "try."
        )
    elif (shown := shows(result)) is None:
        st.caption(
            f"There is nothing to try, because {content_of(result).examples} cannot be shown here."
        )
    else:
        tried[shown](run_id, result)


def _images(run_id: str, result: fm.RunResult) -> None:
    tabs = ["A held-out image", "Draw a digit"]
    picked, drawn = st.tabs(tabs) if _draws(result) else (*st.tabs(tabs[:1]), None)
    with picked:
        _held_out(result)
    if drawn is not None:
        with drawn:
            _own_digit(result)


def _draws(result: fm.RunResult) -> bool:
    return result.recipe.source == f"{demos.PREFIX}vit-digits"


def _held_out(result: fm.RunResult) -> None:
    task = content_of(result)
    images = task.splits["validation"]
    changed = changed_examples(result)
    only = bool(changed) and st.toggle(
        "Only images whose prediction changed", value=True, key="only_changed"
    )
    pool = changed if only else list(range(len(images)))
    st.session_state.setdefault("image", 1)
    st.session_state["image"] = min(st.session_state["image"], len(pool))
    at = 1
    if len(pool) > 1:
        at = st.number_input(
            f"Image, 1 to {len(pool)} of the {'changed' if only else 'validation'} images",
            min_value=1,
            max_value=len(pool),
            key="image",
        )
    index = pool[int(at) - 1]
    _side_by_side(result, images.images[index : index + 1], task.classes[int(images.labels[index])])


def _own_digit(result: fm.RunResult) -> None:
    from ffmerge_core.demos.vit_digits.data import digit_from_drawing

    canvas, answer = st.columns([1, 2], gap="large")
    with canvas:
        drawing = draw_digit("digit")
    with answer:
        if drawing is None:
            st.info(
                "Draw one large digit. It is scaled to 8×8 pixels, as the training images were. If "
                "you cannot draw here, pick a held-out image instead."
            )
        else:
            _side_by_side(result, digit_from_drawing(drawing), None)


def _side_by_side(result: fm.RunResult, image: Tensor, truth: str | None) -> None:
    task = content_of(result)
    left, right = st.columns([1, 3], vertical_alignment="center")
    caption = "What the models see" + (f": a {truth}" if truth else "")
    left.image(picture(image[0]), width=PICTURE_WIDTH, caption=caption)
    both = [
        task.predict(model.model, image)[0].numpy() for model in (result.original, result.merged)
    ]
    name = made(result.recipe.to_dict())
    for title, probabilities in zip(("Original", name), both, strict=True):
        best = int(probabilities.argmax())
        right.markdown(f"**{title}**: {task.classes[best]} ({percent(float(probabilities[best]))})")
    right.plotly_chart(
        probability_bars(task.classes, *both, name.lower()),
        key=f"tried-{truth}",
        config={"displayModeBar": False},
    )

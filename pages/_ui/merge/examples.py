"""Validation examples of a merge, as the pages show them: pictures, excerpts, sentences."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import streamlit as st

from ffmerge_core.reporting.text_diff import Span
from ffmerge_core.tasks.kinds import TASKS, Shows
from ffmerge_core.tasks.metrics import metric

if TYPE_CHECKING:
    from torch import Tensor

    import ffmerge_core as fm

PICTURE_WIDTH = 160
# Not by colour alone: a line through, a line below, a bar in front. The tints suit both themes.
MARKS = {
    "original": ("del", "background: rgba(213, 94, 0, 0.16); text-decoration-thickness: 1px"),
    "merged": ("ins", "background: rgba(0, 114, 178, 0.2); font-weight: 600"),
    "parted": ("mark", "background: rgba(0, 114, 178, 0.14); color: inherit; "
               "border-left: 3px solid rgb(0, 114, 178); padding-left: 2px"),
}  # fmt: skip
# Streamlit gives lists a margin and a padding of its own.
PLAIN = "margin: 0; padding: 0"
LABELLED = f"display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1rem; {PLAIN}"
LABEL = f"opacity: 0.75; {PLAIN}"


def content_of(result: fm.RunResult) -> Any:
    """The task that holds the examples, fidelity's inner one included."""
    task = result.original.require_task()
    return getattr(task, "inner", task)


def shows(result: fm.RunResult) -> Shows | None:
    """How the pages look at one of its examples; None for a task of no kind that is known."""
    kind = TASKS.get(content_of(result).kind)
    return None if kind is None else kind.shows


def answers(result: fm.RunResult) -> bool:
    """Whether the models answer each example, and do not only embed it."""
    return metric(result.after.metric).answers


def compares(result: fm.RunResult) -> bool:
    """Whether what is scored is how near a model is to the original."""
    return content_of(result) is not result.original.task


def changed_examples(result: fm.RunResult) -> list[int]:
    """Indices of the examples with another prediction."""
    both = zip(result.before.predictions, result.after.predictions, strict=True)
    return [index for index, (old, new) in enumerate(both) if not np.array_equal(old, new)]


def losses(score: fm.Evaluation) -> np.ndarray:
    """(n,) mean loss of each example."""
    loss = score.measures["loss"]
    return np.asarray(loss.formula(loss.statistics))


def picture(image: Tensor, side: int = PICTURE_WIDTH) -> np.ndarray:
    """(channels, height, width) in [0, 1] as whole pixels, so that small images stay crisp."""
    pixels = image.numpy().transpose(1, 2, 0)
    times = max(1, side // pixels.shape[0])
    large = pixels.repeat(times, axis=0).repeat(times, axis=1)
    return large[..., 0] if large.shape[2] == 1 else large


def window_text(task: Any, index: int) -> str:
    """What is scored of a window of the validation split, documents apart."""
    window, tokenizer = task.windows("validation")[index], task.tokenizer
    end = window.stop + 1
    ids = task.stream("validation").ids[end - window.n_scored : end]
    text: str = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    for separator in filter(None, (tokenizer.bos_token, tokenizer.eos_token)):
        text = text.replace(separator, "\n\n")
    return text.strip("\n")


def marked(spans: Sequence[Span], mark: Literal["original", "merged", "parted"]) -> str:
    """Spans as HTML with the changed ones marked."""
    tag, style = MARKS[mark]
    return "".join(
        f'<{tag} style="{style}">{escape(span.text)}</{tag}>' if span.changed else escape(span.text)
        for span in spans
    )


def labelled_texts(rows: Sequence[tuple[str, str]]) -> None:
    """Lines of a label and a text in HTML."""
    lines = "".join(
        f'<dt style="{LABEL}">{escape(label)}</dt><dd dir="auto" style="{PLAIN}">{text}</dd>'
        for label, text in rows
    )
    st.html(f'<dl style="{LABELLED}">{lines}</dl>')

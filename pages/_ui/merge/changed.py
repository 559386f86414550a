"""What a merge changed, example by example of the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from ffmerge_core.reporting.formats import count
from ffmerge_core.reporting.stored import made
from ffmerge_core.reporting.text_diff import word_diff
from ffmerge_core.tasks.metrics import metric
from pages._ui.merge.examples import (
    answers,
    changed_examples,
    compares,
    content_of,
    labelled_texts,
    losses,
    marked,
    picture,
    shows,
    window_text,
)

if TYPE_CHECKING:
    import ffmerge_core as fm

SHOWN_IMAGES = 24
SHOWN_WINDOWS = 5
SHOWN_SENTENCES = 10
SHOWN_NUMBERS = 20


def what_changed(result: fm.RunResult) -> None:
    """The examples that show the merge's cost, in the way of their kind."""
    shown = {"images": _images, "texts": worse_texts, "sentences": _sentences}
    shown.get(shows(result) or "", worse_examples)(result, content_of(result))


def _images(result: fm.RunResult, task: Any) -> None:
    if answers(result):
        changed_images(result, task)
    else:
        moved_images(result, task)


def _sentences(result: fm.RunResult, task: Any) -> None:
    # Of fidelity the predictions are tokens, and translations are what can be read.
    if isinstance(result.after.predictions[0], str):
        changed_sentences(result, task)
    else:
        worse_texts(result, task)


def worse_examples(result: fm.RunResult, task: Any) -> None:
    """Of examples that cannot be shown here, the numbers of those whose loss rose most."""
    before, after = losses(result.before), losses(result.after)
    shown = _worst(before, after, SHOWN_NUMBERS)
    n = count(len(after))
    if not shown:
        st.success(f"The loss rose on none of the {n} validation {task.examples}.")
        return
    st.write(
        f"The loss rose on {count(int((after > before).sum()))} of {n} validation "
        f"{task.examples}. These are the {len(shown)} where it rose most."
    )
    rows = [(str(i + 1), f"{before[i]:.3f}", f"{after[i]:.3f}") for i in shown]
    columns = ["Example", "Original", made(result.recipe.to_dict())]
    st.table(pd.DataFrame(rows, columns=columns).set_index("Example"))


def _worst(before: np.ndarray, after: np.ndarray, most: int) -> list[int]:
    """Indices of the examples whose loss rose, by how much; `most` at most."""
    rise = after - before
    worst: list[int] = np.argsort(-rise, kind="stable")[: min(most, int((rise > 0).sum()))].tolist()
    return worst


def changed_images(result: fm.RunResult, task: Any) -> None:
    """The images that the two models classify differently."""
    changed, n = changed_examples(result), count(result.after.n)
    if not changed:
        st.success(f"No prediction changed on the {n} validation images.")
        return
    shown = changed[:SHOWN_IMAGES]
    st.write(
        f"{len(changed)} of {n} predictions changed{_first(shown, changed)}. Each caption reads "
        f"“true class: original → {_made(result)}”."
    )
    images = task.splits["validation"]

    def caption(index: int) -> str:
        scores = result.before, result.after
        was, now = (task.classes[int(np.ravel(each.predictions[index])[0])] for each in scores)
        return f"{task.classes[int(images.labels[index])]}: {was} → {now}"

    _gallery(images.images, [(index, caption(index)) for index in shown])


def moved_images(result: fm.RunResult, task: Any) -> None:
    """The images whose embedding moved most."""
    cosines = 1 - losses(result.after)
    shown = np.argsort(cosines, kind="stable")[:SHOWN_IMAGES].tolist()
    st.write(
        f"These {len(shown)} of {count(result.after.n)} validation images have the embeddings that "
        "moved most. Each caption is the cosine between the original's embedding and the "
        f"{_made(result)} model's."
    )
    images = task.splits["validation"].images
    _gallery(images, [(index, f"{cosines[index]:.4f}") for index in shown])


def _gallery(images: Any, shown: Sequence[tuple[int, str]]) -> None:
    with st.container(horizontal=True):
        for index, caption in shown:
            with st.container(width=110):
                st.image(picture(images[index], side=96), width=96, caption=caption)


def worse_texts(result: fm.RunResult, task: Any) -> None:
    """The windows, or sentences, whose loss rose most; of fidelity, the farthest ones."""
    before, after = losses(result.before), losses(result.after)
    worse, n = int((after > before).sum()), count(len(after))
    if not worse:
        st.success(f"The loss rose on none of the {n} validation {task.examples}.")
        return
    shown = _worst(before, after, SHOWN_WINDOWS)
    fidelity = compares(result)
    if fidelity:
        st.write(
            f"On these {len(shown)} of {n} validation {task.examples} the {_made(result)} model is "
            f"farthest from the original. The figures are the {metric(result.after.metric).loss}, "
            "in nats per token."
        )
    else:
        st.write(
            f"The loss rose on {count(worse)} of {n} validation {task.examples}. These are the "
            f"{len(shown)} where it rose most. Losses are in nats per token."
        )
    for place, index in enumerate(shown):
        figure = f"loss {before[index]:.3f} → **{after[index]:.3f}**"
        if fidelity:
            figure = f"**{after[index]:.4f}**"
        label = f"{task.examples.capitalize()[:-1]} {index + 1}: {figure}"
        with st.expander(label, expanded=place == 0):
            _text(result, task, index)


def _text(result: fm.RunResult, task: Any, index: int) -> None:
    if shows(result) == "sentences":
        source, reference = task.scored("validation")[index]
        labelled_texts([("Source", escape(source)), ("Reference", escape(reference))])
    else:
        st.code(window_text(task, index), language=None, wrap_lines=True)


def changed_sentences(result: fm.RunResult, task: Any) -> None:
    """The sentences that the two models translate differently, worst first."""
    rise = losses(result.after) - losses(result.before)
    changed = sorted(changed_examples(result), key=lambda index: -rise[index])
    n = count(result.after.n)
    if not changed:
        st.success(f"No translation changed on the {n} validation sentences.")
        return
    shown = changed[:SHOWN_SENTENCES]
    st.write(
        f"{len(changed)} of {n} translations changed{_first(shown, changed)}. They are sorted by "
        "how much probability the reference lost, the most first. Words that only the original "
        f"says are struck through, and words that only the {_made(result)} model says are "
        "underlined."
    )
    for index in shown:
        with st.container(border=True):
            translations(
                *task.scored("validation")[index],
                result.before.predictions[index],
                result.after.predictions[index],
                made(result.recipe.to_dict()),
            )


def translations(source: str, reference: str | None, original: str, other: str, name: str) -> None:
    """A sentence and both its translations, the words marked in which these differ.

    name: of the model that is not the original.
    """
    old, new = word_diff(original, other)
    rows = [("Source", escape(source))]
    if reference is not None:
        rows.append(("Reference", escape(reference)))
    rows += [("Original", marked(old, "original")), (name, marked(new, "merged"))]
    labelled_texts(rows)


def _made(result: fm.RunResult) -> str:
    """ "merged", in the middle of a sentence."""
    return made(result.recipe.to_dict()).lower()


def _first(shown: Sequence[int], changed: Sequence[int]) -> str:
    return f"; {len(shown)} are shown" if len(shown) < len(changed) else ""

"""Small pieces that every page uses: guarding, empty states, downloads, scores in a line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import FragmentHandledException
from streamlit.navigation.page import StreamlitPage

from ffmerge_core.errors import Cancelled, FFMergeError
from ffmerge_core.plan import METHODS, QUANTIZATIONS
from ffmerge_core.reporting.formats import count, figure_text
from ffmerge_core.reporting.scores import figures_of

log = logging.getLogger(__name__)

# What the FF and attention weights are kept as if nothing is rounded.
AS_THEY_ARE = "float32"
_ROUNDED = (
    "Once its weights are rounded, a model can no longer be merged or trained, and it can be saved "
    "in the compact layout only."
)


@contextmanager
def guarded() -> Iterator[None]:
    """Turn an error into a sentence on the page; as `with guarded():` or `@guarded()`.

    Streamlit's reruns and stops pass: they are no `Exception`, or were handled already.
    """
    try:
        yield
    except FragmentHandledException:
        raise
    except Cancelled:
        st.info("Cancelled: nothing was changed.")
    except FFMergeError as error:
        st.error(str(error))
    except Exception as error:
        log.exception("a page failed")
        st.error(
            f"This part of the page stopped on an unexpected {type(error).__name__}. The details "
            "are in the server's log. The rest of your work is kept."
        )


def empty_state(text: str, page: str | StreamlitPage, label: str) -> None:
    """A sentence on why there is nothing here, and a link to where to go next.

    The link carries the query parameters, which name the tab's workspace.
    """
    st.info(text)
    next_step(page, label)


def next_step(page: str | StreamlitPage, label: str) -> None:
    """A link to the page where the walk goes on."""
    st.page_link(
        page, label=label, icon=":material/arrow_forward:", query_params=st.query_params.to_dict()
    )


@dataclass(frozen=True)
class Download:
    """One file on offer.

    data: the content, or a function that makes it when the button is pressed.
    """

    label: str
    file_name: str
    data: str | bytes | Callable[[], str | bytes]
    mime: str


def download_row(*files: Download, key: str) -> None:
    """Download buttons side by side; pressing one does not rerun the page."""
    with st.container(horizontal=True):
        for file in files:
            st.download_button(
                file.label,
                file.data,
                file_name=file.file_name,
                mime=file.mime,
                key=f"{key}-{file.file_name}",
                on_click="ignore",
                icon=":material/download:",
            )


def figure_row() -> DeltaGenerator:
    """Room for `st.metric`s of width "content", which go on below where the page is narrow.

    Columns would cut long numbers.
    """
    return st.container(horizontal=True, gap="medium")


def score_text(score: Mapping[str, Any], examples: str = "examples") -> str:
    """An `Evaluation.summary()` in a line: all its figures with intervals, and n.

    examples: what was scored, in the plural.
    """
    figures = (f"{name} {figure_text(name, figure)}" for name, figure in figures_of(score).items())
    what = examples.removesuffix("s") if score["n"] == 1 else examples
    return f"{', '.join(figures)}, on {count(score['n'])} {what}"


def weights_label(quantize: str | None) -> str:
    """ "float32" of nothing, "LLM.int8()" of "llm.int8"."""
    return QUANTIZATIONS[quantize].label if quantize else AS_THEY_ARE


def choose_weights(key: str, **options: Any) -> str:
    """What the weights are kept as at the end: of what can be here, or is chosen already.

    key: of the choice in the session, where it may stand already. options: of the widget.
    """
    kept = ["", *(name for name, record in QUANTIZATIONS.items() if record.installed)]
    if (chosen := st.session_state.get(key)) and chosen not in kept:
        kept.append(chosen)
    return st.segmented_control(
        "Weights", kept, required=True, key=key, format_func=weights_label,
        help=" ".join((*(QUANTIZATIONS[name].sentence for name in kept if name), _ROUNDED)),
        **options,
    )  # fmt: skip


def without_anchor(methods: Iterable[str]) -> str:
    """Which of these methods an anchor means nothing to, in a sentence."""
    labels = [METHODS[name].label for name in methods if "anchor" not in METHODS[name].needs]
    return f"These methods have no anchor: {', '.join(labels)}."


def numbered(label: str, others: Collection[str]) -> str:
    """Unlike the others: equal labels of choices cannot be told apart, not even by the widget."""
    more = (f"{label} · {number}" for number in range(2, len(others) + 3))
    return next(each for each in (label, *more) if each not in others)


def duration(seconds: float) -> str:
    """0.4 -> "0.4 s", 75 -> "1 min 15 s", 3720 -> "1 h 2 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"

"""A text or a sentence through the original and the merged model, side by side."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from ffmerge_core.reporting.stored import made
from ffmerge_core.reporting.text_diff import parting
from pages._ui.merge.changed import translations
from pages._ui.merge.examples import changed_examples, content_of, marked

if TYPE_CHECKING:
    import ffmerge_core as fm

PROMPTS = {"demo:gpt2-code": "def read(path):\n    "}
LONGEST_PROMPT = 4_000
LONGEST_SENTENCE = 500
NEW_TOKENS = 60
MOST_NEW_TOKENS = 200
TEXT = "white-space: pre-wrap; overflow-wrap: anywhere; font-family: monospace; margin: 0"


def continuation(run_id: str, result: fm.RunResult) -> None:
    """Both models go on from a prompt, greedily; where they part is marked."""
    task = content_of(result)
    most = min(MOST_NEW_TOKENS, task.context - 1)
    with st.form("continue", border=False):
        prompt = st.text_area(
            "Text to continue",
            _first_prompt(result, task),
            max_chars=LONGEST_PROMPT,
            height=120,
            key="prompt",
            persist_state="session",
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            n_tokens = st.number_input(
                "New tokens", 1, most, min(NEW_TOKENS, most), width=160,
                key="new_tokens", persist_state="session",
                help=f"The models see at most {task.context} tokens, including the new ones. Of a "
                "longer text they see only the end.",
            )  # fmt: skip
            asked = st.form_submit_button("Continue", icon=":material/play_arrow:")
    if asked:
        st.session_state["continued"] = run_id, prompt, int(n_tokens)
    wanted = st.session_state.get("continued")
    if wanted is None or wanted[0] != run_id:
        st.caption("Each model adds its most likely next token, one after another.")
    elif not wanted[1].strip():
        st.info("The text is empty. Type a few words for the models to continue.")
    else:
        _side_by_side(wanted[1], *_continued(result, *wanted), made(result.recipe.to_dict()))


def _first_prompt(result: fm.RunResult, task: Any) -> str:
    """A line of the demo's kind, or what the validation text begins with."""
    if (prompt := PROMPTS.get(result.recipe.source)) is not None:
        return prompt
    text = next(text for text in task.texts["validation"] if text.strip()).strip()
    return text[:60].rsplit(" ", 1)[0]


@st.cache_data(max_entries=64, show_spinner="Both models are writing")
def _continued(_result: fm.RunResult, run_id: str, prompt: str, n_tokens: int) -> tuple[str, str]:
    task = content_of(_result)
    original, merged = (
        task.continue_text(model.model, prompt, n_tokens)
        for model in (_result.original, _result.merged)
    )
    return original, merged


def _side_by_side(prompt: str, original: str, other: str, name: str) -> None:
    if original == other:
        st.success("Both models continue the text in the same way.")
    else:
        st.caption("After the bar, the two texts differ.")
    columns = st.columns(2, gap="large")
    sides = zip(("Original", name), parting(original, other), columns, strict=True)
    for title, spans, column in sides:
        with column:
            st.markdown(f"**{title}**")
            shown = f'<span style="opacity: 0.75">{escape(prompt)}</span>{marked(spans, "parted")}'
            with st.container(border=True):
                st.html(f'<pre dir="auto" style="{TEXT}">{shown}</pre>')


def translation(run_id: str, result: fm.RunResult) -> None:
    """Both models translate a sentence; the words in which they differ are marked."""
    picked, own = st.tabs(["A validation sentence", "Your own sentence"])
    with picked:
        _validation_sentence(run_id, result)
    with own:
        _own_sentence(run_id, result)


def _validation_sentence(run_id: str, result: fm.RunResult) -> None:
    task = content_of(result)
    pairs = task.scored("validation")
    # Of fidelity the predictions are tokens: what is read there is made when it is picked.
    translated = isinstance(result.after.predictions[0], str)
    changed = changed_examples(result) if translated else []
    only = bool(changed) and st.toggle(
        "Only sentences whose translation changed", value=True, key="only_changed_sentences"
    )
    index = st.selectbox(
        "Sentence",
        changed if only else range(len(pairs)),
        format_func=lambda index: f"{index + 1}. {pairs[index][0]}",
        key="sentence-changed" if only else "sentence",
    )
    if index is None:
        return
    source, reference = pairs[index]
    if translated:
        both = result.before.predictions[index], result.after.predictions[index]
    else:
        both = _translated(result, run_id, source)
    _shown(source, reference, *both, made(result.recipe.to_dict()))


def _own_sentence(run_id: str, result: fm.RunResult) -> None:
    example = content_of(result).scored("validation")[0][0]
    with st.form("translate", border=False):
        sentence = st.text_input(
            "Sentence", example, max_chars=LONGEST_SENTENCE, key="own_sentence",
            persist_state="session",
            help="A small model does well only on sentences like those that it was trained on.",
        )  # fmt: skip
        asked = st.form_submit_button("Translate", icon=":material/play_arrow:")
    if asked:
        st.session_state["translated"] = run_id, sentence
    wanted = st.session_state.get("translated")
    if wanted is None or wanted[0] != run_id:
        st.caption("Each model adds its most likely next token, one after another.")
    elif not wanted[1].strip():
        st.info("The sentence is empty. Type one in the language that the model translates from.")
    else:
        _shown(wanted[1], None, *_translated(result, *wanted), made(result.recipe.to_dict()))


@st.cache_data(max_entries=64, show_spinner="Both models are translating")
def _translated(_result: fm.RunResult, run_id: str, sentence: str) -> tuple[str, str]:
    task = content_of(_result)
    original, merged = (
        task.translate(model.model, [sentence])[0] for model in (_result.original, _result.merged)
    )
    return original, merged


def _shown(source: str, reference: str | None, original: str, other: str, name: str) -> None:
    with st.container(border=True):
        translations(source, reference, original, other, name)
    if original == other:
        st.caption("Both models translate it in the same way.")

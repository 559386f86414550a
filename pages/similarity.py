"""Layer-by-layer similarity as a heatmap, and the groups picked on it."""

from __future__ import annotations

import psutil
import streamlit as st

from ffmerge_core.analysis.views import SIMILARITIES, VIEWS
from ffmerge_core.reporting.figures import similarity_heatmap, to_html
from ffmerge_core.reporting.formats import count
from pages._ui.pieces.job_panel import needed
from pages._ui.pieces.opened import opened_subject
from pages._ui.pieces.widgets import Download, download_row, guarded, next_step
from pages._ui.similarity.picking import group_editor, pickable_heatmap
from pages._ui.state.recipes import LARGEST_SEED
from pages._ui.state.shared import current_workspace, shelf
from pages._ui.state.shelf import Answer, Question
from pages._ui.state.subject import Subject

FEWEST_TOKENS, MOST_TOKENS = 100, 1_000_000


def choose(subject: Subject) -> Question:
    """What to compare. Choices are kept in the workspace, so that a refresh keeps them."""
    workspace = current_workspace()
    chosen = workspace.settings
    # By key, since a widget whose default changes would be another widget.
    for key in ("feature", "metric", "tokens", "seed", "stack"):
        st.session_state.setdefault(key, getattr(chosen, key))
    most = most_tokens(subject)
    if (wanted := st.session_state["tokens"]) > most:
        st.session_state.update(tokens=most, tokens_wanted=wanted)
    columns = st.columns([4, 3, 2, 2], vertical_alignment="bottom")
    of = columns[0].selectbox(
        "Compare",
        list(VIEWS),
        key="feature",
        format_func=lambda name: VIEWS[name].label,
        help=" ".join(view.sentence for view in VIEWS.values()),
    )
    metric = columns[1].selectbox(
        "Metric",
        list(SIMILARITIES),
        key="metric",
        format_func=lambda name: SIMILARITIES[name].label,
        disabled=VIEWS[of].tap is None,
        help=" ".join(each.sentence for each in SIMILARITIES.values())
        + " Aligned neurons are compared by correlation, so CKA does not apply to them.",
    )
    tokens = columns[2].number_input(
        "Calibration tokens",
        # A recipe may ask for fewer.
        min_value=min(FEWEST_TOKENS, chosen.tokens),
        max_value=most,
        step=1000,
        key="tokens",
        help=f"Calibration tokens are positions of the training {subject.examples}. They are run "
        "through the model once, and the layers are compared on what they do there. More "
        f"tokens take longer and give steadier numbers. Up to {count(most)} fit in a quarter "
        "of this computer's memory.",
    )
    seed = columns[3].number_input(
        "Seed",
        min_value=0,
        max_value=LARGEST_SEED,
        key="seed",
        help=f"The seed decides which {subject.examples} are drawn.",
    )
    if tokens == most and (wanted := st.session_state.get("tokens_wanted", most)) > most:
        st.info(
            f"You chose {count(wanted)} calibration tokens before. For this model {count(most)} is "
            "the most, so that many are drawn."
        )
    stack = choose_stack(subject)
    workspace.choose(tokens=int(tokens), seed=int(seed), feature=of, metric=metric, stack=stack)
    return Question(subject.opened, int(tokens), int(seed), of, metric, stack)


def choose_stack(subject: Subject) -> str:
    """Each stack sees other tokens, so each has a heatmap, and groups stay in one."""
    if len(subject.stacks) == 1:
        return subject.stacks[0]
    if st.session_state["stack"] not in subject.stacks:
        st.session_state["stack"] = subject.stacks[0]
    stack = st.segmented_control(
        "Stack",
        subject.stacks,
        key="stack",
        required=True,
        format_func=str.capitalize,
        help="A stack is all the layers of the encoder, or all those of the decoder. A group stays "
        "in one stack. What you picked in the other stack is kept.",
    )
    return stack or subject.stacks[0]


def most_tokens(subject: Subject) -> int:
    """How many calibration tokens to allow: their features are all in memory at once."""
    each = 4 * sum(sublayer.d_ff + 2 * sublayer.d_model for sublayer in subject.sublayers)
    fit = psutil.virtual_memory().total // 4 // each
    return max(FEWEST_TOKENS, min(fit, MOST_TOKENS))


def answer_or_job(question: Question) -> Answer | None:
    """The heatmap's numbers; until they are there, the job that measures them."""
    known = shelf()
    answer = known.answers.get(question)
    if answer is None:
        needed(
            "similarity",
            f"Measuring {describe(question)}",
            lambda report: known.answer(question, report),
            question,
            again="Measure again",
        )
    return answer


def describe(question: Question) -> str:
    """A question in words, for titles: "FF output, Linear CKA, 10,000 tokens, seed 0"."""
    return f"{what(question)}, {count(question.tokens)} tokens, seed {question.seed}"


def what(question: Question) -> str:
    """What is compared by which metric."""
    view, metric = VIEWS[question.of], SIMILARITIES[question.metric]
    return view.label if view.tap is None else f"{view.label}, {metric.label}"


def show(answer: Answer, question: Question, subject: Subject) -> None:
    stack = f"{question.stack.capitalize()}: " if len(subject.stacks) > 1 else ""
    title = stack + what(question)
    pickable_heatmap(answer.matrix, subject, question.stack, title)
    st.caption(
        f"{count(answer.n_tokens)} tokens of the training split, seed {question.seed}. "
        + (answer.shortfall or "")
    )
    groups = current_workspace().groups
    name = f"similarity-{question.of}-{question.metric}-{question.stack}"
    download_row(
        Download("Numbers (CSV)", f"{name}.csv", answer.matrix.to_csv, "text/csv"),
        Download(
            "Figure (HTML)",
            f"{name}.html",
            lambda: to_html(similarity_heatmap(answer.matrix, groups, (), title)),
            "text/html",
        ),
        key="similarity",
    )


with guarded():
    subject = opened_subject("Similarity")
    question = choose(subject)
    left, right = st.columns([3, 2], gap="large")
    with right:
        group_editor(subject, question.stack)
        if current_workspace().groups:
            next_step("pages/merge.py", "Merge these groups")
    with left:
        answer = answer_or_job(question)
        if answer is not None:
            show(answer, question, subject)

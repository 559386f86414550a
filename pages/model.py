"""What the opened model is made of, and opening others. Painted before torch is imported."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ffmerge_core.reporting.figures import anatomy_bar
from ffmerge_core.reporting.formats import count, megabytes, percent
from ffmerge_core.reporting.scores import figures_of
from ffmerge_core.tasks.class_names import OWN_NAMES
from ffmerge_core.tasks.metrics import metric
from pages._ui.model.opening import demo_row, open_something_else
from pages._ui.pieces.opened import opened_subject
from pages._ui.pieces.widgets import figure_row, guarded, next_step, score_text
from pages._ui.state.shared import warm_up
from pages._ui.state.subject import Subject

LONGEST_TABLE = 16  # rows, of 35 pixels each


def overview(subject: Subject) -> None:
    st.write(subject.description)
    ff = dict(subject.anatomy)["FF"]
    score = subject.scores["validation"]
    *figures, _ = figures_of(score).items()  # the last is the loss
    with figure_row():
        st.metric("Parameters", count(subject.n_parameters), width="content")
        st.metric("Weights in memory", megabytes(subject.weight_bytes), width="content")
        st.metric(
            "In FF sublayers",
            percent(ff / subject.n_parameters),
            help="An FF (feed-forward) sublayer is the part of a layer after attention: it widens "
            "each token's vector, applies an activation, and narrows it again. Merging makes "
            "several of them share one set of weights, and only this share of the parameters "
            "can become smaller.",
            width="content",
        )
        for name, figure in figures:
            say = metric(name)
            st.metric(f"Validation {name}", say.text(figure.value), help=say.help, width="content")
    st.caption(f"Validation: {score_text(score, subject.examples)}")
    notes = score.get("notes") or {}
    if "carved" in notes.get("splits", ""):
        st.caption(f"Splits: {notes['splits']}.")
    matched = notes.get("classes", OWN_NAMES)
    if matched != OWN_NAMES:
        st.info(f"The data was matched to the model's classes {matched}.")
    if subject.opened.fidelity:
        st.caption(
            "This is the original model, so it agrees with itself. A merged model is compared with "
            "it."
        )


def anatomy(subject: Subject) -> None:
    st.subheader("Parameters by part")
    st.plotly_chart(anatomy_bar(subject.anatomy), key="anatomy", config={"displayModeBar": False})
    st.subheader("FF sublayers")
    table = pd.DataFrame(
        {
            "Sublayer": [sublayer.name for sublayer in subject.sublayers],
            "Stack": [sublayer.stack for sublayer in subject.sublayers],
            "d_model": [sublayer.d_model for sublayer in subject.sublayers],
            "d_ff": [sublayer.d_ff for sublayer in subject.sublayers],
            "Activation": [sublayer.activation for sublayer in subject.sublayers],
            "Gated": ["yes" if sublayer.gated else "no" for sublayer in subject.sublayers],
            "Parameters": [sublayer.n_parameters for sublayer in subject.sublayers],
            "Share of the model": [
                100 * sublayer.n_parameters / subject.n_parameters for sublayer in subject.sublayers
            ],
        }
    )
    if len(subject.stacks) == 1:
        table = table.drop(columns="Stack")
    st.dataframe(
        table,
        hide_index=True,
        # So many rows that the page goes on below them scroll.
        height="content" if len(table) <= LONGEST_TABLE else 35 * (LONGEST_TABLE + 1),
        column_config={
            "Parameters": st.column_config.NumberColumn(format="localized"),
            "Share of the model": st.column_config.NumberColumn(format="%.1f%%"),
        },
    )


def facts(subject: Subject) -> None:
    with st.expander("Data, splits, training and licences"):
        for label, text in subject.facts:
            st.markdown(f"**{label}**: {text}")
        for split, score in subject.scores.items():
            st.markdown(f"**{split.capitalize()} score**: {score_text(score, subject.examples)}")
            notes = (score.get("notes") or {}).items()
            if notes:
                st.caption("; ".join(f"{label}: {text}" for label, text in notes))


with guarded():
    subject = opened_subject("Model")
    demo_row(subject.opened)
    open_something_else(subject)
    overview(subject)
    next_step("pages/similarity.py", "See which FF sublayers resemble each other")
    anatomy(subject)
    facts(subject)
    # Last, so that the page is painted before its processor time is needed elsewhere.
    warm_up(subject.source)

"""What the opened model is made of. Painted from the demo's card, before torch is imported."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ffmerge_core.reporting.figures import anatomy_bar
from pages._ui.job_panel import job_panel, latest_job, start_job
from pages._ui.opened import opened_subject
from pages._ui.shared import current_workspace, shelf, warm_up
from pages._ui.subject import DEFAULT_SOURCE, Subject
from pages._ui.widgets import count, guarded, megabytes, next_step, percent, score_text


def overview(subject: Subject) -> None:
    st.write(subject.description)
    ff = dict(subject.anatomy)["FF"]
    score = subject.scores["validation"]
    columns = st.columns(4)
    columns[0].metric("Parameters", count(subject.n_parameters))
    columns[1].metric("Memory of the weights", megabytes(subject.weight_bytes))
    columns[2].metric(
        "In FF sublayers",
        percent(ff / subject.n_parameters),
        help="What merging can save from: each FF sublayer tied to another saves its share.",
    )
    columns[3].metric(
        f"Validation {score['metric']}",
        percent(score["value"]),
        help=score_text(score),
    )
    st.caption(f"Validation: {score_text(score)}")


def anatomy(subject: Subject) -> None:
    st.subheader("Parameters by part")
    st.plotly_chart(anatomy_bar(subject.anatomy), key="anatomy", config={"displayModeBar": False})
    st.subheader("FF sublayers")
    table = pd.DataFrame(
        {
            "Sublayer": [sublayer.name for sublayer in subject.sublayers],
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
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        column_config={
            "Parameters": st.column_config.NumberColumn(format="localized"),
            "Share of the model": st.column_config.NumberColumn(format="%.1f%%"),
        },
    )


def facts(subject: Subject) -> None:
    with st.expander("Data, splits and licences"):
        for label, text in subject.facts:
            st.markdown(f"**{label}**: {text}")
        for split, score in subject.scores.items():
            st.markdown(f"**{split.capitalize()} score**: {score_text(score)}")


def open_another() -> None:
    workspace, models = current_workspace(), shelf()
    with st.expander("Open another model", expanded=workspace.source != DEFAULT_SOURCE):
        st.write(
            "A vision transformer in a folder saved by transformers' `save_pretrained` or timm's "
            "`save_for_hf`, with safetensors weights and a head for ten classes. It is measured "
            "on the built-in digits, resized to its input. Groups of the model that is open now "
            "are cleared; its runs stay."
        )
        with st.form("open", border=False):
            folder = st.text_input("Folder on this computer", key="folder")
            pressed = st.form_submit_button("Open", icon=":material/folder_open:")
        if pressed and folder.strip():
            path = folder.strip()
            start_job(
                "open",
                f"Opening {path}",
                lambda report: models.open(path, report),
                lambda ended: workspace.set_source(ended.result) if ended.result else None,
                key=path,
            )
        elif pressed:
            st.error("Give the folder that holds config.json and model.safetensors.")
        job = latest_job("open")
        if job is not None:
            job_panel(job)
        if workspace.source != DEFAULT_SOURCE:
            st.button("Back to the demo", on_click=workspace.set_source, args=(DEFAULT_SOURCE,))


with guarded():
    subject = opened_subject("Model")
    overview(subject)
    next_step("pages/similarity.py", "See which FF sublayers resemble each other")
    anatomy(subject)
    facts(subject)
    open_another()
# Last, so that the page is painted before its processor time is needed elsewhere.
warm_up()

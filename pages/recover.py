"""Fine-tune what a plan left, shortly, and see what it wins back."""

from __future__ import annotations

import streamlit as st

from pages._ui.pieces.opened import opened_subject
from pages._ui.pieces.widgets import empty_state, guarded
from pages._ui.recover.choice import choose_plan, choose_recovery, plans, runs_of
from pages._ui.recover.jobs import offer_to_go_on, progress, recover_button
from pages._ui.recover.results import results, shown

with guarded():
    subject = opened_subject("Recover")
    if subject.merged:
        empty_state(
            "This model was compressed before it was saved. A recovery starts from the original "
            "and carries out a plan on it first. Open the original on the Model page.",
            "pages/model.py",
            "Open a model",
        )
        st.stop()
    runs = runs_of(subject)
    offer_to_go_on(runs)
    if not plans(runs):
        progress(subject)
        empty_state(
            "No merge of this model has been run yet. Merge some layers first. A short fine-tune "
            "can then win back some of what the merge cost.",
            "pages/merge.py",
            "Merge",
        )
        st.stop()
    plan = choose_plan(runs)
    recover_button(choose_recovery(plan, runs))
    run = shown(runs, plan)
    # Two curves, one still growing, would be taken for one another.
    if not progress(subject) and run is not None:
        st.divider()
        results(run, runs)

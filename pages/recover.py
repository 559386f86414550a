"""Train what a plan left for a short while, and see what it wins back."""

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
            "This model was compressed before it was saved. A recovery begins with the "
            "original: it carries out a plan first, then trains. Open the original on the Model "
            "page.",
            "pages/model.py",
            "Open a model",
        )
        st.stop()
    runs = runs_of(subject)
    offer_to_go_on(runs)
    if not plans(runs):
        progress(subject)
        empty_state(
            "There is nothing to recover yet. Merge some layers first. A short training then "
            "wins back some of what that cost.",
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

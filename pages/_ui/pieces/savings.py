"""What the picked groups leave, before anything is run."""

from __future__ import annotations

import streamlit as st

from ffmerge_core.plan import MergePlan
from ffmerge_core.reporting.formats import count, megabytes, percent
from pages._ui.pieces.widgets import figure_row
from pages._ui.state.shared import current_workspace
from pages._ui.state.subject import Subject


def savings(subject: Subject) -> None:
    """What the groups leave, before anything is run."""
    plan = MergePlan(current_workspace().groups)
    removed = plan.parameters_removed(subject.sublayers)
    left = subject.n_parameters - removed
    bytes_each = subject.weight_bytes / subject.n_parameters
    with figure_row():
        st.metric(
            "After merging",
            count(left),
            delta=f"−{percent(removed / subject.n_parameters)}" if removed else "nothing saved yet",
            delta_color="off",
            delta_arrow="off",
            help="The number of parameters that are left. Merged FF sublayers are tied: they share "
            "one set of weights. That saves parameters, memory and disk space. It saves no "
            "compute, because the shared FF sublayer still runs at every position.",
            width="content",
        )
        st.metric("Weights in memory", megabytes(left * bytes_each), width="content")

"""A tiny app on the shared interface layer, for a person, AppTest and a real browser."""

import streamlit as st

from pages._ui.state.shared import current_workspace

current_workspace()
st.navigation(
    [
        st.Page("groups.py", title="Groups", default=True),
        st.Page("work.py", title="Work"),
        st.Page("draw.py", title="Draw"),
    ]
).run()

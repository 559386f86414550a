"""The dashboard: `streamlit run app.py`."""

import streamlit as st

from pages._ui.pieces.navigation import UNDER_APP, navigation
from pages._ui.state.shared import current_workspace

st.set_page_config(page_title="ffmerge", page_icon=":material/merge:", layout="wide")
# Streamlit leaves room above for a toolbar that is not shown here.
st.html("<style>.stMainBlockContainer { padding-top: 4.5rem; }</style>")
current_workspace()
st.session_state[UNDER_APP] = True
navigation().run()

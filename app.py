"""The dashboard: `streamlit run app.py`."""

from pathlib import Path

import streamlit as st

from pages._ui.pieces.navigation import UNDER_APP, navigation
from pages._ui.state.shared import current_workspace

# A file of our own: a browser fetches an icon that has a name alone from the internet.
ICON = Path(__file__).parent / "pages" / "_ui" / "icon.png"
st.set_page_config(page_title="ffmerge", page_icon=str(ICON), layout="wide")
# Streamlit leaves room above for a toolbar that is not shown here.
st.html("<style>.stMainBlockContainer { padding-top: 4.5rem; }</style>")
current_workspace()
st.session_state[UNDER_APP] = True
navigation().run()

"""The dashboard: `streamlit run app.py`."""

import streamlit as st

from pages._ui.shared import current_workspace

st.set_page_config(page_title="ffmerge", page_icon=":material/merge:", layout="wide")
# Streamlit leaves room above for a toolbar that is not shown here.
st.html("<style>.stMainBlockContainer { padding-top: 4.5rem; }</style>")
current_workspace()
st.navigation(
    [
        st.Page("pages/model.py", title="Model", icon=":material/account_tree:", default=True),
        st.Page("pages/similarity.py", title="Similarity", icon=":material/grid_on:"),
        st.Page("pages/merge.py", title="Merge", icon=":material/merge:"),
        st.Page("pages/compare.py", title="Compare", icon=":material/scatter_plot:"),
    ],
    position="top",
).run()

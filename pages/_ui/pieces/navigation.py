"""The pages of the app, and how a page makes sure that it runs inside it."""

from __future__ import annotations

import streamlit as st
from streamlit.navigation.page import StreamlitPage

# Set by app.py in every session that it serves.
UNDER_APP = "_under_app"


def navigation() -> StreamlitPage:
    """Tell Streamlit the pages; the one that was asked for."""
    return st.navigation(
        [
            st.Page("pages/model.py", title="Model", icon=":material/account_tree:", default=True),
            st.Page("pages/similarity.py", title="Similarity", icon=":material/grid_on:"),
            st.Page("pages/search.py", title="Search", icon=":material/search:"),
            st.Page("pages/merge.py", title="Merge", icon=":material/merge:"),
            st.Page("pages/recover.py", title="Recover", icon=":material/healing:"),
            st.Page("pages/compare.py", title="Compare", icon=":material/scatter_plot:"),
        ],
        position="top",
    )


def require_app() -> None:
    """Run app.py if Streamlit ran this page alone.

    Until a server has run `st.navigation` once, Streamlit takes a folder called pages for
    pages of its own making, and runs one of them by itself when it is asked for first: by a
    bookmark, or by a tab that outlived the server.
    """
    if UNDER_APP not in st.session_state:
        navigation()
        st.rerun()

"""What one server holds for all its tabs, and the workspace of the tab that asks."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import streamlit as st

from ffmerge_core.errors import StorageError
from ffmerge_core.reporting.folders import data_folder
from ffmerge_core.reporting.runs import RunStore
from pages._ui.jobs import JobRegistry
from pages._ui.shelf import Shelf
from pages._ui.workspace import Workspace, WorkspaceStore

log = logging.getLogger(__name__)

# In the tab's address, so that a refresh, which forgets the session, finds its workspace.
WORKSPACE_PARAMETER = "w"


@st.cache_resource(show_spinner=False, on_release=JobRegistry.close)
def job_registry() -> JobRegistry:
    """The one queue of long steps."""
    return JobRegistry()


@st.cache_resource(show_spinner=False)
def workspace_store() -> WorkspaceStore:
    """Every tab's workspace, kept under the data folder where that can be written."""
    return WorkspaceStore(_workspace_folder())


def current_workspace() -> Workspace:
    """The workspace of this tab.

    Call it in app.py before `st.navigation`: a page switch then takes one step in the
    browser's history; called later, the address changes twice and Back needs two presses.
    """
    # The session's id comes first: a link may have dropped or changed the parameter.
    asked = st.session_state.get("_workspace") or st.query_params.get(WORKSPACE_PARAMETER)
    workspace = workspace_store().find(asked)
    st.session_state["_workspace"] = workspace.id
    if st.query_params.get(WORKSPACE_PARAMETER) != workspace.id:
        st.query_params[WORKSPACE_PARAMETER] = workspace.id
    return workspace


def _workspace_folder() -> Path | None:
    try:
        return data_folder() / "workspaces"
    except StorageError as error:
        log.warning("workspaces are kept in memory only: %s", error)
        return None


@st.cache_resource(show_spinner=False)
def shelf() -> Shelf:
    """What this server has computed, for all tabs."""
    return Shelf()


@st.cache_resource(show_spinner=False)
def run_store() -> RunStore:
    """The run history. Runs that a stopped server left behind are marked as interrupted.

    Raises `StorageError` if the data folder cannot be used; asked again, it tries again.
    """
    store = RunStore(data_folder())
    store.mark_interrupted()
    return store


@st.cache_resource(show_spinner=False)
def warm_up() -> threading.Thread:
    """Import the heavy libraries in the background, once a server.

    For after a page is painted: the first job then finds them ready.
    """

    def work() -> None:
        from ffmerge_core.compression import running  # noqa: F401
        from ffmerge_core.demos.vit_digits import model  # noqa: F401

    thread = threading.Thread(target=work, name="warm-up", daemon=True)
    thread.start()
    return thread

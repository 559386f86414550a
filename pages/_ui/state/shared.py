"""What one server holds for all its tabs, and the workspace of the tab that asks."""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import streamlit as st

from ffmerge_core import demos
from ffmerge_core.errors import FFMergeError, StorageError
from ffmerge_core.progress import Report
from ffmerge_core.reporting.folders import chosen_folder, data_folder
from ffmerge_core.reporting.runs import RunStore
from pages._ui.state.jobs import Job, JobRegistry
from pages._ui.state.shelf import Shelf
from pages._ui.state.workspace import Workspace, WorkspaceStore

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


@dataclass(frozen=True)
class History:
    """The run history, and a sentence to show if it is not the usual one."""

    store: RunStore
    trouble: str | None = None

    @property
    def notice(self) -> str | None:
        return self.trouble or self.store.notice


@st.cache_resource(show_spinner=False)
def history() -> History:
    """The run history; runs that a stopped server left behind are marked as interrupted.

    Where the data folder cannot be written, the runs in it can still be read and new ones
    are kept until the server stops: work goes on.
    """
    try:
        store = RunStore(data_folder())
        store.mark_interrupted()
    except StorageError as error:
        log.warning("runs are kept until the server stops: %s", error)
        store = RunStore(Path(tempfile.mkdtemp(prefix="ffmerge-")))
        with suppress(FFMergeError):
            store.restore(RunStore(chosen_folder()).list())
        return History(
            store, f"{error} Until that is done, new runs are lost when the server stops."
        )
    return History(store)


def run_store() -> RunStore:
    return history().store


@st.cache_resource(show_spinner=False)
def warm_up(source: str) -> Job:
    """Import what a source needs as a job of the server's, once a page is painted.

    On the worker's thread, where every job imports: two threads that import one library at
    a time can see it half made.
    """

    def work(report: Report) -> None:
        report(0, 1, "Starting PyTorch")
        from ffmerge_core.compression import running  # noqa: F401

        if source.startswith(demos.PREFIX):
            import_module(f"{demos.__name__}.{demos.package(source)}.model")

    return job_registry().submit("server", f"warm-up of {source}", "Starting PyTorch", work)

"""A data folder and server-wide state of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner


@pytest.fixture(autouse=True, scope="session")
def installed_once() -> Iterator[None]:
    """Every tab reads the metadata of all that is installed, which stays: here it is read once."""
    with pytest.MonkeyPatch.context() as patch:
        once = cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", once)
        yield


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """FFMERGE_HOME of the test; job queues and workspaces start empty and end closed."""
    monkeypatch.setenv("FFMERGE_HOME", str(tmp_path))
    st.cache_resource.clear()
    yield tmp_path
    st.cache_resource.clear()

"""A hub on loopback that has data sets, laid out as their repositories are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http
from pyarrow import parquet

from tests.models.tiny import gpt2
from tests.sources.data_sets import REPO, Lay, lead_to
from tests.sources.hub_server import COMMIT, Hub, serving
from tests.sources.test_data import folder_of


@pytest.fixture
def data_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server without repositories; `lay` adds those of a test."""
    with serving(Hub({})) as server:
        address = server.address
        lead_to(address, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
        monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))
        monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


@pytest.fixture
def lay(data_hub: Hub, tmp_path: Path) -> Lay:
    """Put files, by their names, into a repository at a commit."""

    def put(files: dict[str, Any], repo: str = REPO, commit: str = COMMIT) -> Path:
        place = tmp_path / repo.replace("/", "-") / commit[:4]
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                (place / name).write_text(content, "utf-8")
            else:
                parquet.write_table(content, place / name)
        data_hub.repos.setdefault(f"datasets/{repo}", {})[commit] = place
        return place

    return put


@pytest.fixture
def writer(tmp_path: Path) -> Path:
    return folder_of(gpt2(), tmp_path / "writer")

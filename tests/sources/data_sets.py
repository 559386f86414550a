"""What the data sets of the tests hold, and how both libraries are led to a hub on loopback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from huggingface_hub import constants

from tests.sources.test_data import WORDS

REPO = "someone/data"
Lay = Callable[..., Path]


def silent(step: int, total: int, message: str, values: object = None) -> None: ...


def lead_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make both libraries ask the hub there."""
    file = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + file)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", address)
    file = "/datasets/{repo_id}/resolve/{revision}/{path}"
    monkeypatch.setattr(datasets.config, "HUB_DATASETS_URL", address + file)


def sentences(n: int, start: int = 0) -> list[str]:
    return [" ".join(WORDS[(start + i + k) % 37] for k in range(5)) + f" {start + i}"
            for i in range(n)]  # fmt: skip


def texts(n: int, start: int = 0) -> Any:
    return pa.table({"text": sentences(n, start), "id": list(range(n))})


THREE = {
    "data/train-00000-of-00001.parquet": texts(40),
    "data/validation-00000-of-00001.parquet": texts(6, 100),
    "data/test-00000-of-00001.parquet": texts(7, 200),
}

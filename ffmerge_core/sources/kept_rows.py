"""Rows of the hub that were read before, kept on this computer under their commit.

A commit never changes, so what was read of it holds: a recipe replays without a connection. They
lie in the folder of assets of huggingface_hub (HF_HOME). Where nothing can be written, nothing is
kept, and the next reading asks the hub again.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ffmerge_core.sources.data_names import HubData

Row = tuple[str | int | bytes | None, ...]


@dataclass(frozen=True)
class Read:
    """The first rows of a split. more: whether it has others behind them."""

    rows: tuple[Row, ...]
    more: bool


def kept_commit(data: HubData) -> str | None:
    """The commit that a branch or tag was when it was last asked for."""
    found = _json(_place(data, "refs"), data.revision or "main")
    return str(found["commit"]) if found else None


def keep_commit(data: HubData, commit: str) -> None:
    """Remember which commit a branch or tag is."""
    _keep_json(_place(data, "refs"), data.revision or "main", {"commit": commit})


def kept_facts(data: HubData) -> Mapping[str, Any] | None:
    """What `keep_facts` was given of this configuration at this commit."""
    return _json(_place(data, str(data.revision)), data.config or "")


def keep_facts(data: HubData, facts: Mapping[str, Any]) -> None:
    """Remember what there is to know before any row is read."""
    _keep_json(_place(data, str(data.revision)), data.config or "", facts)


def kept_rows(data: HubData, asked: object) -> Read | None:
    """What `keep_rows` was given for the same asked."""
    from pyarrow import ArrowException, parquet

    try:
        path = _place(data, str(data.revision)) / f"{_key(data.config, asked)}.parquet"
        table = parquet.read_table(path)
        columns = [table.column(name).to_pylist() for name in table.column_names]
        more = json.loads(table.schema.metadata[b"more"])
    except (OSError, KeyError, ValueError, TypeError, ArrowException):  # none, or a damaged one
        return None
    return Read(tuple(zip(*columns, strict=True)), more)


def keep_rows(data: HubData, asked: object, read: Read) -> None:
    """asked: whatever decides which rows these are, in JSON's types."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {str(at): list(values) for at, values in enumerate(zip(*read.rows, strict=True))}
    try:
        table = pa.table(columns).replace_schema_metadata({"more": json.dumps(read.more)})
    except pa.ArrowException:  # words and numbers in one column: these are read each time
        return
    path = f"{_key(data.config, asked)}.parquet"
    _whole(_place(data, str(data.revision)), path, lambda draft: parquet.write_table(table, draft))


def _place(data: HubData, folder: str) -> Path:
    """As huggingface_hub lays out the assets of a library."""
    from huggingface_hub import constants

    repo = data.repo.replace("/", "--")
    return Path(constants.HF_ASSETS_CACHE, "ffmerge", f"datasets--{repo}", folder)


def _key(*asked: object) -> str:
    return sha256(json.dumps(asked).encode()).hexdigest()[:32]


def _json(place: Path, name: str) -> Mapping[str, Any] | None:
    with suppress(OSError, ValueError):
        found = json.loads((place / f"{_key(name)}.json").read_text("utf-8"))
        return found if isinstance(found, dict) else None
    return None


def _keep_json(place: Path, name: str, values: Mapping[str, Any]) -> None:
    text = json.dumps(values)
    _whole(place, f"{_key(name)}.json", lambda draft: draft.write_text(text, "utf-8"))


def _whole(place: Path, name: str, write: Any) -> None:
    """Write a file whole or not at all."""
    draft = place / f".{uuid.uuid4().hex}"
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        try:
            write(draft)
            os.replace(draft, place / name)
        finally:
            draft.unlink(missing_ok=True)

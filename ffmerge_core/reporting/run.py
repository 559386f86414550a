"""One run of the history, as a value and as a database row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from ffmerge_core.errors import DataError

Status = Literal["running", "done", "failed", "cancelled", "interrupted"]
JSON_COLUMNS = frozenset({"recipe", "result", "versions", "seconds"})


@dataclass(frozen=True)
class Run:
    """What was done to a model, and what came of it.

    recipe: `Recipe.to_dict()`. result: figures of the finished run, `None` before.
    created, finished: UTC. seconds: wall time of each step, none inside another.
    peak_memory: bytes. error: a sentence, for a failed run.
    """

    id: str
    name: str
    source: str
    status: Status
    created: datetime
    finished: datetime | None
    recipe: Mapping[str, Any]
    result: Mapping[str, Any] | None
    versions: Mapping[str, str]
    seconds: Mapping[str, float]
    peak_memory: int | None
    error: str | None


COLUMNS = tuple(field.name for field in fields(Run))


def to_row(run: Run) -> tuple[object, ...]:
    """Values in the order of `COLUMNS`, as the database keeps them."""
    return tuple(to_cell(getattr(run, column)) for column in COLUMNS)


def to_cell(value: object) -> object:
    """A time as ISO text, a mapping as JSON text, anything else as it is."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return _json(value)
    return value


def from_row(row: tuple[Any, ...]) -> Run:
    """Inverse of `to_row`. Raises `ValueError` for text that is not what was written."""
    values = dict(zip(COLUMNS, row, strict=True))
    for column in JSON_COLUMNS:
        if values[column] is not None:
            values[column] = json.loads(values[column])
    for column in ("created", "finished"):
        if values[column] is not None:
            values[column] = datetime.fromisoformat(values[column])
    return Run(**values)


def _json(value: Mapping[str, Any]) -> str:
    # NaN and infinity are kept: a merge that breaks a model has such a loss.
    try:
        return json.dumps(value, default=_number)
    except TypeError as error:
        raise DataError(
            f"A run holds names, numbers, lists and mappings only; found {error}."
        ) from error


def _number(value: Any) -> Any:
    """A NumPy or torch scalar as Python's number."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__}")

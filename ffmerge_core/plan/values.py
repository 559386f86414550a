"""Checking the values that plans and recipes are made of, and reading them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field
from typing import Any

from ffmerge_core.errors import PlanError


def one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise PlanError(f"{what} is {value!r}; it must be one of {', '.join(allowed)}.")


def fields_of(cls: type, data: Mapping[str, Any], kind: str | None = None) -> dict[str, Any]:
    values = dict(data)
    if kind is not None and values.pop("kind", kind) != kind:
        raise PlanError(f"A plan of kind {data['kind']!r} was found; this version reads {kind!r}.")
    known: dict[str, Field[Any]] = cls.__dataclass_fields__  # type: ignore[attr-defined]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise PlanError(f"{cls.__name__} has no field {', '.join(unknown)}.")
    absent = [name for name, field in known.items() if field.default is MISSING]
    lacking = [name for name in absent if name not in values]
    if lacking:
        raise PlanError(f"{cls.__name__} lacks {', '.join(lacking)}.")
    return values

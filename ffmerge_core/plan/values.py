"""Checking the values that plans and recipes are made of, and reading them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from reprlib import repr as clipped
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ffmerge_core.checks import whole
from ffmerge_core.errors import PlanError

_WORDS = {
    str: "plain text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}


def keep_whole(plan: object, name: str, least: int, what: str = "") -> None:
    """Make a field Python's own whole number, which JSON takes; `PlanError` if it is none.

    what: it is called, where that is not its name.
    """
    object.__setattr__(plan, name, whole(PlanError, what or name, getattr(plan, name), least))


def fields_of(cls: type, data: Mapping[str, Any], kind: str | None = None) -> dict[str, Any]:
    """What JSON holds of a dataclass: the fields of `data`, each of the type that it declares.

    kind: what `data` must be, where it says. Raises `PlanError` for fields that are unknown,
    lacking or of another type. Inner objects stay as they are: each is for its own class.
    """
    values = dict(data)
    if kind is not None and values.pop("kind", kind) != kind:
        raise PlanError(f"A plan of kind {data['kind']!r} was found; this version reads {kind!r}.")
    known = {field.name: field for field in fields(cls)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise PlanError(f"{cls.__name__} has no field {clipped(unknown)[1:-1]}.")
    absent = [name for name, field in known.items() if field.default is MISSING]
    lacking = [name for name in absent if name not in values]
    if lacking:
        raise PlanError(f"{cls.__name__} lacks {', '.join(lacking)}.")
    for name, value in values.items():
        hint = _hints(cls)[name]
        if not _fits(value, hint):
            raise PlanError(f"{name} is {clipped(value)}; {_in_words(hint)} was expected.")
    return values


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _fits(value: object, hint: Any) -> bool:
    """Whether a value from JSON can stand for one of a type; tuples are lists there."""
    if hint is int:
        return type(value) is int
    if hint is float:
        return type(value) is float or _fits(value, int)
    if hint is str:
        return isinstance(value, str) and _is_text(value)
    if is_dataclass(hint) or hasattr(hint, "from_dict"):
        return isinstance(value, Mapping)
    if get_origin(hint) is tuple:
        each = get_args(hint)[0]
        return isinstance(value, list | tuple) and all(_fits(one, each) for one in value)
    if _is_union(hint):
        return any(_fits(value, each) for each in get_args(hint))
    # Which word of several is for `one_of` to say.
    return get_origin(hint) is Literal or isinstance(value, hint)


def _is_text(value: str) -> bool:
    """Whether a file or a terminal can take it: no half characters, none that ends a name."""
    return "\0" not in value and not any("\ud800" <= each <= "\udfff" for each in value)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def _in_words(hint: Any) -> str:
    """ "plain text or null"; what reads alike is said once."""
    if _is_union(hint):
        return " or ".join(dict.fromkeys(_in_words(each) for each in get_args(hint)))
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        if get_origin(inner) is tuple:
            return "a list of lists of names"
        return "a list of objects" if is_dataclass(inner) else "a list of names"
    return _WORDS.get(hint, "an object")

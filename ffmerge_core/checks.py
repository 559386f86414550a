"""What a caller gives, checked at the head of each public function: a slip is one sentence.

It says what was found, what it must be, and where such a thing comes from. No library is
imported for it, so a check costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from reprlib import repr as clipped
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from ffmerge_core.errors import FFMergeError

_LONGEST = 80

_WORDS: dict[object, str] = {
    str: "text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    PathLike: "a path",
    Callable: "a function",
    Collection: "a list",
    Mapping: "a dictionary",
    NoneType: "None",
}
# What a class is called, and where one comes from; by its name, since to import some takes
# seconds.
_CLASSES = {
    "DataFrame": ("a pandas DataFrame", ""),
    "Evaluation": ("an Evaluation", "fm.evaluate(model) gives one."),
    "Features": ("Features", "fm.calibrate(model) gives them."),
    "Figure": ("a plotly Figure", ""),
    "LoadedModel": ("a LoadedModel", "fm.load(source) opens one."),
    "Metric": ("a Metric", "ffmerge_core.tasks.metrics.metric(name) gives one."),
    "Module": ("a torch.nn.Module", "fm.load(source).model is one."),
    "Plan": ("a plan", 'fm.MergePlan(groups=(("encoder.4", "encoder.5"),)) is one.'),
    "Recipe": ("a Recipe", "fm.Recipe(source, plan) is one; fm.Recipe.from_dict(…) reads one."),
    "Tensor": ("a torch.Tensor", "torch.from_numpy(array) makes one."),
    "ndarray": ("a NumPy array", ""),
}


def expect(error: type[FFMergeError], remedy: str = "", /, **given: tuple[object, Any]) -> None:
    """Raise `error` for the first argument that is of another kind than it must be.

    given: name=(value, kind) of each. kind: a class, or several joined by | as in an annotation.
    int and float take numpy's numbers too, and neither takes True. PathLike takes text, unless it
    is empty, which would be the current folder. Collection[str] takes several names, but not one.
    remedy: what to do, as a sentence; by default, where a value of that kind comes from.
    """
    for name, (value, kind) in given.items():
        if not _is(value, kind):
            said = f"{name} is {as_found(value)}; it must be {_in_words(kind)}."
            raise error(f"{said} {remedy or _remedy(value, kind)}".rstrip())


def whole(error: type[FFMergeError], what: str, value: Any, least: int) -> int:
    """`value` as Python's own int; raises `error` if it is none, too small or too large."""
    if not _is(value, int) or value < least:
        raise error(f"{what} is {as_found(value)}; a whole number from {least} up was expected.")
    # torch takes no larger one.
    if value >= 2**63:
        raise error(f"{what} is {as_found(value)}; it must be below 2^63.")
    return int(value)


def one_of(error: type[FFMergeError], what: str, value: object, allowed: Sequence[str]) -> None:
    """Raise `error`, which lists what is allowed, if `value` is none of it."""
    # What is no text may not even be comparable with one.
    if not isinstance(value, str) or value not in allowed:
        raise error(f"{what} is {as_found(value)}; it must be one of {', '.join(allowed)}.")


def as_found(value: object) -> str:
    """How a sentence says a value: Python's own as it is written, clipped; of another its class."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str | bytes | Real | PathLike | list | tuple | dict | set | NoneType):
        text = " ".join(clipped(value).split())
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f"of type {type(value).__name__}"


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind, as `expect` has it."""
    if get_origin(kind) is Collection:
        return _is(value, Collection) and all(_is(each, *get_args(kind)) for each in value)
    if isinstance(kind, UnionType):
        return any(_is(value, each) for each in get_args(kind))
    kind = get_origin(kind) or kind
    if kind in (int, float):
        # bool is a number to Python, and none to a reader.
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if isinstance(value, str) and kind in (PathLike, Collection):
        return kind is PathLike and value != ""
    return isinstance(value, kind)


def _in_words(kind: Any) -> str:
    """ "Features or None"."""
    if isinstance(kind, UnionType):
        return " or ".join(map(_in_words, get_args(kind)))
    plain = get_origin(kind) or kind
    called, _ = _CLASSES.get(plain.__name__, (f"a {plain.__name__}", ""))
    said = _WORDS.get(plain, called)
    if plain is Collection and get_args(kind):
        (entry,) = get_args(kind)
        return f"{said} of names" if entry is str else f"{said}, each entry {_in_words(entry)}"
    return said


def _remedy(value: object, kind: Any) -> str:
    if isinstance(value, str) and get_origin(kind) is Collection:
        return f"Put it into a list: [{clipped(value)}]."
    origins = (_CLASSES.get(each.__name__, ("", ""))[1] for each in get_args(kind) or (kind,))
    return next(filter(None, origins), "")

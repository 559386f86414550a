"""Which columns of a data set hold what a task needs: by the user's word, by name, or the only one.

Nothing is guessed: where several would do, the sentence says what to name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ffmerge_core.errors import DataError
from ffmerge_core.sources.data_names import HubData
from ffmerge_core.tasks.bleu import language_of

Holds = Literal["text", "number", "class", "image", "struct", "other"]
# The way to a value in a row: a column, or a column and a field of it.
Way = tuple[str, ...]

_TEXTS = ("text", "sentence", "content", "document")
_LABELS = ("label", "labels")
_IMAGES = ("image", "img")
_PAIRS = (("source", "target"), ("src", "tgt"), ("sourceString", "targetString"))
_STRUCT = "translation"


@dataclass(frozen=True)
class Column:
    """What a column holds. names: of its classes, or of its fields that hold text."""

    holds: Holds
    names: tuple[str, ...] = ()


Columns = Mapping[str, Column]


def columns_of(features: Mapping[str, Any]) -> dict[str, Column]:
    """features: as `datasets` has them, or the first row where it has none."""
    return {name: _column(feature) for name, feature in features.items()}


def text_way(columns: Columns, data: HubData) -> Way:
    """Where the texts are."""
    return _way(columns, data, "text", "text", _TEXTS, ("text",))


def label_way(columns: Columns, data: HubData) -> Way:
    """Where the labels are: classes, whole numbers or words."""
    return _way(columns, data, "label", "label", _LABELS, ("class",), ("class", "number", "text"))


def image_way(columns: Columns, data: HubData) -> Way:
    """Where the images are."""
    return _way(columns, data, "image", "image", _IMAGES, ("image",))


def pair_ways(columns: Columns, data: HubData, language: str | None) -> tuple[Way, Way]:
    """Where the sources and the translations are.

    language: that the model translates into, if it tells; it decides between the two languages
    of a translation.
    """
    asked = [data.options.get(side) for side in ("source", "target")]
    if any(asked):
        if not all(asked):
            missing = "source" if asked[0] is None else "target"
            raise DataError(f"Of {data.in_words} {missing}= is missing. {_there(columns)}")
        first, second = (_named(columns, data, str(each), ("text",)) for each in asked)
        return first, second
    for source, target in _PAIRS:
        if all(each in columns and columns[each].holds == "text" for each in (source, target)):
            return (source,), (target,)
    struct = columns.get(_STRUCT)
    if struct is not None and len(struct.names) == 2 and language is not None:
        into = [name for name in struct.names if _same_language(name, language)]
        if len(into) == 1:
            (away,) = set(struct.names) - set(into)
            return (_STRUCT, away), (_STRUCT, into[0])
    raise DataError(
        f"It is not clear from what into what {data.in_words} translates. {_there(columns)} Say it "
        "behind a question mark: ?source=…&target=…"
    )


def value_at(row: Mapping[str, Any], way: Way) -> Any:
    """What a row holds there; None for a field of nothing."""
    value: Any = row
    for name in way:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _way(
    columns: Columns,
    data: HubData,
    key: str,
    what: str,
    usual: Sequence[str],
    only: Sequence[Holds],
    may: Sequence[Holds] | None = None,
) -> Way:
    """only: the kinds of which a single column is taken. may: those that will do, if others."""
    may = may or only
    if (asked := data.options.get(key)) is not None:
        return _named(columns, data, asked, may)
    for name in usual:
        if name in columns and columns[name].holds in may:
            return (name,)
    single = [name for name, column in columns.items() if column.holds in only]
    if len(single) == 1:
        return (single[0],)
    found = f"{len(single)} columns that could be" if single else "no column that is known to be"
    raise DataError(
        f"{data.in_words} has {found} the {what}. {_there(columns)} Name it behind a question "
        f"mark: ?{key}=…"
    )


def _named(columns: Columns, data: HubData, asked: str, may: Sequence[Holds]) -> Way:
    """A column by its name, or a field by its name or as "column.field"."""
    ways: list[Way] = [
        (name,) for name, column in columns.items() if name == asked and column.holds in may
    ]
    ways += [
        (name, part)
        for name, column in columns.items()
        for part in column.names
        if column.holds == "struct" and asked in (part, f"{name}.{part}") and "text" in may
    ]
    if len(ways) == 1:
        return ways[0]
    if asked in columns:
        problem = f"has {columns[asked].holds} in its column {asked}"
    else:
        problem = f"has {'several columns' if ways else 'no column'} called {asked[:100]}"
    raise DataError(
        f"{data.in_words} {problem}; {' or '.join(may)} was expected. {_there(columns)}"
    )


def _same_language(one: str, other: str) -> bool:
    """ "zh" and "zho" are one language; so are codes that are equal up to a script."""
    short, known = (code.lower().replace("_", "-").split("-")[0] for code in (one, other))
    if short == known:
        return True
    families = {language_of(code) for code in (one, other)}
    return len(families) == 1 and families.isdisjoint({None, ""})


def _there(columns: Columns) -> str:
    def said(name: str, column: Column) -> str:
        parts = f" of {', '.join(column.names)}" if column.holds == "struct" else ""
        return f"{name} ({column.holds}{parts})"

    listed = [said(name, column) for name, column in columns.items()]
    more = f" and {len(listed) - 12:,} more" if len(listed) > 12 else ""
    return f"Its columns are {', '.join(listed[:12])}{more}."


def _column(feature: Any) -> Column:
    """By the class of `datasets` that describes it, or by a value."""
    kind = type(feature).__name__
    if kind == "ClassLabel":
        return Column("class", tuple(feature.names))
    if kind == "Image":
        return Column("image")
    if kind == "Translation":
        return Column("struct", tuple(feature.languages))
    if isinstance(feature, Mapping):
        parts = {name: _column(each) for name, each in feature.items()}
        if set(parts) == {"bytes", "path"}:
            return Column("image")
        return Column("struct", tuple(name for name in parts if parts[name].holds == "text"))
    dtype = getattr(feature, "dtype", None) if kind == "Value" else kind
    if dtype in ("string", "large_string", "string_view", "str"):
        return Column("text")
    if dtype in ("int", "bool") or str(dtype).startswith(("int", "uint")):
        return Column("number")
    if dtype in ("binary", "large_binary", "bytes"):
        return Column("image")  # the bytes of a file, if it is one
    return Column("other")

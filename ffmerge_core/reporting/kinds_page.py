"""docs/kinds.md: every kind of everything, read from the records.

python -m ffmerge_core.reporting.kinds_page > docs/kinds.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ffmerge_core.analysis.views import SIMILARITIES, VIEWS
from ffmerge_core.kinds import Kind
from ffmerge_core.models.families import FAMILIES
from ffmerge_core.plan import BLEU_TOKENIZERS, METHODS, QUANTIZATIONS, REPAIRS, Merge, Method
from ffmerge_core.sources.presets import PRESETS
from ffmerge_core.storage.layouts import LAYOUTS
from ffmerge_core.tasks.kinds import TASKS
from ffmerge_core.tasks.metrics import METRICS

_HEAD = """\
# Kinds

Each row is one record, and nothing else lists these kinds: the app, the command line, the search,
the charts and this page read the records. `python -m ffmerge_core.reporting.kinds_page` prints it.
CONTRIBUTING.md says how to add one.
"""
# Of a record, a further column: its title, and what stands in it.
Column = tuple[str, Callable[[Any], str]]


def page() -> str:
    """The page, in Markdown."""
    merging = {name: each for name, each in METHODS.items() if isinstance(each, Merge)}
    others = {name: each for name, each in METHODS.items() if name not in merging}
    methods: Sequence[Column] = (("Needs", _needs), ("Can", _can))
    better: Column = ("Better is", lambda each: "higher" if each.higher_is_better else "lower")
    requires: Column = ("Requires", lambda each: ", ".join(each.requires))
    named: Column = ("Its whole name", lambda each: f"`{each.data}`")
    licence: Column = ("Licence", lambda each: each.licence)
    taken: Column = ("Taken for", lambda each: each.language or "")
    parts = [
        _HEAD,
        *_section("Methods that merge", merging, *methods),
        *_section("Methods that merging is compared with", others, *methods),
        *_section("Repairs, after a merge", REPAIRS),
        *_section("Weights in fewer bytes", QUANTIZATIONS, requires),
        *_section("Layouts of a saved model", LAYOUTS),
        *_section("What is compared of two FF sublayers", VIEWS),
        *_section("How alike it is", SIMILARITIES),
        *_section("Kinds of tasks", TASKS, ("Measured by", lambda each: each.metric)),
        *_section("Data of the hub by a short name", PRESETS, named, licence),
        *_section("Metrics", METRICS, better),
        *_section("How BLEU splits a sentence", BLEU_TOKENIZERS, taken, requires),
        *_section("Families of models", FAMILIES, ("Task", lambda each: each.kind)),
    ]
    return "\n".join(parts)


def _section(title: str, records: Mapping[str, Kind], *more: Column) -> Iterator[str]:
    if not records:
        return
    sourced = any(each.source for each in records.values())
    columns: list[Column] = [
        ("Name", lambda each: f"`{each.name}`"),
        ("On pages", lambda each: each.label),
        ("What it is", lambda each: each.help),
        *more,
        *([("Source", lambda each: each.source)] if sourced else []),
    ]
    yield f"## {title}\n"
    yield row(name for name, _ in columns)
    yield "|" + "---|" * len(columns)
    for record in records.values():
        yield row(cell(record) for _, cell in columns)
    yield ""


def row(cells: Iterable[str]) -> str:
    """A row of a table in Markdown."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _needs(method: Method) -> str:
    return ", ".join(sorted(method.needs))


def _can(method: Method) -> str:
    able = (
        ("a search of windows", method.searched),
        ("int8 on top", method.int8),
        ("saved for plain transformers and timm", method.portable),
    )
    return ", ".join(said for said, can in able if can)


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201

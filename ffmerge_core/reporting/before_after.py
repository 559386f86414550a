"""A run's table: the original's figures, what became of them, and the change. Text only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ffmerge_core.reporting.formats import change_text, count, figure_text, megabytes, percent
from ffmerge_core.reporting.scores import figures_of
from ffmerge_core.reporting.stored import ties_only
from ffmerge_core.tasks.metrics import metric

Record = Mapping[str, Any]


class Row(NamedTuple):
    """One line of the table; a change is merged minus original, paired over the examples."""

    label: str
    original: str
    merged: str
    change: str


def before_and_after_rows(result: Record) -> list[Row]:
    """A run's result: parameters, memory, then each split's figures, the agreement last."""
    original, merged = result["original"], result["merged"]
    saved = original["n_parameters"] - merged["n_parameters"]
    lighter = original["weight_bytes"] - merged["weight_bytes"]
    rows = [
        Row(
            "Parameters",
            count(original["n_parameters"]),
            count(merged["n_parameters"]),
            f"−{count(saved)} (−{percent(saved / original['n_parameters'])})" if saved else "none",
        ),
        Row(
            "Memory of the weights" + (", part of them int8" if result.get("quantized") else ""),
            megabytes(original["weight_bytes"]),
            megabytes(merged["weight_bytes"]),
            f"−{megabytes(lighter)}" if lighter else "none",
        ),
    ]
    for split in result["difference"]:
        rows += _score_rows(result, split)
    return rows


def speed_rows(result: Record, recipe: Record) -> list[Row]:
    """What was timed, both models taking turns; runs of an earlier version timed nothing."""
    timed = result.get("latency")
    if not timed:
        return []
    before, after = timed["original"], timed["merged"]
    change = after["per_second"] / before["per_second"] - 1
    return [
        Row(
            f"Speed, {before['unit']} a second",
            f"{before['per_second']:,.0f}",
            f"{after['per_second']:,.0f}",
            # A share would look like a gain where both models do the same work.
            "the same work" if ties_only(recipe) else f"{change:+.0%}".replace("-", "−"),
        )
    ]


def _score_rows(result: Record, split: str) -> list[Row]:
    before, after, change = (result[part][split] for part in ("original", "merged", "difference"))
    was, now, by = figures_of(before), figures_of(after), figures_of(change)
    # On the metric's row for all the rows of the split.
    n = f", {count(before['n'])} {result.get('examples', 'examples')}"
    rows = [
        Row(
            f"{split.capitalize()} {name}{n if name == before['metric'] else ''}",
            figure_text(name, was[name]),
            figure_text(name, now[name]),
            change_text(name, by[name]),
        )
        for name in was
    ]
    if alike := metric(before["metric"]).alike:
        rows.append(Row(f"{split.capitalize()} {alike}", "", percent(change["agreement"]), ""))
    return rows


def how_scored(result: Mapping[str, Any]) -> list[str]:
    """What each split's scores rest on, in a line: signatures, how classes were matched, ….

    result: as a run has it.
    """
    found = {split: result["original"][split].get("notes") or {} for split in result["difference"]}
    return [
        f"{split.capitalize()} · " + " · ".join(f"{name}: {note}" for name, note in notes.items())
        for split, notes in found.items()
        if notes
    ]

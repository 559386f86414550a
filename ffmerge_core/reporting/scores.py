"""The figures of a stored score, by name, whichever version of this program stored it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ffmerge_core.tasks.metrics import metric

LOSS = "loss"


class Stored(NamedTuple):
    """A value, or a difference of two, with the ends of its interval."""

    value: float
    low: float
    high: float


def figures_of(score: Mapping[str, Any]) -> dict[str, Stored]:
    """An evaluation's or a difference's `summary()`: the metric, the others, the loss.

    Each by a name that `tasks.metrics.metric` knows.
    """
    own = metric(score["metric"])
    figures = {own.name: Stored(score["value"], *score["interval"])}
    for name, other in score.get("others", {}).items():
        figures[name] = Stored(other["value"], *other["interval"])
    figures[own.loss] = Stored(score["loss"], *score["loss_interval"])
    return figures

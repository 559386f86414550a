"""How numbers are written for reading, on every page and by every verb."""

from __future__ import annotations

import math
from collections.abc import Callable

from ffmerge_core.reporting.scores import Stored
from ffmerge_core.tasks.metrics import metric


def count(number: int) -> str:
    """604810 -> "604,810"."""
    return f"{number:,}"


def megabytes(n_bytes: float) -> str:
    """Decimal megabytes: 2419240 -> "2.42 MB"."""
    return f"{n_bytes / 1e6:,.2f} MB"


def whole_megabytes(n_bytes: float) -> str:
    """Of a whole process, where digits after the point say nothing: 2419240 -> "2 MB"."""
    return f"{n_bytes / 1e6:,.0f} MB"


def percent(share: float) -> str:
    """0.9731 -> "97.3%"; what is not finite -> "unknown"."""
    return f"{100 * share:.1f}%" if math.isfinite(share) else "unknown"


def figure_text(name: str, figure: Stored) -> str:
    """A figure of that name with its interval: "97.3% (96.1% to 98.2%)"."""
    return _with_interval(figure, metric(name).text)


def change_text(name: str, figure: Stored) -> str:
    """A difference with its interval, the unit once: "−2.5 points (−3.9 to −1.1)"."""
    return _with_interval(figure, metric(name).change_text)


def _with_interval(figure: Stored, text: Callable[[float], str]) -> str:
    low, high = (text(end).removesuffix(" points") for end in (figure.low, figure.high))
    return f"{text(figure.value)} ({low} to {high})"

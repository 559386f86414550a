"""What a figure's name means: which way is better, and how it is written. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ffmerge_core.errors import DataError


@dataclass(frozen=True)
class Metric:
    """percent: a share in [0, 1], written in percent. digits: after the decimal point."""

    name: str
    higher_is_better: bool
    digits: int
    percent: bool = False

    def text(self, value: float) -> str:
        """0.9731 -> "97.3%", 27.009 -> "27.01"; what is not finite -> "unknown"."""
        if not math.isfinite(value):
            return "unknown"
        if self.percent:
            return f"{100 * value:.{self.digits}f}%"
        return f"{value:,.{self.digits}f}"

    def change_text(self, difference: float) -> str:
        """-0.025 -> "−2.5 points", 0.307 -> "+0.31"; zero without a sign."""
        if not math.isfinite(difference):
            return "unknown"
        shown = 100 * difference if self.percent else difference
        text = f"{shown:+,.{self.digits}f}"
        # What rounds to zero has no sign; a minus is a true one.
        text = text.replace("-", "−") if text.strip("+-0.,") else text.lstrip("+-")
        return f"{text} points" if self.percent else text


_METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, 1, percent=True),
        Metric("loss", False, 3),
        Metric("perplexity", False, 2),
        Metric("bits per byte", False, 3),
        Metric("BLEU", True, 1),
        Metric("chrF", True, 1),
        Metric("top-1 agreement", True, 1, percent=True),
        Metric("KL divergence", False, 4),
        Metric("cosine", True, 4),
    )
}


def metric(name: str) -> Metric:
    """A metric by its name. Raises `DataError` for one that is not known here."""
    if name not in _METRICS:
        raise DataError(f"There is no metric called {name!r}; known are {', '.join(_METRICS)}.")
    return _METRICS[name]

"""Whether similarity predicts damage: a rank correlation over a search's windows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ffmerge_core.errors import PlanError

if TYPE_CHECKING:
    import pandas as pd

MEAN_CKA, MEAN_CORRELATION = "mean CKA", "mean aligned correlation"
FEWEST_WINDOWS = 4
_RESAMPLES = 2_000


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's, with a 95 % percentile bootstrap interval over windows.

    n: windows. resamples: those that the interval is of; one whose windows are all alike has
    no rank correlation. Windows overlap, so the interval is narrower than it would be for as
    many windows apart.
    """

    value: float
    low: float
    high: float
    n: int
    resamples: int

    def text(self) -> str:
        """ "−0.81 (−0.95 to −0.42)"; without the interval where all resamples agree."""
        if self.high - self.low < 1e-6:
            # Of a perfect order every resample is perfect, which is no certainty.
            return _signed(self.value)
        return f"{_signed(self.value)} ({_signed(self.low)} to {_signed(self.high)})"

    def in_words(self, of: str) -> str:
        """What it says, for someone who has not met a rank correlation. of: as in the table."""
        measured = f"rank correlation {self.text()}, {self.n} windows"
        if self.low <= 0 <= self.high:
            return (
                f"Whether a window's {of} tells how much its merge hurts cannot be said from "
                f"these windows: the interval holds 0 ({measured})."
            )
        less = "less" if self.value < 0 else "more"
        return f"The higher a window's {of}, the {less} its merge hurts ({measured})."


def does_similarity_predict(table: pd.DataFrame, of: str = MEAN_CKA) -> RankCorrelation:
    """Rank correlation of a window's similarity with its loss change; negative if it predicts.

    table: of one method and anchor, from `search_windows`; windows without a finite figure are
    left out.
    Raises `PlanError` for fewer than 4 windows, and where all are alike.
    """
    pairs = table[[of, "loss change"]].to_numpy(dtype=float)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    n = len(pairs)
    if n < FEWEST_WINDOWS:
        raise PlanError(
            f"{n} window{' is' if n == 1 else 's are'} too few to tell whether {of} predicts "
            f"damage; {FEWEST_WINDOWS} are needed. Remove fewer FF sublayers: there are more "
            "windows then."
        )
    (value,) = _spearman(pairs[None])
    if not np.isfinite(value):
        raise PlanError(
            f"All {n} windows have the same {of} or the same damage, so neither predicts the other."
        )
    drawn = np.random.default_rng(0).integers(n, size=(_RESAMPLES, n))
    resampled = _spearman(pairs[drawn])
    resampled = resampled[np.isfinite(resampled)]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return RankCorrelation(float(value), float(low), float(high), n, len(resampled))


def _spearman(pairs: np.ndarray) -> np.ndarray:
    """pairs: (samples, n, 2) → (samples,); NaN where one of the two is constant."""
    from scipy.stats import rankdata

    ranks = rankdata(pairs, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1).prod(axis=1)
    together = ranks.prod(axis=2).sum(axis=1)
    found: np.ndarray = np.divide(together, norms, out=np.full(len(norms), np.nan), where=norms > 0)
    return found


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")

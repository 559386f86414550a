"""Whether similarity predicts damage: a rank correlation over a search's windows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from reprlib import repr as clipped
from typing import TYPE_CHECKING

import numpy as np

from ffmerge_core import showing
from ffmerge_core.checks import expect
from ffmerge_core.errors import PlanError

if TYPE_CHECKING:
    import pandas as pd

MEAN_CKA, MEAN_CORRELATION = "mean CKA", "mean aligned correlation"
FEWEST_WINDOWS = 4
_RESAMPLES = 2_000


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's, with a 95 % percentile bootstrap interval over windows.

    Windows overlap, so the interval is narrower than it would be for as many windows apart.

    Attributes
    ----------
    value : float
        In [-1, 1]; negative where the more alike windows are hurt less.
    low, high : float
        The ends of the interval.
    n : int
        Windows.
    resamples : int
        Those that the interval is of; one whose windows are all alike has no rank correlation.

    See Also
    --------
    does_similarity_predict : Makes one.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> found = fm.RankCorrelation(-0.81, -0.95, -0.42, n=8, resamples=2_000)
    >>> print(found.text())
    −0.81 (−0.95 to −0.42)
    >>> found.in_words("mean CKA").startswith("The higher a window's mean CKA, the less")
    True
    """

    value: float
    low: float
    high: float
    n: int
    resamples: int

    def __repr__(self) -> str:
        return showing.line(self, f"{self.text()}, {self.n} windows")

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
                f"These windows do not show whether a window's {of} predicts how much its merge "
                f"hurts: the interval contains 0 ({measured})."
            )
        less = "less" if self.value < 0 else "more"
        return f"The higher a window's {of}, the {less} its merge hurts ({measured})."


def does_similarity_predict(table: pd.DataFrame, of: str = MEAN_CKA) -> RankCorrelation:
    """Rank correlation of a window's similarity with its loss change; negative if it predicts.

    Parameters
    ----------
    table : DataFrame
        Of one method and anchor, from `search_windows`. Windows without a finite figure are left
        out.
    of : str, default "mean CKA"
        The column of the similarity: "mean CKA" or "mean aligned correlation".

    Returns
    -------
    RankCorrelation
        With its interval.

    Raises
    ------
    PlanError
        For fewer than 4 windows, where all are alike, and for a table of something else.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> import pandas as pd
    >>> table = pd.DataFrame({
    ...     "mean CKA": [0.9, 0.8, 0.7, 0.4, 0.3],
    ...     "loss change": [0.01, 0.02, 0.05, 0.04, 0.3],
    ... })
    >>> found = fm.does_similarity_predict(table)
    >>> print(f"{found.value:.1f} of {found.n} windows")
    -0.9 of 5 windows
    """
    import pandas as pd

    expect(PlanError, "fm.search_windows(…) gives one.", table=(table, pd.DataFrame))
    expect(PlanError, of=(of, str))
    if absent := [name for name in (of, "loss change") if name not in table]:
        raise PlanError(
            f"The table has no column {clipped(absent[0])}. A table from fm.search_windows was "
            f'expected, and of is "{MEAN_CKA}" or "{MEAN_CORRELATION}".'
        )
    pairs = table[[of, "loss change"]].to_numpy(dtype=float)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    n = len(pairs)
    if n < FEWEST_WINDOWS:
        raise PlanError(
            f"{n} window{' is' if n == 1 else 's are'} too few to tell whether {of} predicts "
            f"damage; {FEWEST_WINDOWS} are needed. Remove fewer FF sublayers: that gives more "
            "windows."
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

"""A figure that follows from sums over examples, with its interval.

An accuracy, a perplexity and a BLEU alike. Intervals are 95 % percentile bootstrap intervals
over examples (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13), with
a fixed seed: the same statistics always give the same interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ffmerge_core import showing
from ffmerge_core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Floats: TypeAlias = NDArray[np.float64]
Formula: TypeAlias = Callable[[Floats], Floats]

LOSS = "loss"
_CONFIDENCE = 0.95
_RESAMPLES = 2_000
_SEED = 0
_MOST_NATS = 700.0
# Bounds the memory of one round of resampling: 4 million float64 are 32 MB.
_VALUES_A_ROUND = 4_000_000


class Interval(NamedTuple):
    """A 95 % confidence interval; [low, high] in JSON.

    Attributes
    ----------
    low, high : float
        Its ends.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> fm.Interval(low=0.97, high=0.99)
    Interval(low=0.97, high=0.99)
    """

    low: float
    high: float


class Figure(NamedTuple):
    """A value, or a difference of two, with its interval.

    Attributes
    ----------
    value : float
        Such as an accuracy in [0, 1].
    interval : Interval
        95 %, by bootstrap over examples.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> fm.Figure(0.98, fm.Interval(0.97, 0.99)).interval.low
    0.97
    """

    value: float
    interval: Interval


@dataclass(frozen=True, eq=False)
class Measure:
    """A figure that follows from sums over examples: an accuracy, a perplexity and a BLEU alike.

    Attributes
    ----------
    name : str
        What the figure is called.
    statistics : ndarray
        (n, k) float64, what each example adds.
    formula : callable
        Sums (…, k) → values (…).

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> right = fm.Measure.ratio("accuracy", [1, 1, 0, 1])
    >>> right.figure.value
    0.75
    >>> right.minus(fm.Measure.ratio("accuracy", [1, 0, 0, 1])).value
    0.25
    """

    name: str
    statistics: Floats
    formula: Formula

    def __repr__(self) -> str:
        n, k = self.statistics.shape
        return showing.line(self, f"{self.name}: {n:,} examples, {k} sums")

    @classmethod
    def ratio(cls, name: str, amounts: ArrayLike, weights: ArrayLike | None = None) -> Measure:
        """Σ amounts / Σ weights, both (n,); a plain mean without weights."""
        return cls(name, _columns(amounts, weights), _quotient)

    @classmethod
    def exponential(cls, name: str, amounts: ArrayLike, weights: ArrayLike) -> Measure:
        """exp(Σ amounts / Σ weights), both (n,): a perplexity of losses and token counts."""
        return cls(name, _columns(amounts, weights), _exponential)

    @property
    def figure(self) -> Figure:
        value = float(self.formula(self.statistics.sum(0)))
        return Figure(value, _interval(self.formula, self.statistics))

    def minus(self, other: Measure) -> Figure:
        """The paired difference: both are resampled together."""
        k = self.statistics.shape[1]

        def difference(sums: Floats) -> Floats:
            return self.formula(sums[..., :k]) - other.formula(sums[..., k:])

        both = np.concatenate([self.statistics, other.statistics], axis=1)
        return Figure(float(difference(both.sum(0))), _interval(difference, both))


def _columns(amounts: ArrayLike, weights: ArrayLike | None) -> Floats:
    first = np.array(amounts, dtype=np.float64)
    second = np.ones_like(first) if weights is None else np.array(weights, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise DataError(
            f"Amounts and weights have shapes {first.shape} and {second.shape}; an evaluation "
            "needs one of each for every example."
        )
    both = np.stack([first, second], axis=1)
    both.setflags(write=False)
    return both


def _quotient(sums: Floats) -> Floats:
    quotient: Floats = sums[..., 0] / sums[..., 1]
    return quotient


def _exponential(sums: Floats) -> Floats:
    # A model that diverged may lose more nats than a float64 has room for the exponential of.
    return np.exp(np.minimum(_quotient(sums), _MOST_NATS))


def _interval(formula: Formula, statistics: Floats) -> Interval:
    """Of formula(Σ statistics); statistics: (n, k)."""
    if (statistics == statistics[0]).all():
        # Nothing to resample; SciPy also refuses a single observation.
        value = float(formula(statistics.sum(0)))
        return Interval(value, value)

    from scipy.stats import bootstrap

    def resampled(chosen: NDArray[Any], axis: int) -> Floats:
        assert axis == -1
        return formula(statistics[chosen.astype(np.intp)].sum(-2))

    result = bootstrap(
        (np.arange(len(statistics)),),
        resampled,
        n_resamples=_RESAMPLES,
        batch=max(1, _VALUES_A_ROUND // statistics.size),
        vectorized=True,
        confidence_level=_CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    bounds = result.confidence_interval
    return Interval(float(bounds.low), float(bounds.high))

"""A model's score on one split, and the paired difference between two models' scores.

Intervals are 95 % percentile bootstrap intervals over examples (Efron & Tibshirani,
"An Introduction to the Bootstrap", 1993, chapter 13), with a fixed seed: the same
scores always give the same interval.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from ffmerge_core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ffmerge_core.tasks.task import Split

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

Number = TypeVar("Number", np.float64, np.int64)

_CONFIDENCE = 0.95
_RESAMPLES = 2_000
_SEED = 0
# Bounds the memory of one round of resampling: 4 million float64 are 32 MB.
_VALUES_A_ROUND = 4_000_000


class Interval(NamedTuple):
    """A 95 % confidence interval; [low, high] in JSON."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores and losses of every example of a split, in the split's order.

    value: mean score, an accuracy lies in [0, 1]. loss: mean loss, in nats.
    scores, losses: (n,) float64. predictions: (n,) int64. Arrays are read-only.
    """

    split: Split
    metric: str
    value: float
    loss: float
    n: int
    interval: Interval
    loss_interval: Interval
    scores: Floats
    losses: Floats
    predictions: Integers

    @classmethod
    def of(
        cls,
        split: Split,
        metric: str,
        scores: ArrayLike,
        losses: ArrayLike,
        predictions: ArrayLike,
    ) -> Evaluation:
        """Summarise per-example figures. Raises `DataError` if they are not finite or not alike."""
        score = _frozen(np.array(scores, dtype=np.float64))
        loss = _frozen(np.array(losses, dtype=np.float64))
        predicted = _frozen(np.array(predictions, dtype=np.int64))
        shapes = (score.shape, loss.shape, predicted.shape)
        if score.ndim != 1 or score.size == 0 or len(set(shapes)) != 1:
            raise DataError(
                f"Scores, losses and predictions have shapes {shapes[0]}, {shapes[1]} and "
                f"{shapes[2]}; an evaluation needs one of each for every example, and at least one "
                "example."
            )
        for what, values in (("scores", score), ("losses", loss)):
            bad = int(np.count_nonzero(~np.isfinite(values)))
            if bad:
                raise DataError(
                    f"{bad} of {values.size} {what} on the {split} split are not finite numbers. "
                    "Check the model's weights for NaN or infinity."
                )
        return cls(
            split=split,
            metric=metric,
            value=float(score.mean()),
            loss=float(loss.mean()),
            n=score.size,
            interval=_interval(score),
            loss_interval=_interval(loss),
            scores=score,
            losses=loss,
            predictions=predicted,
        )

    def versus(self, original: Evaluation) -> PairedDifference:
        """This model minus `original`, example by example. Raises `DataError` if not comparable."""
        for what, mine, other in (
            ("split", self.split, original.split),
            ("metric", self.metric, original.metric),
            ("number of examples", self.n, original.n),
        ):
            if mine != other:
                raise DataError(
                    f"Two evaluations differ in {what}: {mine} and {other}. A paired difference "
                    "needs the same examples; evaluate both models on one split."
                )
        scores, losses = self.scores - original.scores, self.losses - original.losses
        changed = np.flatnonzero(self.predictions != original.predictions)
        return PairedDifference(
            split=self.split,
            metric=self.metric,
            value=float(scores.mean()),
            loss=float(losses.mean()),
            n=self.n,
            interval=_interval(scores),
            loss_interval=_interval(losses),
            agreement=1 - changed.size / self.n,
            changed=_frozen(changed.astype(np.int64)),
        )

    def summary(self) -> dict[str, Any]:
        """Everything but the per-example arrays, ready for JSON."""
        return _as_json(self, without=("scores", "losses", "predictions"))


@dataclass(frozen=True, eq=False)
class PairedDifference:
    """One model minus another on the same examples.

    value, loss: mean differences, positive where the new model has more of it.
    agreement: share of examples with equal predictions. changed: indices, (m,) int64, of
    the others.
    """

    split: Split
    metric: str
    value: float
    loss: float
    n: int
    interval: Interval
    loss_interval: Interval
    agreement: float
    changed: Integers

    def summary(self) -> dict[str, Any]:
        """Everything but the indices, ready for JSON."""
        return _as_json(self, without=("changed",))


def _interval(values: Floats) -> Interval:
    """Of the mean of `values` (n,)."""
    if values.min() == values.max():
        # Nothing to resample; SciPy also refuses a single observation.
        return Interval(float(values[0]), float(values[0]))

    from scipy.stats import bootstrap

    result = bootstrap(
        (values,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=max(1, _VALUES_A_ROUND // values.size),
        vectorized=True,
        confidence_level=_CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    bounds = result.confidence_interval
    return Interval(float(bounds.low), float(bounds.high))


def _as_json(value: Evaluation | PairedDifference, without: tuple[str, ...] = ()) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for field in fields(value):
        if field.name in without:
            continue
        item = getattr(value, field.name)
        if isinstance(item, Interval):
            item = list(item)
        elif isinstance(item, np.ndarray):
            item = item.tolist()
        plain[field.name] = item
    return plain


def _frozen(array: NDArray[Number]) -> NDArray[Number]:
    array.setflags(write=False)
    return array

"""A model's score on one split, and the paired difference between two models' scores.

Every figure follows from sums over examples: an accuracy, a perplexity and a BLEU alike.
Intervals are 95 % percentile bootstrap intervals over examples (Efron & Tibshirani,
"An Introduction to the Bootstrap", 1993, chapter 13), with a fixed seed: the same
statistics always give the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ffmerge_core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ffmerge_core.tasks.batch import Split

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Formula = Callable[[Floats], Floats]

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


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every figure of a model on one split, with what each example added to it.

    Attributes
    ----------
    split : {"train", "validation", "test"}
        What was scored.
    metric : str
        The task's own figure.
    value : float
        Of it; an accuracy lies in [0, 1].
    loss : float
        Mean, in nats.
    n : int
        Examples.
    interval, loss_interval : Interval
        95 %, by bootstrap over examples.
    others : mapping of str to Figure
        Further figures by name.
    measures : mapping of str to Measure
        Where all of them come from, by name.
    predictions : sequence
        One an example: a number, a text or an array of them.
    notes : mapping of str to str
        What the figures depend on, such as sacrebleu's signature.

    See Also
    --------
    evaluate : Makes one.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> before = fm.evaluate(model)
    >>> before.metric, before.n
    ('accuracy', 359)
    >>> before.interval.low < before.value < before.interval.high
    True
    >>> before.versus(before).value
    0.0
    """

    split: Split
    metric: str
    value: float
    loss: float
    n: int
    interval: Interval
    loss_interval: Interval
    others: Mapping[str, Figure]
    measures: Mapping[str, Measure]
    predictions: Sequence[Any]
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        split: Split,
        measures: Sequence[Measure],
        predictions: Sequence[Any],
        notes: Mapping[str, str] | None = None,
    ) -> Evaluation:
        """Summarise. The first measure is the task's own; one must be the loss.

        Raises `DataError` if the statistics are not finite or not one row an example.
        """
        _check(split, measures, len(predictions))
        figures = {measure.name: measure.figure for measure in measures}
        own, loss = figures[measures[0].name], figures[LOSS]
        return cls(
            split=split,
            metric=measures[0].name,
            value=own.value,
            loss=loss.value,
            n=len(predictions),
            interval=own.interval,
            loss_interval=loss.interval,
            others=_without(figures, measures[0].name, LOSS),
            measures={measure.name: measure for measure in measures},
            predictions=predictions,
            notes=notes or {},
        )

    def versus(self, original: Evaluation) -> PairedDifference:
        """This model minus `original`, example by example.

        Parameters
        ----------
        original : Evaluation
            Of the same split of the same task.

        Returns
        -------
        PairedDifference
            Positive where this model has more of a figure.

        Raises
        ------
        DataError
            If the two are not of the same examples.
        """
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
        figures = {
            name: measure.minus(original.measures[name]) for name, measure in self.measures.items()
        }
        agreement, changed = _compared(self.predictions, original.predictions)
        return PairedDifference(
            split=self.split,
            metric=self.metric,
            value=figures[self.metric].value,
            loss=figures[LOSS].value,
            n=self.n,
            interval=figures[self.metric].interval,
            loss_interval=figures[LOSS].interval,
            others=_without(figures, self.metric, LOSS),
            agreement=agreement,
            changed=changed,
        )

    def summary(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        return _as_json(self) | {"notes": dict(self.notes)}


@dataclass(frozen=True, eq=False)
class PairedDifference:
    """One model minus another on the same examples.

    Attributes
    ----------
    split : {"train", "validation", "test"}
        What both were scored on.
    metric : str
        The task's own figure.
    value, loss : float
        Positive where the new model has more of it.
    n : int
        Examples.
    interval, loss_interval : Interval
        95 %, both models resampled together.
    others : mapping of str to Figure
        Further figures by name.
    agreement : float
        Share of equal predictions, in [0, 1].
    changed : ndarray
        Indices, (m,) int64, of the examples with another prediction.

    See Also
    --------
    Evaluation.versus : Makes one.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> plan = fm.MergePlan(groups=(("encoder.4", "encoder.5"),), method="vanilla")
    >>> change = fm.evaluate(fm.apply(model, plan)).versus(fm.evaluate(model))
    >>> change.loss_interval.low <= change.loss <= change.loss_interval.high
    True
    >>> len(change.changed) == round((1 - change.agreement) * change.n)
    True
    """

    split: Split
    metric: str
    value: float
    loss: float
    n: int
    interval: Interval
    loss_interval: Interval
    others: Mapping[str, Figure]
    agreement: float
    changed: Integers

    def summary(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        return _as_json(self) | {"agreement": self.agreement}


def _check(split: Split, measures: Sequence[Measure], n: int) -> None:
    shapes = [measure.statistics.shape for measure in measures]
    if n == 0 or any(shape[0] != n for shape in shapes):
        raise DataError(
            f"{n} predictions and statistics of shapes {', '.join(map(str, shapes))} were found; "
            "an evaluation needs one of each for every example, and at least one example."
        )
    if LOSS not in [measure.name for measure in measures]:
        raise DataError("An evaluation needs a loss among its measures.")
    for measure in measures:
        bad = int(np.count_nonzero(~np.isfinite(measure.statistics).all(1)))
        if bad:
            raise DataError(
                f"{bad} of {n} examples of the {split} split have a {measure.name} that is not a "
                "finite number. Check the model's weights for NaN or infinity."
            )


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


def _compared(mine: Sequence[Any], other: Sequence[Any]) -> tuple[float, Integers]:
    """The share of equal predictions, and which examples have any that differs."""
    equal = total = 0
    changed = []
    for index, (here, there) in enumerate(zip(mine, other, strict=True)):
        same = np.asarray(here) == np.asarray(there)
        equal, total = equal + int(np.count_nonzero(same)), total + np.size(same)
        if not np.all(same):
            changed.append(index)
    return equal / total, np.array(changed, dtype=np.int64)


def _without(figures: Mapping[str, Figure], *names: str) -> dict[str, Figure]:
    return {name: figure for name, figure in figures.items() if name not in names}


def _as_json(value: Evaluation | PairedDifference) -> dict[str, Any]:
    return {
        "split": value.split,
        "metric": value.metric,
        "value": value.value,
        "interval": list(value.interval),
        "loss": value.loss,
        "loss_interval": list(value.loss_interval),
        "n": value.n,
        "others": {
            name: {"value": figure.value, "interval": list(figure.interval)}
            for name, figure in value.others.items()
        },
    }

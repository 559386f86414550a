"""A model's score on one split, and the paired difference between two models' scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ffmerge_core import showing
from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError
from ffmerge_core.tasks.measures import LOSS, Figure, Interval, Measure

if TYPE_CHECKING:
    from ffmerge_core.tasks.batch import Split

Integers: TypeAlias = NDArray[np.int64]


class _Scores:
    """What a score and the difference of two have in common: how their figures are shown."""

    split: Split
    metric: str
    value: float
    loss: float
    n: int
    interval: Interval
    loss_interval: Interval
    others: Mapping[str, Figure]
    _sign = ""

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures by name, the task's own first, the loss last."""
        own = Figure(self.value, self.interval)
        return {self.metric: own, **self.others, LOSS: Figure(self.loss, self.loss_interval)}

    def __repr__(self) -> str:
        own, loss = (f"{each:{self._sign}.4g}" for each in (self.value, self.loss))
        return showing.line(
            self, f"{self.split} split, {self.n:,} examples: {self.metric} {own}, loss {loss}"
        )

    def summary(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        return {
            "split": self.split,
            "metric": self.metric,
            "value": self.value,
            "interval": list(self.interval),
            "loss": self.loss,
            "loss_interval": list(self.loss_interval),
            "n": self.n,
            "others": {
                name: {"value": figure.value, "interval": list(figure.interval)}
                for name, figure in self.others.items()
            },
        }

    def _repr_html_(self) -> str:
        rows = [
            (name, *map(showing.rounded, (figure.value, *figure.interval)))
            for name, figure in self.figures.items()
        ]
        return showing.table(repr(self), ("figure", "value", "low", "high"), rows)


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(_Scores):
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

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> before = fm.evaluate(model)
    >>> before.metric, before.n
    ('accuracy', 359)
    >>> before.interval.low < before.value < before.interval.high
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
        expect(DataError, original=(original, Evaluation))
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
        return super().summary() | {"notes": dict(self.notes)}


@dataclass(frozen=True, eq=False, repr=False)
class PairedDifference(_Scores):
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

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> plan = fm.MergePlan(groups=(("encoder.4", "encoder.5"),), method="vanilla")
    >>> result = fm.run(fm.Recipe("demo:vit-digits", plan))
    >>> change = result.after.versus(result.before)
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
    _sign = "+"

    def summary(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        return super().summary() | {"agreement": self.agreement}


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

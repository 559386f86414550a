"""Recovery: a short fine-tune of what a plan left, and the curve that it draws."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ffmerge_core import showing
from ffmerge_core.checks import expect
from ffmerge_core.errors import PlanError
from ffmerge_core.plan.values import fields_of, keep_whole

Stopped = Literal["finished", "no gain", "diverged", "cancelled"]

_WARM_UP = 0.1  # share of the steps
_CHECKS = 10


@dataclass(frozen=True)
class Recovery:
    """How a model is fine-tuned, with AdamW.

    Parameters
    ----------
    steps : int, default 200
        Of the optimiser.
    learning_rate : float, default 3e-4
        The highest, after a linear warm-up; then a cosine to 0.
    batch_size : int, default 32
        Examples a step (a process).
    distill : bool, default False
        Half of the loss is KL(original ‖ model).
    lora_rank : int, optional
        Train low-rank adapters of that rank alone and add them in at the end.
    until : int, optional
        The step at which someone cancelled it: made again, it ends there with the same weights,
        the learning rate having been on its way to `steps`.

    Raises
    ------
    PlanError
        For values that no recovery could have.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> recovery = fm.Recovery(steps=100, learning_rate=1e-3)
    >>> recovery.interval
    10
    >>> print(f"{recovery.rate(9):.4f} {recovery.rate(99):.5f}")
    0.0010 0.00000
    """

    steps: int = 200
    learning_rate: float = 3e-4
    batch_size: int = 32
    distill: bool = False
    lora_rank: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 1), ("lora_rank", 1), ("until", 0)):
            if getattr(self, name) is not None or name in ("steps", "batch_size"):
                keep_whole(self, name, least, f"A recovery's {name}")
        expect(PlanError, distill=(self.distill, bool))
        if self.until is not None and self.until >= self.steps:
            raise PlanError(
                f"A recovery of {self.steps} steps cannot have been cancelled at step "
                f"{self.until}. Remove its until."
            )
        rate = self.learning_rate
        if (
            isinstance(rate, bool)
            or not isinstance(rate, int | float)
            or not 0 < rate <= sys.float_info.max
        ):
            raise PlanError(
                f"A recovery's learning rate is {rate!r}; it must be above 0, such as 0.0003."
            )

    @property
    def interval(self) -> int:
        """Steps from one score on the validation split to the next."""
        return max(1, self.steps // _CHECKS)

    @property
    def last(self) -> int:
        """The step after which it ends, if not before."""
        return self.steps if self.until is None else self.until

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warm = max(1, round(_WARM_UP * self.steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        share = (step - warm) / (self.steps - warm)
        return self.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        if self.until is None:
            # A recipe is known by what it says: one that nobody cancelled says nothing of it.
            del values["until"]
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recovery:
        """Inverse of `to_dict`; refuses unknown fields and values of other types."""
        return cls(**fields_of(cls, data))


@dataclass(frozen=True)
class CurvePoint:
    """A score on the validation split after so many steps of a recovery.

    Attributes
    ----------
    step : int
        0 is the start.
    training_loss : float or None
        Mean over the steps since the point before, in nats; None before the first step.
    loss : float
        Of the task, in nats.
    value : float
        Of the task's metric.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> fm.CurvePoint(step=0, training_loss=None, loss=0.09, value=0.978).step
    0
    """

    step: int
    training_loss: float | None
    loss: float
    value: float


@dataclass(frozen=True)
class Curve:
    """How a recovery went.

    Attributes
    ----------
    metric : str
        What the values of the points are.
    points : tuple of CurvePoint
        In the order of the steps, the start first.
    steps : int
        Done of `asked`.
    asked : int
        Steps that were to be taken.
    best_step : int
        Of the lowest validation loss, whose weights were kept; 0 is the start.
    stopped : {"finished", "no gain", "diverged", "cancelled"}
        Why it ended.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> points = (fm.CurvePoint(0, None, 0.09, 0.978), fm.CurvePoint(10, 0.12, 0.07, 0.981))
    >>> curve = fm.Curve("accuracy", points, steps=10, asked=10, best_step=10, stopped="finished")
    >>> curve
    Curve(10 of 10 steps, finished: validation loss 0.09 → 0.07 at step 10)
    >>> print(curve.in_words)
    All 10 steps were taken. The weights of step 10 were kept.
    """

    metric: str
    points: tuple[CurvePoint, ...]
    steps: int
    asked: int
    best_step: int
    stopped: Stopped

    def __repr__(self) -> str:
        taken = f"{self.steps} of {self.asked} steps, {self.stopped}"
        best = min(self.points, key=lambda point: point.loss, default=None)
        if best is None:
            return showing.line(self, taken)
        start, end = showing.rounded(self.points[0].loss), showing.rounded(best.loss)
        loss = f"validation loss {start} → {end} at step {self.best_step}"
        return showing.line(self, f"{taken}: {loss}")

    @property
    def in_words(self) -> str:
        """How it ended and what was kept, in sentences."""
        ended = {
            "finished": f"All {self.asked} steps were taken.",
            "no gain": (
                f"Stopped after {self.steps} of {self.asked} steps: the validation loss no longer "
                "fell."
            ),
            "diverged": (
                f"Stopped after {self.steps} of {self.asked} steps: the loss grew without bound. "
                "Take a smaller learning rate."
            ),
            "cancelled": f"Cancelled after {self.steps} of {self.asked} steps.",
        }[self.stopped]
        if self.best_step == 0:
            return f"{ended} Nothing was gained, so the weights of the start were kept."
        return f"{ended} The weights of step {self.best_step} were kept."

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "points": [asdict(point) for point in self.points]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Curve:
        values = fields_of(cls, data)
        values["points"] = tuple(CurvePoint(**point) for point in values["points"])
        return cls(**values)

"""How long work says how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Protocol


class Report(Protocol):
    """A progress callback; it may raise `Cancelled`, which stops the work at once.

    Any function that takes these four will do.

    Parameters
    ----------
    step, total : int
        Done and to do, in whatever unit the message names.
    message : str
        What is being done.
    values : mapping of str to float, optional
        Figures known so far, for a live display.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> def tell(step, total, message, values=None):
    ...     print(f"{step} of {total}: {message}")
    >>> few = fm.calibrate(model, tokens=100, report=tell)
    100 of 100: Reading calibration tokens
    """

    def __call__(
        self, step: int, total: int, message: str, values: Mapping[str, float] | None = None
    ) -> None: ...


def silent(step: int, total: int, message: str, values: Mapping[str, float] | None = None) -> None:
    """The callback of someone who does not listen."""


def part(report: Report, start: float, end: float, said: str = "") -> Report:
    """For a part of some work, from `start` to `end` of 0 to 1: told in thousandths of all of it.

    said: put before each message, which goes on in lower case: "Merging: " and "Reading".
    """

    def told(
        step: int, total: int, message: str, values: Mapping[str, float] | None = None
    ) -> None:
        share = start + (end - start) * min(step / max(total, 1), 1)
        after = message[:1].lower() + message[1:] if said else message
        report(round(1000 * share), 1000, said + after, values)

    return told


def steps(report: Report, n: int) -> Callable[[str], Report]:
    """Each call is the next of n steps: a report for the work in it, told as a share of them all.

    Each step says what it was called with, and not what the work in it says.
    """
    order = count()

    def next_step(said: str) -> Report:
        at = next(order)
        step_told = part(report, at / n, (at + 1) / n, said)

        def told(
            step: int, total: int, message: str, values: Mapping[str, float] | None = None
        ) -> None:
            step_told(step, total, "", values)

        return told

    return next_step

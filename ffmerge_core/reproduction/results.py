"""What was kept of a demo's experiments, read back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np

from ffmerge_core.errors import StorageError
from ffmerge_core.reproduction.experiments import Share
from ffmerge_core.tasks.measures import LOSS, Figure, Measure
from ffmerge_core.tasks.metrics import Metric, metric

Json = Mapping[str, Any]
What = Literal["value", "loss"]


@dataclass(frozen=True)
class Trial:
    """One recipe's result. file: its name, below the folder of results.

    record: as the run history has it, with the test split's scores. losses: of the test examples.
    """

    file: str
    part: str
    method: str
    share: Share | None
    variant: str | None
    tuned: bool
    seed: int
    recipe: Json
    record: Json
    losses: Measure

    @property
    def n_parameters(self) -> int:
        return int(self.record["merged"]["n_parameters"])

    def score(self, what: What, of: str = "merged") -> float:
        """The task's metric or the loss, on the test split; NaN for what is not finite."""
        return number(self.record[of]["test"][what])


@dataclass(frozen=True)
class Spread:
    """One quantity over seeds, or over choices. values: one or more."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def range(self) -> float:
        return max(self.values) - min(self.values)

    def text(self, metric: Metric) -> str:
        """ "97.3%", or "97.3% ± 0.4" with the standard deviation over the seeds."""
        if len(self.values) == 1 or not all(map(math.isfinite, self.values)):
            return metric.text(self.mean)
        scale = 100 if metric.percent else 1
        return f"{metric.text(self.mean)} ± {scale * stdev(self.values):.{metric.digits}f}"


@dataclass(frozen=True)
class Found:
    """All there is of one demo.

    searches: share → its file's content. sizes: share, or "none" → weights → a `Footprint`, in
    bytes. planned: names of what is to be tried, "similarity", the searches and the sizes aside.
    """

    demo: str
    trials: tuple[Trial, ...]
    searches: Mapping[Share, Json]
    similarity: Json | None
    planned: tuple[str, ...]
    sizes: Json | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """What was planned and is not there."""
        done = {Path(each.file).stem for each in self.trials}
        return tuple(name for name in self.planned if name not in done)

    @property
    def metric(self) -> Metric:
        return metric(self.trials[0].record["original"]["test"]["metric"])

    def of(
        self,
        part: str,
        *,
        tuned: bool,
        method: str | None = None,
        share: Share | None = None,
    ) -> tuple[Trial, ...]:
        """By seed, then by file."""
        return tuple(
            each
            for each in self.trials
            if each.part == part
            and each.tuned is tuned
            and method in (None, each.method)
            and share in (None, each.share)
        )

    def spread(
        self, what: What, part: str, *, tuned: bool, method: str, share: Share | None = None
    ) -> Spread | None:
        """Over the seeds; None if none of them has been run."""
        mine = self.of(part, tuned=tuned, method=method, share=share)
        return Spread(tuple(each.score(what) for each in mine)) if mine else None


def loss_difference(one: Sequence[Trial], other: Sequence[Trial]) -> Figure:
    """How much higher the first's test loss is, each the mean of its seeds; paired by example."""
    return _mean_losses(one).minus(_mean_losses(other))


def read(folder: Path) -> list[Found]:
    """Every demo that has a result under a folder. Raises `StorageError` for a damaged file."""
    found = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = {path.stem: _read(path) for path in sorted(place.glob("*.json"))}
        if not any("experiment" in content for content in files.values()):
            continue
        trials = [
            Trial(
                file=f"{place.name}/{name}.json",
                recipe=content["recipe"],
                record=content["result"],
                losses=Measure.ratio(
                    LOSS, content["test_losses"]["nats"], content["test_losses"]["weights"]
                ),
                **content["experiment"],
            )
            for name, content in files.items()
            if "experiment" in content
        ]
        searches: dict[Any, Json] = {
            name.removeprefix("search-"): content
            for name, content in files.items()
            if "search" in content
        }
        trials.sort(key=lambda each: (each.seed, each.file))
        planned = tuple(files.get("planned", {}).get("planned", ()))
        similarity, sizes = files.get("similarity"), files.get("sizes")
        found.append(Found(place.name, tuple(trials), searches, similarity, planned, sizes))
    return found


def number(value: float | None) -> float:
    """A stored number: what was not finite is null in JSON."""
    return math.nan if value is None else value


def _mean_losses(trials: Sequence[Trial]) -> Measure:
    statistics = np.mean([each.losses.statistics for each in trials], axis=0)
    return Measure.ratio(LOSS, statistics[:, 0], statistics[:, 1])


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(
            f"{path} cannot be read ({error}). Delete it; the next run makes it again."
        ) from error

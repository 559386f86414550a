"""What a piece of work cost, seconds and peak memory by step; what running a model costs."""

from __future__ import annotations

import os
import platform
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from ffmerge_core.extras import is_there
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.batch import Batch, eval_mode
from ffmerge_core.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn

_SAMPLE_SECONDS = 0.02
_LIBRARIES = (
    "torch", "torchao", "transformers", "timm", "accelerate", "numpy", "scipy", "bitsandbytes",
)  # fmt: skip
_ROUNDS = 9
_ENOUGH_SECONDS = 1.0


class Cost:
    """Filled while work runs.

    seconds: by step. memory: by step, the peak in bytes, of the whole process; peak_memory:
    that of all the work.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, int] = {}
        self.peak_memory = 0
        self._step: str | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Steps follow one another; one that comes again adds to what it took."""
        start, self._step = time.perf_counter(), name
        self.sample()
        try:
            yield
        finally:
            self.sample()
            self._step = None
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - start

    def sample(self) -> None:
        """Look at the memory now."""
        import psutil

        now, step = psutil.Process(os.getpid()).memory_info().rss, self._step
        self.peak_memory = max(self.peak_memory, now)
        if step is not None:
            self.memory[step] = max(self.memory.get(step, 0), now)


@contextmanager
def measured() -> Iterator[Cost]:
    """Sample the resident memory while the block runs.

    Resident memory is the process's: model, libraries and interface included.
    """
    cost, done = Cost(), threading.Event()

    def sample() -> None:
        cost.sample()
        while not done.wait(_SAMPLE_SECONDS):
            cost.sample()

    sampler = threading.Thread(target=sample, name="memory", daemon=True)
    sampler.start()
    try:
        yield cost
    finally:
        done.set()
        sampler.join()


@dataclass(frozen=True)
class Latency:
    """What a forward pass of one batch takes.

    Attributes
    ----------
    seconds : float
        The median of the passes.
    per_second : float
        Of `unit`.
    unit : str
        "tokens", padding left out, or what the task calls its examples.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> fm.Latency(seconds=0.02, per_second=12_800.0, unit="images").unit
    'images'
    """

    seconds: float
    per_second: float
    unit: str


def latencies(
    models: Sequence[nn.Module], task: Task, report: Report = silent
) -> tuple[Latency, ...]:
    """Each model's, on the first batch of the validation split.

    They take turns, so that what else the machine does falls on all of them alike: on a busy
    one compare them with each other alone. A pass of each is not counted; then up to 9 are, as
    long as all together take about a second.
    """
    import torch

    batch = next(iter(task.inputs("validation")))
    n, unit = _amount(batch, task)
    taken: list[list[float]] = [[] for _ in models]
    start = time.perf_counter()
    for done in range(1 + _ROUNDS):
        if done > 1 and time.perf_counter() - start > _ENOUGH_SECONDS:
            break
        report(done, 1 + _ROUNDS, "passes of one batch", None)
        for model, seconds in zip(models, taken, strict=True):
            with eval_mode(model), torch.inference_mode():
                begun = time.perf_counter()
                batch.run(model)
                seconds.append(time.perf_counter() - begun)
    report(1 + _ROUNDS, 1 + _ROUNDS, "passes of one batch", None)
    medians = [statistics.median(seconds[1:]) for seconds in taken]
    return tuple(Latency(median, n / median, unit) for median in medians)


def _amount(batch: Batch, task: Task) -> tuple[int, str]:
    """How much is in a batch: real tokens of all stacks, or examples."""
    if batch.masks:
        return sum(int(mask.sum()) for mask in batch.masks.values()), "tokens"
    first = next(iter((*batch.args, *batch.kwargs.values())))
    return len(first), task.examples


def versions() -> dict[str, str]:
    """What a number depends on besides its recipe. threads: sums are rounded by their number."""
    import torch

    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["threads"] = str(torch.get_num_threads())
    return found | {name: version(name) for name in _LIBRARIES if is_there(name)}

"""What a piece of work cost: seconds by step and the process's peak memory."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

_SAMPLE_SECONDS = 0.02
_LIBRARIES = ("torch", "transformers", "timm", "numpy", "scipy")


class Cost:
    """Filled while work runs. seconds: by step. peak_memory: bytes, of the whole process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_memory = 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - start


@contextmanager
def measured() -> Iterator[Cost]:
    """Sample the resident memory while the block runs.

    Resident memory is the process's: model, libraries and interface included.
    """
    import psutil

    cost, process, done = Cost(), psutil.Process(os.getpid()), threading.Event()

    def sample() -> None:
        while True:
            cost.peak_memory = max(cost.peak_memory, process.memory_info().rss)
            if done.wait(_SAMPLE_SECONDS):
                return

    sampler = threading.Thread(target=sample, name="memory", daemon=True)
    sampler.start()
    try:
        yield cost
    finally:
        done.set()
        sampler.join()


def versions() -> dict[str, str]:
    """What a number depends on besides its recipe."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    return found | {name: version(name) for name in _LIBRARIES}

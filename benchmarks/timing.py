"""How the scripts of this folder time things and print them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

REPEATS = 5


@dataclass(frozen=True)
class Row:
    """A step's seconds, and a reference's from the same run."""

    step: str
    took: float
    reference: str = ""
    other: float | None = None


def seconds(work: Callable[[], object]) -> float:
    """The median of five, after one that is not counted."""
    work()
    return statistics.median(once(work) for _ in range(REPEATS))


def once(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matrix_rate(n: int = 1024) -> float:
    """Floating-point operations a second of a float32 matrix product."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    return 2 * n**3 / seconds(lambda: a @ b)


def copy_rate(n_bytes: int = 256_000_000) -> float:
    """Bytes a second of a copy in memory."""
    source = torch.ones(n_bytes // 4)
    target = torch.empty_like(source)
    return n_bytes / seconds(lambda: target.copy_(source))


def machine() -> str:
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )


def print_table(rows: Iterable[Row]) -> None:
    print(f"{'step':<36}{'seconds':>9}   {'reference':<20}{'seconds':>9}{'ratio':>8}")
    for row in rows:
        line = f"{row.step:<36}{row.took:9.3f}"
        if row.other is not None:
            line += f"   {row.reference:<20}{row.other:9.3f}{row.took / row.other:8.2f}"
        print(line)

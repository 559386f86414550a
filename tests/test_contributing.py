"""A newcomer can add a kind by CONTRIBUTING.md alone: its Python runs and prints what it says."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ffmerge_core.models.families import FAMILIES
from ffmerge_core.plan import METHODS
from ffmerge_core.tasks.kinds import TASKS
from ffmerge_core.tasks.metrics import METRICS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What the page registers is known in its test alone."""
    with METHODS.registered(), METRICS.registered(), TASKS.registered(), FAMILIES.registered():
        yield


def test_its_examples_run_from_top_to_bottom(forgotten: None) -> None:
    pairs = re.findall(r"^```python\n(.*?)^```\n(?:\n^```text\n(.*?)^```)?", PAGE, re.M | re.S)
    assert len(pairs) == 6
    names = {"__name__": "contributing"}
    for source, expected in pairs:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "CONTRIBUTING.md", "exec", dont_inherit=True), names)
        assert printed.getvalue() == expected


def test_every_place_that_it_names_exists() -> None:
    named = set(re.findall(r"(?<![\w/])(?:ffmerge_core|tests|docs|examples)/[\w/]+\.\w+", PAGE))
    assert len(named) > 10
    assert [place for place in sorted(named) if not (ROOT / place).is_file()] == []

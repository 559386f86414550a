"""The command line, called in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ffmerge_core.cli import app
from ffmerge_core.reporting.runs import RunStore

ROOT = Path(__file__).parents[2]
Call = Callable[..., Result]
Process = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of its own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FFMERGE_HOME", str(folder))
    return folder


@pytest.fixture
def store(home: Path) -> RunStore:
    home.mkdir()
    return RunStore(home)


@pytest.fixture
def ffmerge(home: Path) -> Call:
    """Calls a verb in this process."""

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(each) for each in arguments], prog_name="ffmerge")
        # What is not an exit is a traceback to the user.
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def process(home: Path) -> Process:
    """Calls a verb in a process of its own."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ffmerge_core.cli", *map(str, arguments)],
            capture_output=True, text=True, cwd=ROOT, env=environment(home), timeout=280,
        )  # fmt: skip

    return call


def environment(home: Path) -> dict[str, str]:
    # With as many threads as tests/conftest.py sets: other sums end in another digit.
    return {**os.environ, "FFMERGE_HOME": str(home)}

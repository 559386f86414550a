"""What is printed where."""

import io
import json
import sys
from pathlib import Path

import pytest

from ffmerge_core.cli.terminal import progress, say_json, say_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress() as report:
        report(1, 4, "Reading [tokens]")
    drawn = sys.stderr.getvalue()
    assert "Reading [tokens]" in drawn
    assert "25%" in drawn


def test_progress_is_silent_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as report:
        report(1, 4, "Reading tokens")
    assert capsys.readouterr() == ("", "")


def test_json_is_strict_and_keeps_every_digit(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": 0.1 + 0.2, "b": float("nan"), "c": [float("inf")], "d": Path("/x"), "é": 1e-300}
    say_json(value)
    text = capsys.readouterr().out
    assert "NaN" not in text
    assert json.loads(text) == {"a": 0.1 + 0.2, "b": None, "c": [None], "d": "/x", "é": 1e-300}


def test_a_table_is_neither_squeezed_nor_read_as_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    say_table(("name", "value"), [("[bold]" + "x" * 300, "1"), ("y :smile:", "1,000")])
    header, first, second = capsys.readouterr().out.splitlines()
    assert first == "[bold]" + "x" * 300 + "      1"
    assert second.split() == ["y", ":smile:", "1,000"]
    assert second.endswith("1,000")
    assert len(header) == len(first) == len(second)

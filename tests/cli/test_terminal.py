"""What is printed where."""

import ast
import io
import json
import re
import sys
from pathlib import Path

import pytest
import typer.main

import ffmerge_core
from ffmerge_core.cli import terminal
from ffmerge_core.cli.terminal import progress, say_json, say_table
from ffmerge_core.cli.verbs import app


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


def test_an_argument_that_an_error_names_is_said_as_the_option() -> None:
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    options = {each for one in commands for param in one.params for each in param.opts}
    core = Path(ffmerge_core.__file__).parent
    said = " ".join(
        text.value
        for path in core.rglob("*.py")
        for error in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(error, ast.Raise)
        for text in ast.walk(error)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    )
    named = re.findall(r'\b(?:([a-z_]+)=True|(task=)")', said)
    assert {("overwrite", ""), ("fidelity", ""), ("", "task=")} <= set(named)
    told = terminal._for_the_shell(said)
    for flag, _ in named:
        if f"--{flag}" in options:
            assert f"{flag}=True" not in told
    assert 'task="' not in told
    assert set(re.findall(r"--[a-z]+", "".join(terminal._OPTIONS.values()))) <= options

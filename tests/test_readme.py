"""The README's Python and its commands print what the README says they print."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ffmerge_core.models.families import FAMILIES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PYTHON = "The same walk in Python"
COMMANDS = "The same walk on the command line"


def block(section: str, language: str) -> str:
    found = re.search(
        rf"^## {section}$.*?^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found.group(1)


def test_the_walk_in_python_prints_its_figures() -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block(PYTHON, "python"), "README.md", "exec"), {})
    assert printed.getvalue() == block(PYTHON, "text")


@pytest.mark.timeout(900)
def test_the_walk_on_the_command_line_prints_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ffmerge_core.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FFMERGE_HOME", str(tmp_path / "home"))
    printed = {}
    for line in block(COMMANDS, "sh").splitlines():
        program, *arguments = shlex.split(line)
        assert program == "ffmerge"
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, f"{line}: {done.stderr}"
        printed[arguments[0]] = done.stdout
    # What each step took is the machine's affair.
    scores, *cost = printed["merge"].partition("\nWhat it cost")
    assert scores == block(COMMANDS, "text")
    assert "Milliseconds a batch" in "".join(cost)
    # The merge's own score is the one that its export has.
    (score,) = re.findall(r"accuracy +(\S+ \(.*?\))", printed["evaluate"])
    assert score in printed["merge"]


def test_what_the_demos_show_is_what_was_found() -> None:
    found = (ROOT / "docs/results.md").read_text("utf-8")
    (said,) = re.findall(r"^## What the demos show$(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    quoted = re.findall(r"^- (\S+): (.*?)(?=^- |^$)", said, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in quoted] == ["vit-digits", "gpt2-code", "marian-en-fr"]
    claim = "After tuning, a third removed is comparable to the original | third"
    for name, sentence in quoted:
        assert f"| {claim} | {name} | **holds** | {' '.join(sentence.split())} |" in found
    for claim in (
        "After tuning, permute is better than layer drop of as many parameters | all-but-one",
        "After tuning, the window matters little | third",
    ):
        held = re.findall(rf"^\| {re.escape(claim)} \| \S+ \| \*\*(.*?)\*\*", found, re.MULTILINE)
        assert held == ["does not hold"] * 3


def test_what_opens_are_the_families_that_there_are() -> None:
    (said,) = re.findall(r"^## What opens$(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|$", said, re.MULTILINE)[1:]
    named = [name.removesuffix(" (fidelity only)") for row in rows for name in row.split(", ")]
    assert sorted(named) == sorted(family.label for family in FAMILIES.values())


def test_the_walk_is_ten_lines() -> None:
    assert len([line for line in block(PYTHON, "python").splitlines() if line.strip()]) == 10


def test_every_file_that_is_linked_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (ROOT / target).is_file(), target

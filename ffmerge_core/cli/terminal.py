"""How the command line speaks: results on stdout; progress, notes and errors on stderr."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from typer.core import TyperGroup

from ffmerge_core.errors import Cancelled, FFMergeError, StorageError
from ffmerge_core.progress import Report, silent
from ffmerge_core.reporting.folders import reason, write_atomically
from ffmerge_core.tasks.metrics import metric

CANCELLED = 130  # as shells number a program that Ctrl-C ended
# A terminal wraps a wide table more legibly than rich squeezes one.
_WIDTH = 2_000
_OPTIONS = {"overwrite=True": "--overwrite", "fidelity=True": "--fidelity", 'task="': '--data "'}


class Verbs(TyperGroup):
    """A group of commands whose errors are told in a sentence, once for all of them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (Cancelled, KeyboardInterrupt):
            note("Cancelled.")
            raise typer.Exit(CANCELLED) from None
        except FFMergeError as error:
            note(_for_the_shell(" ".join(str(error).split())))
            raise typer.Exit(1) from None


def _for_the_shell(sentence: str) -> str:
    """A remedy that is an argument in Python is an option here."""
    for argument, option in _OPTIONS.items():
        sentence = sentence.replace(argument, option)
    return sentence


@contextmanager
def progress() -> Iterator[Report]:
    """A bar while the block runs, where someone is there to see it."""
    if not sys.stderr.isatty():
        yield silent
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("Starting", total=None)

        def report(
            step: int, total: int, message: str, values: Mapping[str, float] | None = None
        ) -> None:
            bar.update(shown, completed=step, total=total, description=message)

        yield report


@contextmanager
def stoppable_progress() -> Iterator[Report]:
    """As `progress`, for a recovery: the losses last heard of stand beside the bar.

    After the first Ctrl-C a report raises `Cancelled`, which keeps the best so far; a second
    one ends all.
    """
    pressed, known = threading.Event(), dict[str, float]()

    def press(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pressed.set()
        note("Stopping and keeping the best weights so far. Press Ctrl-C again to end at once.")

    before = signal.signal(signal.SIGINT, press)
    try:
        with progress() as bar:

            def report(
                step: int, total: int, message: str, values: Mapping[str, float] | None = None
            ) -> None:
                if pressed.is_set():
                    raise Cancelled("Cancelled: nothing was changed.")
                known.update(values or {})
                losses = (
                    f"{name} {metric('loss').text(value)}"
                    for name, value in known.items()
                    if name.endswith("loss")
                )
                bar(step, total, " · ".join((message, *losses)), values)

            yield report
    finally:
        signal.signal(signal.SIGINT, before)


def note(text: str) -> None:
    """A sentence beside the result."""
    typer.echo(text, err=True)


def say(text: str = "") -> None:
    """A line of the result."""
    typer.echo(text)


def say_json(value: Any) -> None:
    """The result as one JSON document: floats in full, NaN and infinity as null."""
    text = json.dumps(value, default=_as_text)
    strict = json.loads(text, parse_constant=lambda _: None)
    say(json.dumps(strict, indent=2, ensure_ascii=False))


def say_table(columns: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> None:
    """The first `left` columns to the left, the others to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right")
    for row in rows:
        table.add_row(*row)
    # No markup: a path may hold square brackets.
    console = Console(file=sys.stdout, width=_WIDTH, markup=False, emoji=False, highlight=False)
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        say(line.rstrip())


def write_text(path: Path, text: str) -> None:
    """Write a file that the user named, whole or not at all; raises `StorageError`."""
    try:
        write_atomically(path, text.encode())
    except StorageError as error:
        cause = error.__cause__
        said = reason(cause) if isinstance(cause, Exception) else str(error)
        raise StorageError(
            f"{path} cannot be written ({said}). Check that its folder exists, is writable and "
            "has room, or name another file."
        ) from error


def _as_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no place in a result")

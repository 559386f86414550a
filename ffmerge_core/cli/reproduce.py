"""The verb `reproduce`: the paper's claims, tried on the demos."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from ffmerge_core import demos
from ffmerge_core.cli.terminal import note, say
from ffmerge_core.errors import DataError

_RESULTS = Path("docs/results")
_QUICK = Path("build/results")
_QUICKEST = "vit-digits"

DemosArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="DEMO", help="A demo, such as vit-digits. Repeatable; all by default."),
]
QuickOption = Annotated[
    bool,
    typer.Option(
        "--quick",
        help=f"Only try that everything works, on {_QUICKEST}. Nothing can be concluded from it.",
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help=f"The file to write: {_RESULTS} by default, {_QUICK} with --quick.",
    ),
]


def reproduce(
    demo: DemosArgument = None, quick: QuickOption = False, out: FolderOption = None
) -> None:
    """Try the paper's claims and write what was found. If stopped, it continues when run again."""
    wanted = demo or ([_QUICKEST] if quick else demos.names())
    names = list(dict.fromkeys(name.removeprefix(demos.PREFIX) for name in wanted))
    if unknown := sorted(set(names) - set(demos.names())):
        raise DataError(f"There is no demo “{unknown[0]}”; there are {', '.join(demos.names())}.")
    folder = out or (_QUICK if quick else _RESULTS)
    failed: list[str] = []
    if len(names) > 1:
        failed = _side_by_side(names, ["--out", str(folder), *(["--quick"] if quick else [])])
    else:
        _reproduce_demo(names[0], quick, folder)
    from ffmerge_core.reproduction.writing import write

    if len(failed) < len(names):
        say(str(write(folder)))
    if failed:
        note(
            f"Not done: {', '.join(failed)}. Give the same command again to continue where it "
            "stopped."
        )
        raise typer.Exit(1)


def _reproduce_demo(name: str, quick: bool, folder: Path) -> None:
    from ffmerge_core.reproduction import experiments
    from ffmerge_core.reproduction.carrying_out import reproduce as results

    scope = experiments.quick(name) if quick else experiments.full(name)
    for result in results(scope, folder):
        note(f"{name}: {result}")


def _side_by_side(names: Sequence[str], options: Sequence[str]) -> list[str]:
    """Each demo in a process of its own, as many at once as there are cores: one thread each.

    The names of those whose process failed, or was killed.
    """
    command = [sys.executable, "-m", "ffmerge_core.cli", "reproduce", *options]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda name: subprocess.run([*command, name]).returncode, names)
        try:
            codes = list(done)
        except KeyboardInterrupt:
            # Those that run hear it themselves; the others are not begun.
            pool.shutdown(cancel_futures=True)
            raise
    return [name for name, code in zip(names, codes, strict=True) if code]

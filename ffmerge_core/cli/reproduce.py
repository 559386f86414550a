"""The verb `reproduce`: the paper's claims, tried on the demos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ffmerge_core import demos
from ffmerge_core.cli.terminal import note, say
from ffmerge_core.errors import DataError, StorageError
from ffmerge_core.reporting.folders import reason

_RESULTS = Path("docs/results")
_QUICK = Path("build/results")
_QUICKEST = "vit-digits"

DemosArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="DEMO", help="Such as vit-digits; by default all."),
]
QuickOption = Annotated[
    bool,
    typer.Option("--quick", help=f"See that it works, on {_QUICKEST}: nothing to conclude from."),
]
FolderOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help=f"{_RESULTS} by default; {_QUICK} with --quick."),
]


def reproduce(
    demo: DemosArgument = None, quick: QuickOption = False, out: FolderOption = None
) -> None:
    """Try the paper's claims and write what was found; stopped, it goes on where it was."""
    wanted = demo or ([_QUICKEST] if quick else demos.names())
    names = [name.removeprefix(demos.PREFIX) for name in wanted]
    if unknown := sorted(set(names) - set(demos.names())):
        raise DataError(f"There is no demo “{unknown[0]}”; there are {', '.join(demos.names())}.")
    folder = out or (_QUICK if quick else _RESULTS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be made ({reason(error)}). Name another folder with --out."
        ) from error
    from ffmerge_core.reproduction import experiments
    from ffmerge_core.reproduction.carrying_out import reproduce as results
    from ffmerge_core.reproduction.writing import write

    for name in names:
        scope = experiments.quick(name) if quick else experiments.full(name)
        for result in results(scope, folder):
            note(f"{name}: {result}")
        say(str(write(folder)))

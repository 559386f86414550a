"""The verb `app`: the dashboard, served on this machine."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from ffmerge_core.errors import StorageError

_PACKAGE = Path(__file__).parents[1]

PortOption = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65_535, help="The port to serve on, 8501 by default."),
]


def dashboard(context: typer.Context, port: PortOption = None) -> None:
    """Serve the dashboard on this machine. Other options go to Streamlit."""
    chosen = [] if port is None else ["--server.port", str(port)]
    # In this process, as `streamlit run` would: Ctrl-C reaches it. The core imports no
    # Streamlit; this runs the program.
    sys.argv = ["streamlit", "run", str(script()), *chosen, *context.args]
    runpy.run_module("streamlit", run_name="__main__", alter_sys=True)


def script() -> Path:
    """app.py, its settings beside it: inside the package as installed, above it in a checkout."""
    for folder in (_PACKAGE / "dashboard", _PACKAGE.parent):
        if (folder / "app.py").is_file() and (folder / ".streamlit" / "config.toml").is_file():
            return folder / "app.py"
    raise StorageError(f"{_PACKAGE} holds no dashboard. Install the package again.")

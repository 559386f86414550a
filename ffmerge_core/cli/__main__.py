"""`python -m ffmerge_core.cli`, where the `ffmerge` script is not on the path."""

from ffmerge_core.cli import app

app(prog_name="ffmerge")

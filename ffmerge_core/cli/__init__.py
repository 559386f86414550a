"""The command line: the app's walk without a browser, with the same numbers.

No module here imports torch before a verb needs it, so that help and the cards come at once.
"""

from ffmerge_core.cli.verbs import app

__all__ = ["app"]

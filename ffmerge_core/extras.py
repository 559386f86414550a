"""Packages that not everyone needs, and the extra of this distribution that brings each."""

from __future__ import annotations

from importlib.util import find_spec

from ffmerge_core.errors import FFMergeError, MissingPackageError

# As in pyproject.toml; a test holds them equal.
EXTRAS = {
    "accelerate": "recover",
    "babel": "translation",
    "bitsandbytes": "llm-int8",
    "datasets": "datasets",
    "num2words": "translation",
    "peft": "recover",
    "sacrebleu": "translation",
    "torchao": "int8",
}


def is_there(package: str) -> bool:
    """Whether a package is installed; it is not imported."""
    return find_spec(package) is not None


def require(package: str, what: str, error: type[FFMergeError] = MissingPackageError) -> None:
    """Raise `error`, saying what to install, if a package of an extra is absent.

    what: needs it, as a sentence begins: "A recovery".
    """
    if not is_there(package):
        raise error(
            f"{what} needs {package}, which is not installed. Install it: pip install "
            + (f'"ffmerge[{EXTRAS[package]}]".' if package in EXTRAS else f"{package}.")
        )

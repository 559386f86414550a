"""transformers, asked for one of its own classes, and kept quiet meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ffmerge_core.errors import SourceError, UnsupportedModelError


def transformers_class(folder: Path, config: dict[str, Any]) -> tuple[Any, Any]:
    """The class that config.json names, and the configuration as transformers reads it."""
    import transformers

    classes = config.get("architectures") or []
    one = isinstance(classes, list) and len(classes) == 1
    found = getattr(transformers, str(classes[0]), None) if one else None
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        named = ", ".join(map(str, classes)) or "no class named"
        raise UnsupportedModelError(
            f"{folder} holds a {config['model_type']} model ({named}), and transformers itself has "
            "no class of that name. Code that comes with a model never runs here. Save it as one "
            "of transformers' own classes."
        )
    kind: Any = found
    try:
        settings = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever a wrong config.json makes of a constructor
        raise cannot_open(folder, error) from None
    if not isinstance(settings, kind.config_class):
        raise SourceError(
            f"{folder / 'config.json'} describes a {config['model_type']} model but names the "
            f"class {classes[0]}. Save the model again."
        )
    return kind, settings


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars on the terminal, and no report: a callback and a sentence say it here."""
    from transformers.utils import logging

    library: Any = logging  # its functions have no annotations
    shown, verbosity = library.is_progress_bar_enabled(), library.get_verbosity()
    library.disable_progress_bar()
    library.set_verbosity_error()
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        if shown:
            library.enable_progress_bar()


def cannot_open(folder: Path, error: Exception) -> SourceError:
    return SourceError(f"transformers cannot open {folder}: {one_line(error)}")


def one_line(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    if "above report" in said:
        # A table on the terminal, which was not shown.
        return "its weights cannot be converted to the names that transformers has today"
    return said

"""Where this program keeps its files, and how it writes one."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path

from platformdirs import user_data_path

from ffmerge_core.errors import StorageError


def chosen_folder() -> Path:
    """FFMERGE_HOME where that is set, else the user's data folder of this system."""
    chosen = os.environ.get("FFMERGE_HOME")
    return Path(chosen) if chosen else user_data_path("ffmerge")


def data_folder() -> Path:
    """The chosen folder, for run history and exports, made if absent.

    Raises `StorageError` if it cannot be made or written.
    """
    folder = chosen_folder()
    try:
        folder = folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError) as error:  # RuntimeError: a "~name" without a home
        raise StorageError(
            f"The data folder {folder} cannot be made or written ({reason(error)}). "
            "Make it writable, or set FFMERGE_HOME to a folder that is."
        ) from error
    return folder


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: readers see the old content or the new.

    Raises `StorageError` if it cannot be written; then `path` is as it was.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written ({reason(error)}). Check that its folder exists, is "
            "writable and has room, or set FFMERGE_HOME to another folder."
        ) from error
    finally:
        _remove(draft)


def reason(error: Exception) -> str:
    """What went wrong, without Python's error number."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _remove(draft: Path) -> None:
    try:
        draft.unlink(missing_ok=True)
    except OSError:
        # Where nothing could be made, nothing is left; the first error is the one to tell.
        return

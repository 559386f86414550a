"""Files that a browser sent, kept where a recipe that names one finds it again."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from ffmerge_core.errors import StorageError
from ffmerge_core.reporting.folders import data_folder, reason, write_atomically

FOLDER = "uploads"
LONGEST_NAME = 100


def keep(name: str, content: bytes) -> Path:
    """Store a file once under the hash of its content; returns where.

    name: as the browser sent it; only its last part is used, without what is no file name
    everywhere. Raises `StorageError` if it cannot be written.
    """
    folder = data_folder() / FOLDER / sha256(content).hexdigest()[:16]
    path = folder / safe_name(name)
    if path.is_file() and path.stat().st_size == len(content):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be made ({reason(error)}). Make room, or give a path instead."
        ) from error
    write_atomically(path, content)
    return path


def safe_name(name: str) -> str:
    """ "C:\\texts\\my novel?.txt" -> "my novel_.txt"; the ending is kept, readers go by it."""
    last = re.split(r"[/\\]", name)[-1]
    tidy = re.sub(r"[^\w.\- ]", "_", last).strip(" .")
    stem, dot, ending = tidy.rpartition(".")
    if not stem:
        stem, dot, ending = tidy, "", ""
    return stem[: LONGEST_NAME - 20] + dot + ending[:20] if tidy else "data"

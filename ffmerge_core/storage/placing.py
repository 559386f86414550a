"""Writing a folder whole, or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ffmerge_core.errors import FFMergeError, StorageError


@contextmanager
def placed(target: Path, mark: str, overwrite: bool) -> Iterator[Path]:
    """A draft folder beside `target` that takes its place when the block ends well.

    mark: a file that every folder of this kind holds; `overwrite` replaces such a folder
    alone. Whatever goes wrong, `target` is as it was and no draft is left.
    Raises `StorageError` if the target is taken, or for anything that cannot be written.
    """
    _refuse_taken(target, mark, overwrite)
    draft = _hidden(target, "tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        with called(draft, str(target)):
            yield draft
        _flush(draft)
        _put_in_place(draft, target)
    except FFMergeError:
        raise
    except Exception as error:  # safetensors and tokenizers raise nothing narrower
        raise StorageError(
            f"{target} cannot be written ({_reason(error).replace(str(draft), str(target))}). "
            "Check that its folder is writable and has room, or choose another."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def called(folder: Path, name: str) -> Iterator[None]:
    """Errors from within say `name` for a folder that nobody else knows, and that is gone by then.

    Raises what was raised, in those words.
    """
    try:
        yield
    except FFMergeError as error:
        if str(folder) not in str(error):
            raise
        raise type(error)(str(error).replace(str(folder), name)) from None


def size_on_disk(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _refuse_taken(target: Path, mark: str, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise StorageError(f"{target} is a file. Give a folder that is new or empty.")
    if not any(target.iterdir()) or (overwrite and (target / mark).is_file()):
        return
    if overwrite:
        # A wrong path must not cost somebody a folder of another kind.
        raise StorageError(
            f"{target} holds files but no {mark}, so it was not written here and is not replaced. "
            "Give a folder that is new or empty."
        )
    raise StorageError(
        f"{target} is not empty. Give another folder, or overwrite=True to replace the model in it."
    )


def _put_in_place(draft: Path, target: Path) -> None:
    if not target.exists():
        draft.rename(target)
        return
    old = _hidden(target, "old")
    target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _flush(draft: Path) -> None:
    """Wait until every file is on the disk."""
    for path in draft.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def _hidden(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.{kind}")


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())

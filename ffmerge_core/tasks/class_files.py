"""A file that says which of a model's classes a folder or a label is: classes.tsv or classes.json.

For folders that are named in another way than the model's classes, such as by synsets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ffmerge_core.errors import DataError

NAMES = ("classes.tsv", "classes.json")
MAX_BYTES = 20_000_000


@dataclass(frozen=True)
class ClassFile:
    """name: of the file. said: folder or label → the model's name of its class, or its number."""

    name: str
    said: dict[str, str | int]


def read_class_file(path: Path) -> ClassFile:
    """Read a file of classes by the ending of its name. Raises `DataError` if it is damaged."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Check its permissions.") from error
    return class_file(path.name, content)


def class_file(name: str, content: bytes) -> ClassFile:
    """What a file of classes says: lines of folder, tab, class; or an object of JSON.

    Raises `DataError`, which names the line, for what is neither.
    """
    if len(content) > MAX_BYTES:
        raise DataError(f"{name} is larger than {MAX_BYTES // 1_000_000} MB. Check that it is it.")
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise DataError(f"{name} is not UTF-8 text. Save it as UTF-8.") from None
    said = _from_json(name, text) if name.lower().endswith(".json") else _from_lines(name, text)
    if not said:
        raise DataError(f"{name} is empty; a line for each folder was expected.")
    return ClassFile(name, said)


def class_file_among(names: Sequence[str], data: str) -> str | None:
    """Which of the files of a folder or zip is one: beside the class folders, never inside one.

    Raises `DataError` if there are two.
    """
    tops = {name.split("/")[0] for name in names}
    beside = 1 if len(tops) > 1 else 2  # a zip often has one folder around all others
    found = [
        name for name in names if name.split("/")[-1] in NAMES and len(name.split("/")) <= beside
    ]
    if len(found) > 1:
        raise DataError(
            f"{data} has {' and '.join(found)}, and one of them is enough. Remove the other."
        )
    return found[0] if found else None


def _from_json(name: str, text: str) -> dict[str, str | int]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not JSON ({error}). Write it again.") from None
    if not isinstance(found, dict) or not all(type(each) in (str, int) for each in found.values()):
        raise DataError(
            f"{name} holds something else than a name or number for each folder; "
            '{"n01440764": "tench", "n01443537": 1} was expected.'
        )
    return found


def _from_lines(name: str, text: str) -> dict[str, str | int]:
    said: dict[str, str | int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        columns = [column.strip() for column in line.split("\t")]
        if len(columns) != 2 or not all(columns):
            raise DataError(
                f"{name}, line {number} is “{line[:100]}”; a folder, a tab, and the model's name "
                "or number of its class were expected."
            )
        if columns[0] in said:
            raise DataError(f"{name}, line {number} names {columns[0]} again. Remove one line.")
        said[columns[0]] = columns[1]
    return said

"""A user's own text: documents for a language model, sentence pairs for a translator.

Nothing but the content decides an example's split, so the same file is always split the
same way and a repeated example never stands in two splits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.batch import Split

MIN_EXAMPLES = 10
MAX_TEXT_BYTES = 200_000_000

_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_ARCHIVES = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"})
_IMAGES = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class OwnTexts:
    """Documents of one source, in its order.

    revision: SHA-256 of the file, or of what was read. notes: how it was read, where that was not
    the whole of one file.
    """

    name: str
    texts: Mapping[Split, tuple[str, ...]]
    revision: str
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnPairs:
    """(source, target) or (label, text) of one source, in its order.

    revision, notes: as `OwnTexts` has them. classes: the data's names of its classes, in its own
    numbering, if it has one.
    """

    name: str
    pairs: Mapping[Split, tuple[tuple[str, str], ...]]
    revision: str
    notes: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None


def splits_by_hash(keys: Sequence[str], of: str = "The data") -> dict[Split, list[int]]:
    """Positions of the keys of each split, ascending: 80, 10 and 10 % of the different keys.

    The different keys are taken in the order of their SHA-256, so equal keys share a split.
    Raises `DataError`, which calls the data `of`, where fewer than 10 keys are different.
    """
    order = sorted(set(keys), key=lambda key: sha256(key.encode()).digest())
    n = len(order)
    if n < MIN_EXAMPLES:
        raise DataError(
            f"{of} has {n} different example{'' if n == 1 else 's'}; the training, validation and "
            f"test splits together need at least {MIN_EXAMPLES}. Add more."
        )
    rank = {key: position for position, key in enumerate(order)}
    splits: dict[Split, list[int]] = {"train": [], "validation": [], "test": []}
    for position, key in enumerate(keys):
        share = rank[key] * 10 // n
        split: Split = "train" if share < 8 else "validation" if share < 9 else "test"
        splits[split].append(position)
    return splits


def read_texts(path: str | Path) -> OwnTexts:
    """The documents of a UTF-8 text file: blocks between blank lines.

    A file of fewer than 10 different blocks is taken line by line instead. Raises `DataError`
    if it is absent, not text, over 200 MB, or has fewer than 10 different lines.
    """
    path = Path(path)
    text, revision = _read(path)
    blocks = (block.strip("\n") for block in _BLANK_LINES.split(text))
    documents = [block for block in blocks if block.strip()]
    if len(set(documents)) < MIN_EXAMPLES:
        documents = [line for line in text.split("\n") if line.strip()]
    splits = splits_by_hash(documents, path.name)
    return OwnTexts(
        name=path.name,
        texts={split: tuple(documents[i] for i in chosen) for split, chosen in splits.items()},
        revision=revision,
    )


def read_pairs(path: str | Path) -> OwnPairs:
    """The sentence pairs of a UTF-8 file: source, tab, target, a pair a line, no header.

    Quotes are characters like any other; spaces around a sentence are dropped. Pairs of equal
    source share a split. Raises `DataError` if the file is absent, not text, over 200 MB, has
    fewer than 10 different sources, or a line (which it names) is not a pair.
    """
    return _read_columns(path, "source sentence", "translation", key=0)


def read_labelled(path: str | Path) -> OwnPairs:
    """The (label, text) pairs of a UTF-8 file: label, tab, text, one a line, no header.

    Equal texts share a split, whatever their labels. Raises `DataError` as `read_pairs` does.
    """
    return _read_columns(path, "label", "text", key=1)


def _read_columns(path: str | Path, first: str, second: str, key: int) -> OwnPairs:
    """Two columns of a file, by what they hold; key: the column whose content decides the split."""
    path = Path(path)
    text, revision = _read(path)
    # Only newlines: a last line of a lone tab is a pair without its sentences.
    lines = text.rstrip("\n").split("\n")
    pairs = [
        _pair(line, f"{path.name}, line {number}", (first, second))
        for number, line in enumerate(lines, start=1)
    ]
    splits = splits_by_hash([pair[key] for pair in pairs], path.name)
    return OwnPairs(
        name=path.name,
        pairs={split: tuple(pairs[i] for i in chosen) for split, chosen in splits.items()},
        revision=revision,
    )


def _pair(line: str, where: str, names: tuple[str, str]) -> tuple[str, str]:
    columns = [column.strip() for column in line.split("\t")]
    if len(columns) != 2:
        found = f"has {len(columns)} column{'' if len(columns) == 1 else 's'}"
        raise DataError(
            f"{where} {found if line.strip() else 'is empty'}; 2 separated by a tab were expected, "
            f"the {names[0]} and the {names[1]}."
        )
    if not all(columns):
        raise DataError(
            f"{where} has an empty {names[columns.index('')]}; something on both sides of the tab "
            "was expected. Complete or delete the line."
        )
    return columns[0], columns[1]


def _read(path: Path) -> tuple[str, str]:
    """The text of a file, newlines as \\n and without byte order mark, and its SHA-256 in hex."""
    content = _content(path)
    name = path.name
    if not content.strip():
        raise DataError(f"{name} is empty; a text file with examples was expected.")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{name} is UTF-16 text; UTF-8 was expected. Save it as UTF-8.")
    zero = content.find(0)
    if zero >= 0:
        raise DataError(
            f"{name} has a NUL byte at offset {zero:,}, so it is not a text file; UTF-8 text was "
            "expected. Take another file, or save it as UTF-8."
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name} is not UTF-8 text: line {line:,} has the byte 0x{content[error.start]:02x} at "
            f"offset {error.start:,} of the file. Save it as UTF-8."
        ) from error
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text, sha256(content).hexdigest()


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise DataError(f"{path} is a folder; a text file was expected. Name a file inside it.")
    if not path.exists():
        raise DataError(f"{path} does not exist. Check the path of the text file.")
    if not path.is_file():
        # A pipe would block and a device never end.
        raise DataError(f"{path} is not an ordinary file; a text file was expected.")
    if path.suffix.lower() in _ARCHIVES | _IMAGES:
        raise DataError(
            f"{path.name} is an archive or image by its name; UTF-8 text was expected. Unpack it, "
            "or take another file."
        )
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Check its permissions.") from error
    if len(content) > MAX_TEXT_BYTES:
        raise DataError(
            f"{path.name} is larger than {MAX_TEXT_BYTES // 1_000_000} MB, the most that is read. "
            "Take a part of it."
        )
    return content

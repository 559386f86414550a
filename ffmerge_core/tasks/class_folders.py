"""Which of a model's classes a folder of images is: by name, by number, or by order."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ffmerge_core.errors import DataError

# How folders were matched to classes, in words.
OWN_NAMES = "by the model's own names"
NUMBERS = "by the numbers that the folders bear"
ORDER = "by the order of the folders' names, because the model names no classes"

_LISTED = 8


@dataclass(frozen=True)
class ClassFolders:
    """Folders matched to classes.

    classes: a name for each class, in the model's numbering, no two alike. number: folder → the
    number of its class. by: how they were matched, one of the sentences above.
    """

    classes: tuple[str, ...]
    number: Mapping[str, int]
    by: str


def match_folders(
    folders: Sequence[str], classes: Sequence[str] | None, n_classes: int | None, data: str
) -> ClassFolders:
    """Match the folders of `data` to the classes of a model.

    folders: different names, in order. classes: the model's own names in its numbering, if it has
    any. n_classes: how many it tells apart, if known.

    The model's own names go first. A name may be spelled with composed or with decomposed letters,
    as file systems do. Then numbers, and last the order of the folders, which is a guess that
    `by` tells. Raises `DataError` where folders fit no class, or one of several.
    """
    if classes is None:
        return _without_names(folders, n_classes, data)
    places: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(classes):
        places[_composed(name)].append(place)
    unknown = [folder for folder in folders if _composed(folder) not in places]
    if not unknown:
        number = {folder: _one(folder, places[_composed(folder)]) for folder in folders}
        return ClassFolders(_distinct(classes), number, OWN_NAMES)
    numbers = _numbers(folders)
    if numbers and max(numbers.values()) < len(classes):
        return ClassFolders(_distinct(classes), numbers, NUMBERS)
    # Two names that look alike are shown by their code points.
    seem = {_seeming(name) for name in classes}
    alike = _seeming(unknown[0]) in seem
    found, known = (ascii(unknown[0]), _listed([*map(ascii, classes)])) if alike else (
        unknown[0], _listed(classes),
    )  # fmt: skip
    raise DataError(
        f"{data} has the class folder {found}, which the model does not know. It knows "
        f"{known}. Name the folders after these, or all by number from 0 to "
        f"{len(classes) - 1:,}."
    )


def _without_names(folders: Sequence[str], n_classes: int | None, data: str) -> ClassFolders:
    numbers = _numbers(folders)
    if n_classes is not None and numbers and max(numbers.values()) < n_classes:
        names = tuple(str(number) for number in range(n_classes))
        return ClassFolders(names, numbers, NUMBERS)
    merged = {_composed(folder) for folder in folders}
    if n_classes is not None and len(merged) != n_classes:
        raise DataError(
            f"{data} has {len(merged)} class folders ({_listed(folders)}); the model tells "
            f"{n_classes:,} classes apart and names none of them, so it needs a folder for each. "
            "Add or remove folders, or name them by number from 0."
        )
    # Numbers may have leading zeros: "007" and "7" are two folders of one number.
    ordered = sorted(merged, key=lambda name: (numbers.get(name, 0), name))
    place = {name: index for index, name in enumerate(ordered)}
    return ClassFolders(
        tuple(ordered),
        {folder: place[_composed(folder)] for folder in folders},
        ORDER,
    )


def _one(folder: str, places: Sequence[int]) -> int:
    if len(places) == 1:
        return places[0]
    *first, last = (f"{place:,}" for place in places)
    raise DataError(
        f"The model has {len(places)} classes called “{folder}”: numbers {', '.join(first)} and "
        f"{last}. The name does not tell them apart. Name all folders by number, such as {last}."
    )


def _distinct(classes: Sequence[str]) -> tuple[str, ...]:
    """The names, with its number behind each that is not the only one of its kind."""
    composed = [_composed(name) for name in classes]
    return tuple(
        name if composed.count(key) == 1 else f"{name} ({place})"
        for place, (name, key) in enumerate(zip(classes, composed, strict=True))
    ) if len(set(composed)) < len(composed) else tuple(classes)  # fmt: skip


def _numbers(folders: Sequence[str]) -> dict[str, int]:
    """The number that each folder bears; empty if any bears none."""
    # Nine digits are more classes than any model's; int() refuses thousands of them.
    if all(re.fullmatch("[0-9]{1,9}", folder) for folder in folders):
        return {folder: int(folder) for folder in folders}
    return {}


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _seeming(name: str) -> str:
    """What a reader sees of a name: without what has no width, and with plain letters."""
    plain = unicodedata.normalize("NFKC", name)
    return "".join(each for each in plain if unicodedata.category(each) != "Cf").strip()


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _LISTED:
        return ", ".join(names)
    return f"{', '.join(names[:_LISTED])}, … ({len(names):,} in all)"

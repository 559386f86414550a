"""Which of a model's classes a folder of images or a label is: by name, number, or order."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ffmerge_core.errors import DataError

# How they were matched, in words; what is not by names is a guess that users hear of.
OWN_NAMES = "by the model's own names"
NUMBERS = "by the numbers that the {}s bear"
ORDER = "by the order of the {}s' names, because the model names no classes"
DATA_NUMBERS = "by the numbers that the data gives its classes"
BY_FILE = "by {}"

FOLDER, LABEL = "class folder", "label"
_LISTED = 8


@dataclass(frozen=True)
class Matched:
    """Folders or labels matched to classes.

    classes: a name for each class, in the model's numbering, no two alike. number: folder or
    label → the number of its class. by: how they were matched, one of the sentences above.
    """

    classes: tuple[str, ...]
    number: Mapping[str, int]
    by: str


def match_classes(
    found: Sequence[str],
    classes: Sequence[str] | None,
    n_classes: int | None,
    data: str,
    called: str = FOLDER,
) -> Matched:
    """Match what names the classes in `data` to those of a model; it may hold a few of them alone.

    found: different names, in order; called: FOLDER or LABEL. classes: the model's own names in
    its numbering, if it has any. n_classes: how many it tells apart, if known.

    The model's own names go first. A name may be spelled with composed or with decomposed letters,
    as file systems do. Then numbers, and last the order of the names found. Raises `DataError`
    where one fits no class, or one of several.
    """
    if classes is None:
        return _without_names(found, n_classes, data, called)
    places: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(classes):
        places[_composed(name)].append(place)
    unknown = next((name for name in found if _composed(name) not in places), None)
    if unknown is None:
        number = {name: _one(name, places[_composed(name)], called) for name in found}
        return Matched(_distinct(classes), number, OWN_NAMES)
    if any_case := _in_any_case(found, classes):
        return Matched(_distinct(classes), any_case, OWN_NAMES)
    numbers = _numbers(found)
    if numbers and max(numbers.values()) < len(classes):
        return Matched(_distinct(classes), numbers, NUMBERS.format(called))
    # Names that look alike are shown by their code points.
    show = ascii if _seeming(unknown) in {_seeming(name) for name in classes} else str
    raise DataError(
        f"{data} has the {called} {show(unknown)}, which the model does not know. It knows "
        f"{_listed([show(name) for name in classes])}. Name the {called}s after these, or all by "
        f"number from 0 to {len(classes) - 1:,}."
    )


def match_by_file(
    found: Sequence[str],
    said: Mapping[str, str | int],
    classes: Sequence[str] | None,
    n_classes: int | None,
    data: str,
    file: str,
    called: str = FOLDER,
) -> Matched:
    """Match by what a file says: folder or label → the model's name of its class, or its number.

    found, classes, n_classes, data, called: as `match_classes` takes them. said, file: what the
    file holds, and its name. A name that the model has goes before a number in digits. Raises
    `DataError` for a folder of which the file says nothing, or no class of the model's.
    """
    n = n_classes if classes is None else len(classes)
    places: dict[str, list[int]] = defaultdict(list)
    for index, each in enumerate(classes or ()):
        places[_composed(each)].append(index)
    entries = {_composed(name): meant for name, meant in said.items()}
    number = {}
    for name in found:
        if (meant := entries.get(_composed(name))) is None:
            raise DataError(
                f"{file} does not say which class the {called} {name} of {data} is. Add a line "
                "for it."
            )
        if isinstance(meant, str) and _composed(meant) in places:
            number[name] = _one(meant, places[_composed(meant)], called)
            continue
        place = int(meant) if re.fullmatch("[0-9]{1,9}", str(meant)) else -1
        if place < 0 or (n is not None and place >= n):
            known = f"It knows {_listed(classes)}. " if classes else ""
            last = "" if n is None else f" to {n - 1:,}"
            raise DataError(
                f"{file} says that the {called} {name} is “{meant}”, which is no class of the "
                f"model. {known}Give one of its names, or a number from 0{last}."
            )
        number[name] = place
    if classes is None:
        classes = [str(place) for place in range(n or max(number.values()) + 1)]
    return Matched(_distinct(classes), number, BY_FILE.format(file))


def match_numbers(
    own: Sequence[str], classes: Sequence[str] | None, n_classes: int | None, data: str
) -> Matched:
    """Match the classes of data that numbers them to those of the same numbers.

    own: the data's names of its classes, in its numbering. Raises `DataError` where it has more
    than the model.
    """
    n = n_classes if classes is None else len(classes)
    if n is not None and len(own) > n:
        raise DataError(
            f"{data} numbers {len(own):,} classes, and the model tells {n:,} apart. Say which is "
            "which in a classes.tsv."
        )
    more = [str(place) for place in range(len(own), n or len(own))]
    names = [*own, *more] if classes is None else classes
    number = {name: place for place, name in enumerate(own)}
    return Matched(_distinct(names), number, DATA_NUMBERS)


def _in_any_case(found: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """By names that differ in capitals alone; empty where one is unknown, or two are alike."""
    places = {_composed(name).casefold(): place for place, name in enumerate(classes)}
    folded = [_composed(name).casefold() for name in found]
    if (
        len(places) < len(classes)
        or len(set(folded)) < len(found)
        or not places.keys() >= {*folded}
    ):
        return {}
    return dict(zip(found, (places[name] for name in folded), strict=True))


def _without_names(found: Sequence[str], n_classes: int | None, data: str, called: str) -> Matched:
    numbers = _numbers(found)
    if n_classes is not None and numbers and max(numbers.values()) < n_classes:
        names = tuple(str(number) for number in range(n_classes))
        return Matched(names, numbers, NUMBERS.format(called))
    merged = {_composed(name) for name in found}
    if n_classes is not None and len(merged) != n_classes:
        raise DataError(
            f"{data} has {len(merged)} {called}s ({_listed(found)}); the model tells "
            f"{n_classes:,} classes apart and names none of them, so it needs a {called} for each. "
            "Add or remove some, or name them by number from 0."
        )
    # Numbers may have leading zeros: "007" and "7" are two names of one number.
    ordered = sorted(merged, key=lambda name: (numbers.get(name, 0), name))
    place = {name: index for index, name in enumerate(ordered)}
    number = {name: place[_composed(name)] for name in found}
    return Matched(tuple(ordered), number, ORDER.format(called))


def _one(name: str, places: Sequence[int], called: str) -> int:
    if len(places) == 1:
        return places[0]
    *first, last = (f"{place:,}" for place in places)
    raise DataError(
        f"The model has {len(places)} classes called “{name}”: numbers {', '.join(first)} and "
        f"{last}. The name does not tell them apart. Name all {called}s by number, such as {last}."
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

"""English sentences with their French: templates of ours, filled with CLDR's language data.

A sentence is one to three clauses. Sentence `index` of a split is the same wherever the
versions of Babel and num2words are: it is made from its own seed when it is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import overload

from ffmerge_core.demos.marian_en_fr.clauses import CLAUSES, TEXTS
from ffmerge_core.demos.marian_en_fr.values import Both, Values
from ffmerge_core.tasks.batch import Split

SIZES: dict[Split, int] = {"train": 60_000, "validation": 1_000, "test": 1_000}

_JOINTS: tuple[Both, ...] = (
    (", and ", ", et "),
    (", but ", ", mais "),
    ("; ", " ; "),
    (", so ", ", donc "),
    (", because ", ", car "),
)


@dataclass(frozen=True)
class Pair:
    """A sentence with its reference translation. values: what it was filled with."""

    english: str
    french: str
    values: tuple[str, ...]


def pair(split: Split, index: int) -> Pair:
    """Sentence `index` of a split, with its translation."""
    values = Values(split, f"{split} {index}")
    english, french = _opening(values)
    count = values.one_of((1, 1, 2, 2, 2, 3))
    for position in range(count):
        if position:
            english, french = _joined((english, french), values.one_of(_JOINTS))
        clause = values.one_of(CLAUSES)(values)
        english, french = english + clause[0], french + clause[1]
    return Pair(_sentence(english), _sentence(french), tuple(values.keys))


def pairs(split: Split, count: int | None = None) -> list[Pair]:
    """The first `count` sentences of a split, or all of them."""
    return [pair(split, index) for index in range(SIZES[split] if count is None else count)]


class Sentences(Sequence[tuple[str, str]]):
    """A split's (English, French) sentences, each made when it is asked for."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return SIZES[self._split]

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, str]]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, str] | Sequence[tuple[str, str]]:
        chosen = range(len(self))[index]
        if isinstance(chosen, int):
            made = pair(self._split, chosen)
            return made.english, made.french
        return [self[each] for each in chosen]


@cache
def corpus_hash() -> str:
    """SHA-256 of the validation and test sentences and the first thousand training ones.

    It changes with CLDR's data (that is, with Babel) and num2words.
    """
    digest = hashlib.sha256()
    for split in ("train", "validation", "test"):
        for each in pairs(split, 1_000):
            digest.update(f"{each.english}\t{each.french}\n".encode())
    return digest.hexdigest()


def _opening(values: Values) -> Both:
    if values.chance(0.7):
        return "", ""
    if values.chance(0.5):
        date = values.date()
        return f"on {date[0]}, ", f"le {date[1]}, "
    text = values.one_of(TEXTS)
    return f"according to {text[0]}, ", f"selon {text[1]}, "


def _joined(said: Both, joint: Both) -> Both:
    return said[0] + joint[0], said[1] + joint[1]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."

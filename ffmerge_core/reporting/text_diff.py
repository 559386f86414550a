"""Where two texts differ, word by word. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Span:
    """A piece of a text. changed: the other text has something else here, or nothing."""

    text: str
    changed: bool


Spans = tuple[Span, ...]


def word_diff(before: str, after: str) -> tuple[Spans, Spans]:
    """Both texts as spans whose changed parts are runs of whole words.

    A word is a run of letters and digits, or one other sign. White space alone is no change.
    """
    words = [list(_WORD.finditer(text)) for text in (before, after)]
    old, new = ([word.group() for word in each] for each in words)
    changed: tuple[list[tuple[int, int]], ...] = ([], [])
    for kind, *ends in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        for side, (first, stop) in enumerate((ends[:2], ends[2:])):
            if first < stop:
                place = words[side][first].start(), words[side][stop - 1].end()
                changed[side].append(place)
    return _spans(before, changed[0]), _spans(after, changed[1])


def parting(one: str, other: str) -> tuple[Spans, Spans]:
    """Both texts as what they begin with alike and, changed, all that follows.

    The cut is at the start of the word in which they part, every character counted.
    """
    pairs = enumerate(zip(one, other, strict=False))
    at = next((at for at, (here, there) in pairs if here != there), min(len(one), len(other)))
    while at and any(_inside_word(text, at) for text in (one, other)):
        at -= 1
    return _from(one, at), _from(other, at)


def _inside_word(text: str, at: int) -> bool:
    return bool(re.fullmatch(r"\w\w", text[at - 1 : at + 1]))


def _from(text: str, at: int) -> Spans:
    return _spans(text, [(at, len(text))] if at < len(text) else [])


def _spans(text: str, changed: Sequence[tuple[int, int]]) -> Spans:
    """The whole text; changed: (start, stop) in rising order."""
    spans, done = [], 0
    for start, stop in changed:
        spans += [Span(text[done:start], False), Span(text[start:stop], True)]
        done = stop
    spans.append(Span(text[done:], False))
    return tuple(span for span in spans if span.text)

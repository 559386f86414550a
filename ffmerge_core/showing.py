"""How a value shows itself: a short line in a console, a table in a notebook. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

LONGEST = 200


def line(value: object, said: str) -> str:
    """`Class(what matters)`, of 200 characters at most."""
    text = f"{type(value).__name__}({said})"
    # What is left out is in the middle: the end of a path tells more than its beginning.
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}…{text[1 - half :]}"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; every text in it is foreign and is escaped."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def rounded(number: float) -> str:
    """Four digits that count: 0.98607 -> "0.9861"."""
    return f"{number:.4g}"


def figure(value: float, interval: tuple[float, float]) -> str:
    """A value with the ends of its interval: "0.9861 (0.9721 to 0.9972)"."""
    low, high = map(rounded, interval)
    return f"{rounded(value)} ({low} to {high})"

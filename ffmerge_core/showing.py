"""How a value shows itself: a short line in a console, a table in a notebook. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

LONGEST = 200


def line(value: object, said: str) -> str:
    """`Class(what matters)`, of 200 characters at most."""
    text = f"{type(value).__name__}({said})"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]}…)"


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

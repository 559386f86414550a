"""Kinds: what there are several of (methods, tasks, metrics, families, …), one record each.

A record says all that anyone asks of its kind: pages, command line, search, figures and docs
read it, and none of them lists kinds by itself. The order of the records is the order
everywhere. Pure: reading records imports no model library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from reprlib import repr as clipped
from typing import Any, Generic, TypeAlias, TypeVar

from ffmerge_core.errors import FFMergeError

# A function, or "package.module:function" where importing it costs something.
Work: TypeAlias = Callable[..., Any] | str


@dataclass(frozen=True)
class Kind:
    """What every record says: of a method, a family, a task, a metric.

    Parameters
    ----------
    name : str
        As recipes, options and tables write it.
    label : str
        For reading, such as "Permute".
    help : str
        One sentence.
    source : str, optional
        The paper or project that it is from.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> kind = fm.Kind("permute", "Permute", "Aligns neurons, then averages.")
    >>> kind.line
    'Permute: aligns neurons, then averages'
    """

    name: str
    label: str
    help: str
    source: str = ""

    @property
    def said(self) -> str:
        """Its sentence within another: "aligns neurons, then averages"."""
        return _lower(self.help).removesuffix(".")

    @property
    def line(self) -> str:
        """ "Permute: aligns neurons, then averages"."""
        return f"{self.label}: {self.said}"

    @property
    def sentence(self) -> str:
        """In Markdown: "**Permute** aligns neurons, then averages."."""
        return f"**{self.label}** {_lower(self.help)}"


K = TypeVar("K", bound=Kind)


class Kinds(Mapping[str, K], Generic[K]):
    """Records by name, in their order.

    what: what a record describes, for errors. error: the class of those.
    """

    def __init__(self, what: str, error: type[FFMergeError], records: Iterable[K] = ()) -> None:
        self.what, self._error = what, error
        self._records: dict[str, K] = {}
        for record in records:
            self.register(record)

    def __getitem__(self, name: str) -> K:
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def of(self, name: str) -> K:
        """The record of a name; an error that lists the known ones if there is none."""
        # What is no text may be no key either.
        if not isinstance(name, str) or name not in self._records:
            known = f"it must be one of {', '.join(self)}" if self._records else "none is known"
            raise self._error(f"{self.what} is {clipped(name)}; {known}.")
        return self._records[name]

    def register(self, record: K) -> K:
        """Add a record at the end. Raises this kind's error if its name is taken."""
        if record.name in self._records:
            raise self._error(f"There is a {self.what} called {record.name!r} already.")
        self._records[record.name] = record
        return record

    @contextmanager
    def registered(self, *records: K) -> Iterator[None]:
        """These records too, and those that the block registers, until it ends."""
        before = dict(self._records)
        try:
            for record in records:
                self.register(record)
            yield
        finally:
            self._records = before


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def resolve(work: Work) -> Callable[..., Any]:
    """The function that a record names, imported when it is needed first."""
    if not isinstance(work, str):
        return work
    module, _, name = work.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function

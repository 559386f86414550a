"""What every kind of reduction has in common: plans that share nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Self

from ffmerge_core.checks import expect
from ffmerge_core.errors import PlanError
from ffmerge_core.plan.mergeable import Mergeable
from ffmerge_core.plan.methods import Plan
from ffmerge_core.plan.values import fields_of


class Reduction(Plan):
    """A plan of one kind of reduction: a dataclass whose first field names FF sublayers.

    A class of your own says `kind` and `method`, which `register_method` makes known, and `unfit`:
    why a model has no plan of this kind, where it has none.

    Attributes
    ----------
    names : tuple of str
        The FF sublayers that it changes.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> isinstance(fm.DropLayers(("encoder.3",)), fm.Reduction)
    True
    """

    unfit: ClassVar[str]

    def __post_init__(self) -> None:
        first = fields(self)[0].name  # type: ignore[arg-type]
        object.__setattr__(self, first, _names(first, getattr(self, first)))

    @property
    def names(self) -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(self, fields(self)[0].name)  # type: ignore[arg-type]
        return found

    def check(self, sublayers: Sequence[Mergeable]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        unshared(self.names, sublayers)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; refuses unknown kinds and fields."""
        values = {name: value for name, value in data.items() if name != "method"}
        return cls(**fields_of(cls, values, kind=cls.kind))


class Windowed(Reduction):
    """A reduction of adjacent layers: where they are is a choice, which a search makes.

    A class of your own says `spared`: how many layers a stack keeps.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> fm.DropLayers.over(["encoder.3", "encoder.4"])
    DropLayers(layers=('encoder.3', 'encoder.4'))
    """

    spared: ClassVar[int] = 0

    @classmethod
    def over(cls, names: Sequence[str]) -> Self:
        """The plan for a window."""
        return cls(tuple(names))  # type: ignore[call-arg]


class Sized(Reduction):
    """A reduction that takes evenly from many sublayers: how much is a choice.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> fm.Factor.sizes(model.sublayers)
    range(1, 52)
    >>> fm.Factor.of_size(["encoder.3"], 8)
    Factor(sublayers=('encoder.3',), rank=8)
    """

    @classmethod
    def sizes(cls, sublayers: Sequence[Mergeable]) -> range:
        """The sizes that it can have, from the one that leaves least; empty where it is unfit."""
        raise NotImplementedError

    @classmethod
    def of_size(cls, names: Sequence[str], size: int) -> Self:
        """The plan of a size."""
        return cls(tuple(names), size)  # type: ignore[call-arg]


def named(names: Sequence[str], sublayers: Sequence[Mergeable]) -> list[Mergeable]:
    """The sublayers of these names, in layer order; `PlanError` for unknown or repeated ones."""
    known = {sublayer.name for sublayer in sublayers}
    seen: set[str] = set()
    for name in names:
        if name not in known:
            raise PlanError(f"{name} is not an FF sublayer of this model.")
        if name in seen:
            raise PlanError(f"{name} is named twice. Name each sublayer once.")
        seen.add(name)
    return [sublayer for sublayer in sublayers if sublayer.name in seen]


def unshared(names: Sequence[str], sublayers: Sequence[Mergeable]) -> list[Mergeable]:
    """As `named`; `PlanError` for those that share weights, which one alone cannot change."""
    found = named(names, sublayers)
    for each in found:
        if each.tied:
            raise PlanError(
                f"{each.name} shares its weights with {', '.join(each.tied)} already, so it cannot "
                "be made smaller by itself. Name sublayers that share none."
            )
    return found


def _names(what: str, names: Sequence[str]) -> tuple[str, ...]:
    expect(PlanError, **{what: (names, Collection[str])})
    if not len(names):
        raise PlanError(f"{what} names none, so nothing would be done. Name one or more.")
    return tuple(names)

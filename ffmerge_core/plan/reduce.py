"""Plans that make a model smaller without sharing: what merging is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from ffmerge_core.errors import PlanError
from ffmerge_core.plan.merge import Mergeable
from ffmerge_core.plan.values import fields_of, whole


class Reducible(Mergeable, Protocol):
    """What these plans need to know of an FF sublayer beside what merging does."""

    @property
    def biases(self) -> tuple[bool, bool]: ...
    @property
    def gated(self) -> bool: ...
    @property
    def norm(self) -> str | None: ...
    @property
    def alone(self) -> str | None: ...
    @property
    def matrices(self) -> tuple[tuple[int, int], ...]: ...


class _Reduction:
    """kind: as stored. method: for reading. needs_features: whether it is chosen from data."""

    kind: ClassVar[str]
    method: ClassVar[str]
    needs_features: ClassVar[bool] = False

    def to_dict(self) -> dict[str, Any]:
        # The method says what the kind does already; tables of stored runs read it.
        return {"kind": self.kind, "method": self.method, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def _fields(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        values = {name: value for name, value in data.items() if name != "method"}
        return fields_of(cls, values, kind=cls.kind)


@dataclass(frozen=True)
class DropLayers(_Reduction):
    """Whole blocks left out, attention included; those that stay are numbered anew.

    layers: named by their FF sublayers, such as "encoder.3". A stack keeps one at least.
    """

    layers: tuple[str, ...]
    kind = "drop-layers"
    method = "layer drop"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", _names("layers", self.layers))

    def check(self, sublayers: Sequence[Reducible]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        for each in _named(self.layers, sublayers):
            if each.alone is not None:
                raise PlanError(
                    f"The layer of {each.name} cannot be dropped: it alone holds {each.alone}, "
                    f"by which the other layers of {each.stack} may live. Drop others."
                )
        for stack in dict.fromkeys(sublayer.stack for sublayer in sublayers):
            if all(each.name in self.layers for each in sublayers if each.stack == stack):
                raise PlanError(f"Every layer of {stack} would be dropped; it must keep one.")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DropLayers:
        """Inverse of `to_dict`; refuses unknown kinds and fields."""
        return cls(**cls._fields(data))


@dataclass(frozen=True)
class DropFF(_Reduction):
    """FF sublayers deleted: nothing is added to the residual where they stood."""

    sublayers: tuple[str, ...]
    kind = "drop-ff"
    method = "FF drop"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sublayers", _names("sublayers", self.sublayers))

    def check(self, sublayers: Sequence[Reducible]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        _named(self.sublayers, sublayers)

    def parameters_removed(self, sublayers: Sequence[Reducible]) -> int:
        """All that these sublayers hold."""
        return sum(each.n_parameters for each in _named(self.sublayers, sublayers))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DropFF:
        """Inverse of `to_dict`; refuses unknown kinds and fields."""
        return cls(**cls._fields(data))


@dataclass(frozen=True)
class Factor(_Reduction):
    """Each stored matrix (W_in, W_out, a gate) replaced by its best product of rank `rank`.

    Truncated SVD; biases stay. A gate packed with W_in is factored with it, as one matrix.
    """

    sublayers: tuple[str, ...]
    rank: int
    kind = "factor"
    method = "SVD"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sublayers", _names("sublayers", self.sublayers))
        whole("rank", self.rank, 1)

    def check(self, sublayers: Sequence[Reducible]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        for sublayer in _named(self.sublayers, sublayers):
            if self.rank > (most := self.most(sublayer)):
                shapes = " and ".join(f"{rows} × {columns}" for rows, columns in sublayer.matrices)
                raise PlanError(
                    f"Rank {self.rank} saves nothing in {sublayer.name}, whose matrices are "
                    f"{shapes}: a product of that rank is as big. Rank {most} is the highest that "
                    "saves something."
                )

    def parameters_removed(self, sublayers: Sequence[Reducible]) -> int:
        """rows × columns − rank × (rows + columns), summed over the matrices."""
        return sum(
            rows * columns - self.rank * (rows + columns)
            for each in _named(self.sublayers, sublayers)
            for rows, columns in each.matrices
        )

    @staticmethod
    def most(sublayer: Reducible) -> int:
        """The highest rank at which every matrix of a sublayer gets smaller; 0 if none is."""
        return min((rows * columns - 1) // (rows + columns) for rows, columns in sublayer.matrices)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Factor:
        """Inverse of `to_dict`; refuses unknown kinds and fields."""
        return cls(**cls._fields(data))


@dataclass(frozen=True)
class Narrow(_Reduction):
    """Each sublayer keeps its `width` neurons of the largest share in the output.

    A neuron's share is the norm of its activation over the calibration tokens times the
    norm of its column of W_out. Only plain sublayers: with a gate or an inner norm, what W_out
    receives is not among the features.
    """

    sublayers: tuple[str, ...]
    width: int
    kind = "narrow"
    method = "narrow"
    needs_features = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "sublayers", _names("sublayers", self.sublayers))
        whole("width", self.width, 1)

    def check(self, sublayers: Sequence[Reducible]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        for sublayer in _named(self.sublayers, sublayers):
            if not self.suits(sublayer):
                raise PlanError(
                    f"{sublayer.name} has a gate or an inner norm, and which of its neurons matter "
                    "cannot be told from the features. Narrow plain sublayers only."
                )
            if self.width >= sublayer.d_ff:
                raise PlanError(
                    f"{sublayer.name} has {sublayer.d_ff} neurons, so keeping {self.width} saves "
                    f"nothing. Keep {sublayer.d_ff - 1} or fewer."
                )

    def parameters_removed(self, sublayers: Sequence[Reducible]) -> int:
        """A row of W_in, an entry of b_in and a column of W_out for every neuron that goes."""
        return sum(
            each.n_parameters - self.parameters_left(each)
            for each in _named(self.sublayers, sublayers)
        )

    def parameters_left(self, sublayer: Reducible) -> int:
        """Those of one sublayer. b_out belongs to no neuron."""
        shared = sublayer.d_model if sublayer.biases[1] else 0
        return shared + (sublayer.n_parameters - shared) // sublayer.d_ff * self.width

    @staticmethod
    def suits(sublayer: Reducible) -> bool:
        """Whether its features tell what W_out receives."""
        return not sublayer.gated and sublayer.norm is None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Narrow:
        """Inverse of `to_dict`; refuses unknown kinds and fields."""
        return cls(**cls._fields(data))


Reduction = DropLayers | DropFF | Factor | Narrow


def _names(what: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise PlanError(f"{what} is {names!r}; a list of names such as encoder.3 was expected.")
    if not names:
        raise PlanError(f"{what} names none, so nothing would be done. Name one or more.")
    return tuple(names)


def _named(names: Sequence[str], sublayers: Sequence[Reducible]) -> list[Reducible]:
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

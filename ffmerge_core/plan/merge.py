"""Groups of FF sublayers that are merged into one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, get_args

from ffmerge_core.errors import PlanError
from ffmerge_core.plan.values import fields_of, one_of, whole

Method = Literal["permute", "vanilla", "copy", "random"]
Anchor = Literal["first", "middle", "last"]


class Mergeable(Protocol):
    """What a plan needs to know of an FF sublayer (`models.sublayers.FFSublayer` has it)."""

    @property
    def name(self) -> str: ...
    @property
    def stack(self) -> str: ...
    @property
    def shape(self) -> tuple[object, ...]: ...
    @property
    def d_model(self) -> int: ...
    @property
    def d_ff(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...


@dataclass(frozen=True)
class MergePlan:
    """Groups of FF sublayers, each replaced by one tied sublayer.

    groups: names such as ("encoder.3", "encoder.4"), two or more a group, in any order.
    method: "permute" aligns neurons, then averages (Verma et al., arXiv 2501.06126);
        "vanilla" averages without aligning; "copy" ties all to the anchor, no averaging;
        "random" ties all to fresh weights with the members' mean and deviation.
    anchor: which member, in layer order, the others are aligned to (or copied from).
        "middle" of an even group is the earlier of the two.
    seed: of method "random".
    """

    groups: tuple[tuple[str, ...], ...]
    method: Method = "permute"
    anchor: Anchor = "first"
    seed: int = 0
    kind = "merge"

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(tuple(group) for group in self.groups))
        one_of("method", self.method, get_args(Method))
        one_of("anchor", self.anchor, get_args(Anchor))
        whole("seed", self.seed, 0)

    @property
    def uses_anchor(self) -> bool:
        """Whether the anchor matters: an average of all and a fresh draw have none."""
        return self.method in ("permute", "copy")

    @property
    def needs_features(self) -> bool:
        """Whether it is carried out by what the model does on data, or by its weights alone."""
        return self.method == "permute"

    @property
    def n_removed(self) -> int:
        """FF sublayers whose parameters go away: k − 1 for each group of k."""
        return sum(len(group) - 1 for group in self.groups)

    def check(self, sublayers: Sequence[Mergeable]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        check_groups(self.groups, sublayers)

    def parameters_removed(self, sublayers: Sequence[Mergeable]) -> int:
        """Parameters saved by tying, exactly (k − 1) sublayers a group."""
        size = {sublayer.name: sublayer.n_parameters for sublayer in sublayers}
        return sum(size[group[0]] * (len(group) - 1) for group in self.groups)

    def anchor_of(self, group: Sequence[str]) -> str:
        """The anchor's name; `group` in layer order."""
        position = {"first": 0, "middle": (len(group) - 1) // 2, "last": len(group) - 1}
        return group[position[self.anchor]]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MergePlan:
        """Inverse of `to_dict`; refuses unknown kinds and fields."""
        values = fields_of(cls, data, kind=cls.kind)
        return cls(**values)


# The control: what tuning or int8 does to the original itself.
NOTHING_MERGED = MergePlan((), method="vanilla")


def check_groups(groups: Sequence[Sequence[str]], sublayers: Sequence[Mergeable]) -> None:
    """Raise `PlanError` for unknown, lone, repeated, overlapping or unequal members."""
    known = {sublayer.name: sublayer for sublayer in sublayers}
    owner: dict[str, int] = {}
    for number, group in enumerate(groups, start=1):
        for name in group:
            if name not in known:
                raise PlanError(f"{name} is not an FF sublayer of this model.")
            if owner.get(name) == number:
                raise PlanError(f"{name} is twice in group {number}. Name each sublayer once.")
            if name in owner:
                raise PlanError(
                    f"{name} is already in group {owner[name]}. A sublayer can be in one group "
                    "only: edit or remove that group first."
                )
            owner[name] = number
        if len(group) < 2:
            raise PlanError(
                f"Group {number} has {len(group)} sublayer{'' if len(group) == 1 else 's'}. "
                "A group needs at least two to merge."
            )
        _check_alike([known[name] for name in group])


def in_layer_order(group: Sequence[str], sublayers: Sequence[Mergeable]) -> tuple[str, ...]:
    """The same names, ordered as the model runs them."""
    members = set(group)
    return tuple(sublayer.name for sublayer in sublayers if sublayer.name in members)


def _check_alike(members: Sequence[Mergeable]) -> None:
    first = members[0]
    for other in members[1:]:
        if other.stack != first.stack:
            raise PlanError(
                f"{first.name} and {other.name} are in different stacks; a group stays in one "
                "stack. Make one group for each."
            )
        for what, here, there in (
            ("widths d_ff", first.d_ff, other.d_ff),
            ("model widths", first.d_model, other.d_model),
        ):
            if here != there:
                raise PlanError(
                    f"{first.name} and {other.name} have {what} {here} and {there}; a group needs "
                    "equal widths. Split the group."
                )
        if other.shape != first.shape:
            raise PlanError(
                f"{first.name} and {other.name} are built differently (activation, gate, biases or "
                "inner norm); a group needs sublayers of one kind. Split the group."
            )

"""Groups of FF sublayers that are merged into one each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ffmerge_core.checks import as_found, expect, one_of
from ffmerge_core.errors import PlanError
from ffmerge_core.palette import BLUE, GREEN, ORANGE, PURPLE
from ffmerge_core.plan.mergeable import Mergeable
from ffmerge_core.plan.methods import METHODS, Mark, Merge, Owned, Plan
from ffmerge_core.plan.reduction import Sized, Windowed
from ffmerge_core.plan.registry import merges
from ffmerge_core.plan.repairs import REPAIRS
from ffmerge_core.plan.values import keep_whole

Anchor = Literal["first", "middle", "last"]
ANCHORS: tuple[Anchor, ...] = get_args(Anchor)
_GROUP = 'A group is such as ("encoder.3", "encoder.4").'


@dataclass(frozen=True)
class MergePlan(Plan):
    """Groups of FF sublayers, each replaced by one tied sublayer.

    Parameters
    ----------
    groups : tuple of tuple of str
        Names such as ("encoder.3", "encoder.4"), two or more a group, in any order, of one stack.
    method : str, default "permute"
        The name of a record of a `Merge`, which says what it does. "permute" is the paper's
        (Verma et al., arXiv 2501.06126): it aligns neurons, then averages.
    anchor : {"first", "middle", "last"}, default "first"
        Which member, in layer order, the others are aligned to (or copied from). "middle" of an
        even group is the earlier of the two; the authors' code takes the later.
    seed : int, default 0
        Of a method that draws at random.
    repair : str, optional
        What is done to the shared sublayers after the merge, by the name of its record.

    Raises
    ------
    PlanError
        For groups that are no groups, and unknown methods or anchors.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> three = fm.MergePlan(groups=(("encoder.3", "encoder.4", "encoder.5"),))
    >>> three.n_removed, three.needs_features
    (2, True)
    >>> model = fm.load("demo:vit-digits")
    >>> three.parameters_removed(model.sublayers)
    66176
    """

    groups: tuple[tuple[str, ...], ...]
    method: str = "permute"
    anchor: Anchor = "first"
    seed: int = 0
    repair: str | None = None
    kind = "merge"

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", _grouped(self.groups))
        one_of(PlanError, "method", self.method, merges())
        one_of(PlanError, "anchor", self.anchor, ANCHORS)
        keep_whole(self, "seed", 0)
        if self.repair is not None:
            REPAIRS.of(self.repair)

    @property
    def uses_anchor(self) -> bool:
        """Whether the anchor matters: an average of all and a fresh draw have none."""
        return "anchor" in self.record.needs

    @property
    def aligns(self) -> bool:
        """Whether its method matches neurons."""
        return "features" in self.record.needs

    @property
    def needs_features(self) -> bool:
        """Whether its method or its repair is carried out by what the model does on data."""
        repairs = REPAIRS[self.repair].needs if self.repair is not None else frozenset()
        return self.aligns or "features" in repairs

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for group in self.groups for name in group)

    @property
    def n_removed(self) -> int:
        """k − 1 for each group of k."""
        return sum(len(group) - 1 for group in self.groups)

    @property
    def detail(self) -> str:
        drawn = f", seed {self.seed}" if "seed" in self.record.needs and self.seed else ""
        repaired = f", repaired by {self.repair}" if self.repair else ""
        return (f", anchor {self.anchor}" if self.uses_anchor else "") + drawn + repaired

    def check(self, sublayers: Sequence[Mergeable]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        check_groups(self.groups, sublayers)

    def parameters_removed(self, sublayers: Sequence[Mergeable], owned: Owned | None = None) -> int:
        """Parameters saved by tying: (k − 1) sublayers a group, less what was tied before."""
        named = {sublayer.name: sublayer for sublayer in sublayers}
        return sum(
            sum(named[name].n_parameters - named[name].n_shared for name in group)
            - named[group[0]].n_parameters
            for group in self.groups
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        values = super().to_dict()
        if self.repair is None:
            # A recipe is known by what it says: one without a repair says nothing of it.
            del values["repair"]
        return values

    def anchor_of(self, group: Sequence[str]) -> str:
        """The anchor's name; `group` in layer order."""
        position = {"first": 0, "middle": (len(group) - 1) // 2, "last": len(group) - 1}
        return group[position[self.anchor]]


METHODS.register(
    Merge(
        name="permute",
        label="Permute",
        help="Aligns neurons, then averages (the paper's method).",
        source="Verma, Murray & Duh, arXiv 2501.06126",
        plan=MergePlan,
        mark=Mark(BLUE, "circle"),
        needs=frozenset({"anchor", "features"}),
        usual=True,
        merge="ffmerge_core.compression.merge_methods:permuted_average",
    )
)
METHODS.register(
    Merge(
        name="vanilla",
        label="Vanilla",
        help="Averages the weights as they are, without aligning neurons.",
        source="The paper's baseline",
        plan=MergePlan,
        mark=Mark(ORANGE, "square"),
        usual=True,
        merge="ffmerge_core.compression.merge_methods:average",
    )
)
METHODS.register(
    Merge(
        name="copy",
        label="Copy",
        help="Gives every layer of a group the anchor's weights.",
        plan=MergePlan,
        mark=Mark(GREEN, "diamond"),
        needs=frozenset({"anchor"}),
        usual=True,
        merge="ffmerge_core.compression.merge_methods:copy_of_anchor",
    )
)
METHODS.register(
    Merge(
        name="random",
        label="Random",
        help="Gives every layer of a group the same new random weights.",
        plan=MergePlan,
        mark=Mark(PURPLE, "x"),
        needs=frozenset({"seed"}),
        merge="ffmerge_core.compression.merge_methods:random_draw",
    )
)


def rivals(budget: Plan | int) -> tuple[str, ...]:
    """The methods that a plan, or a number of parameters, is compared with: all but its own.

    Without groups no neurons are aligned: which window to permute is found by a search.
    """
    own = budget.method if isinstance(budget, Plan) else None
    # A plan that is neither of a place nor of a size cannot be fitted to a number of parameters.
    fitted = {
        name: record
        for name, record in METHODS.items()
        if name != own and issubclass(record.plan, MergePlan | Windowed | Sized)
    }
    if isinstance(budget, MergePlan):
        return tuple(fitted)
    return tuple(
        name
        for name, record in fitted.items()
        if not (isinstance(record, Merge) and "features" in record.needs)
    )


def check_groups(groups: Sequence[Sequence[str]], sublayers: Sequence[Mergeable]) -> None:
    """Raise `PlanError` for unknown, lone, repeated, overlapping, unequal or parted members."""
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
        _check_whole([known[name] for name in group])


def in_layer_order(group: Sequence[str], sublayers: Sequence[Mergeable]) -> tuple[str, ...]:
    """The same names, ordered as the model runs them."""
    members = set(group)
    return tuple(sublayer.name for sublayer in sublayers if sublayer.name in members)


def _grouped(groups: object) -> tuple[tuple[str, ...], ...]:
    """Groups of names as tuples; says what was meant where a bracket was forgotten."""
    if not isinstance(groups, Sequence) or isinstance(groups, str):
        raise PlanError(
            f"groups is {as_found(groups)}; a list of groups of names was expected, such as "
            '(("encoder.3", "encoder.4"),).'
        )
    lone = [each for each in groups if isinstance(each, str)]
    if len(lone) > 1 and len(lone) == len(groups):
        meant = "((" + ", ".join(f'"{each}"' for each in lone) + "),)"
        raise PlanError(
            f"groups holds the names {', '.join(lone)}, where groups of names were expected. Put "
            f"each group in brackets of its own: groups={meant}."
        )
    if lone:
        raise PlanError(
            f"{', '.join(lone)} in groups is a name, and a group of two or more names was "
            'expected, such as ("encoder.3", "encoder.4").'
        )
    for each in groups:
        expect(PlanError, _GROUP, group=(each, Collection[str]))
    return tuple(tuple(group) for group in groups)


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


def _check_whole(members: Sequence[Mergeable]) -> None:
    """Sublayers that share weights already are merged together: no half of a weight can change."""
    names = {member.name for member in members}
    for member in members:
        if parted := [name for name in member.tied if name not in names]:
            raise PlanError(
                f"{member.name} shares its weights with {', '.join(member.tied)} already, and "
                f"{', '.join(parted)} is not in its group. Put all that share into one group, or "
                "none of them."
            )


# The control: what tuning or int8 does to the original itself.
NOTHING_MERGED = MergePlan((), method="vanilla")

"""Plans, and the methods that they are of: every way to make a model smaller, a record each.

A record is registered beside the class of its plans: merges in `plan.merge`, what they are
compared with in `plan.reduce`, in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from reprlib import repr as clipped
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

from ffmerge_core.errors import PlanError
from ffmerge_core.kinds import Kind, Kinds, Work
from ffmerge_core.palette import NEUTRAL
from ffmerge_core.plan.mergeable import Mergeable
from ffmerge_core.plan.values import fields_of

# anchor: one member of a group that the others follow. features: what the sublayers do on
# calibration data. seed: of a random draw.
Need: TypeAlias = Literal["anchor", "features", "seed"]
# A module's path in the model → the parameters under it.
Owned: TypeAlias = Callable[[str], int]


class Plan:
    """What is done to a model: a frozen value that can be stored and replayed.

    `MergePlan`, `DropLayers`, `DropFF`, `Factor` and `Narrow` are plans; `apply` carries one out.

    Attributes
    ----------
    record : Method
        What there is to say of its method.
    needs_features : bool
        Whether it is carried out by what the model does on data, or by its weights alone.
    names : tuple of str
        The FF sublayers that it changes.
    n_removed : int
        FF sublayers of which no parameter of their own is left.
    detail : str
        What its name says after the layers: ", rank 3".

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> plan = fm.DropLayers(("encoder.3", "encoder.4"))
    >>> isinstance(plan, fm.Plan), plan.names
    (True, ('encoder.3', 'encoder.4'))
    >>> fm.DropLayers.from_dict(plan.to_dict()) == plan
    True
    """

    kind: ClassVar[str]
    method: str

    @property
    def record(self) -> Method:
        """Its method's record."""
        return METHODS.of(self.method)

    @property
    def needs_features(self) -> bool:
        """Whether it is carried out by what the model does on data, or by its weights alone."""
        return "features" in self.record.needs

    @property
    def names(self) -> tuple[str, ...]:
        """The FF sublayers that it changes."""
        raise NotImplementedError

    @property
    def n_removed(self) -> int:
        """FF sublayers of which no parameter of their own is left."""
        return 0

    @property
    def detail(self) -> str:
        """What its name says after the layers: ", rank 3"."""
        return ""

    def check(self, sublayers: Sequence[Mergeable]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        raise NotImplementedError

    def parameters_removed(self, sublayers: Sequence[Mergeable], owned: Owned) -> int:
        """Parameters that a checked plan takes away. owned: asked for whole modules that go."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        # The method stands beside the kind even where it follows from it: tables read it.
        return {"kind": self.kind, "method": self.method, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; refuses unknown kinds and fields."""
        return cls(**fields_of(cls, data, kind=cls.kind))


class Mark(NamedTuple):
    """How a method is drawn: "#rrggbb", and the name of a plotly symbol."""

    colour: str
    symbol: str


UNMARKED = Mark(NEUTRAL, "cross")


@dataclass(frozen=True, kw_only=True)
class Method(Kind):
    """One way to make a model smaller.

    Attributes
    ----------
    name, label, help, source : str
        As recipes write it; for reading; one sentence; the paper or project that it is from.
    plan : type
        The class of its plans.
    mark : Mark
        Its colour and symbol on charts.
    needs : frozenset of {"anchor", "features", "seed"}
        What it cannot do without.
    portable : bool
        Whether plain transformers and timm can build what it leaves.
    searched, usual : bool
        Whether a search of windows may try it, and does by default.
    int8 : bool
        Whether the weights of what it leaves can be rounded.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> permute = fm.MergePlan(groups=(("encoder.3", "encoder.4"),)).record
    >>> permute.label, sorted(permute.needs)
    ('Permute', ['anchor', 'features'])
    """

    plan: type[Plan]
    mark: Mark = UNMARKED
    needs: frozenset[Need] = frozenset()
    portable: bool = True
    searched: bool = False
    usual: bool = False
    int8: bool = True


@dataclass(frozen=True, kw_only=True)
class Merge(Method):
    """A method of `MergePlan`.

    Beside what every `Method` says:

    Parameters
    ----------
    merge : callable or str
        A `Group` → the shared sublayer's weights, by role, in new tensors; or where that function
        is, as "package.module:function".

    See Also
    --------
    register_method : Makes one known.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> record = fm.MergePlan(groups=(("encoder.3", "encoder.4"),), method="copy").record
    >>> isinstance(record, fm.Merge), record.searched
    (True, True)
    """

    merge: Work
    searched: bool = True


@dataclass(frozen=True, kw_only=True)
class Reduce(Method):
    """A method with plans of its own, which share nothing.

    Beside what every `Method` says:

    Parameters
    ----------
    lay_out : callable or str
        (module, family, sublayers, plan) → the FF sublayers that are left; it changes the module in
        place, without values. Or where that function is, as "package.module:function".
    fill : callable or str, optional
        (original, reduced, sublayer, plan, feats) gives one sublayer its values; None where nothing
        is left to fill.

    See Also
    --------
    register_method : Makes one known.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> record = fm.Factor(("encoder.3",), rank=8).record
    >>> isinstance(record, fm.Reduce), record.portable
    (True, False)
    """

    lay_out: Work
    fill: Work | None = None


class Methods(Kinds[Method]):
    """Methods by name. What contradicts itself, or what is here, is refused."""

    def register(self, record: Method) -> Method:
        """Add a record at the end; `PlanError` if it does not fit the others, or its own plans."""
        said = record.plan.kind, record.plan
        for other in self.values():
            if other.plan.kind == said[0] and other.plan is not said[1]:
                raise PlanError(
                    f"Plans of kind {said[0]!r} are those of method {other.name!r} already. Give "
                    f"{record.plan.__name__} a kind of its own."
                )
        if isinstance(record, Reduce):
            own = getattr(record.plan, "method", None)
            if own != record.name:
                raise PlanError(
                    f"The record {record.name!r} has plans that say method {own!r}. Call both "
                    "alike."
                )
            if record.searched and not hasattr(record.plan, "over"):
                raise PlanError(
                    f"Method {record.name!r} cannot be searched: a search tries windows, and its "
                    "plans are not `Windowed`."
                )
        return super().register(record)


METHODS = Methods("method", PlanError)


def merges() -> tuple[str, ...]:
    """The names of the methods that merge, in order."""
    return tuple(name for name, record in METHODS.items() if isinstance(record, Merge))


def searched() -> tuple[str, ...]:
    """The names of the methods that a search of windows may try, in order."""
    return tuple(name for name, record in METHODS.items() if record.searched)


def plan_from_dict(data: Mapping[str, Any]) -> Plan:
    """Inverse of any plan's `to_dict`; refuses unknown kinds and fields."""
    classes = {record.plan.kind: record.plan for record in METHODS.values()}
    kind = data.get("kind", next(iter(classes)))
    if not isinstance(kind, str) or kind not in classes:
        raise PlanError(
            f"A plan of kind {clipped(kind)} was found; this version reads {', '.join(classes)}."
        )
    return classes[kind].from_dict(data)


def register_method(method: Method) -> Method:
    """Make a method of your own known, at the end of the list.

    Parameters
    ----------
    method : Merge or Reduce
        Its record, which pages, command line, search, baselines and figures read.

    Returns
    -------
    Method
        The same record.

    Raises
    ------
    PlanError
        If there is a method of its name.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> def halves(group):
    ...     own = group.weights(group.anchor)
    ...     return {role: tensor.detach() / 2 for role, tensor in own.items()}
    >>> record = fm.register_method(
    ...     fm.Merge(
    ...         name="halves",
    ...         label="Halves",
    ...         help="Ties all to half of the anchor's weights.",
    ...         plan=fm.MergePlan,
    ...         needs=frozenset({"anchor"}),
    ...         merge=halves,
    ...     )
    ... )
    >>> fm.MergePlan((("encoder.1", "encoder.2"),), method="halves").record is record
    True
    """
    return METHODS.register(method)

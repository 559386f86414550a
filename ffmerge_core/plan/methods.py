"""Plans, and the methods that they are of: every way to make a model smaller, a record each.

A record is registered beside the class of its plans: merges in `plan.merge`, what they are
compared with in `plan.reduce` and `plan.resize`, in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from reprlib import repr as clipped
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, get_args

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
    """How a method is drawn on charts. A record without one is a grey cross.

    Attributes
    ----------
    colour : str
        "#rrggbb", another than those of the methods that are known.
    symbol : str
        The name of a plotly symbol, such as "hexagram"; another than theirs too.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> fm.Mark("#607878", "hexagram").symbol
    'hexagram'
    """

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
        self._fits(record)
        for other in self.values():
            if other.plan.kind == record.plan.kind and other.plan is not record.plan:
                raise PlanError(
                    f"Plans of kind {record.plan.kind!r} are those of method {other.name!r} "
                    f"already. Give {record.plan.__name__} a kind of its own."
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

    def _fits(self, record: Method) -> None:
        """Raise `PlanError` if it is no record, or its class of plans or its needs are none."""
        if not isinstance(record, Merge | Reduce):
            raise PlanError(f"A method is a Merge or a Reduce; {clipped(record)} was found.")
        plan: object = record.plan
        if not (isinstance(plan, type) and issubclass(plan, Plan) and hasattr(plan, "kind")):
            raise PlanError(
                f"The plan of method {record.name!r} is {clipped(plan)}; a class of plans with a "
                "kind was expected, such as MergePlan."
            )
        if unknown := set(record.needs) - set(get_args(Need)):
            raise PlanError(
                f"Method {record.name!r} needs {', '.join(map(repr, sorted(unknown)))}; the needs "
                f"are {', '.join(get_args(Need))}."
            )


METHODS = Methods("method", PlanError, made=Method)

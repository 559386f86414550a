"""The methods that are known: which of them can what, whose a stored plan is, one more."""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as clipped
from typing import Any

from ffmerge_core.errors import PlanError
from ffmerge_core.plan.methods import METHODS, Merge, Method, Plan


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
            f"A plan of kind {clipped(kind)} was found; this version reads {', '.join(classes)}. "
            "If it is a kind of your own, register its method first: fm.register_method."
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
        If there is a method of its name, or its record does not fit its plans.

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

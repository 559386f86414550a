"""The kinds of plans that are compared at one number of parameters."""

from __future__ import annotations

from typing import get_args

from ffmerge_core.plan.merge import MergePlan, Method
from ffmerge_core.plan.reduce import DropFF, DropLayers, Factor, Narrow
from ffmerge_core.plan.words import Plan

MERGES: tuple[Method, ...] = get_args(Method)
KINDS: tuple[str, ...] = (
    *MERGES,
    *(kind.method for kind in (DropLayers, DropFF, Factor, Narrow)),
)


def kinds_for(budget: Plan | int) -> tuple[str, ...]:
    """The kinds that a plan, or a number of parameters, has baselines of: all but its own.

    Without groups no neurons are aligned: which window to permute is found by a search.
    """
    if isinstance(budget, MergePlan):
        return tuple(kind for kind in KINDS if kind != budget.method)
    own = None if isinstance(budget, int) else budget.method
    return tuple(kind for kind in KINDS if kind not in ("permute", own))

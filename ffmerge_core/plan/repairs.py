"""What is done to shared sublayers right after a merge, a record each. None is shipped yet."""

from __future__ import annotations

from dataclasses import dataclass

from ffmerge_core.errors import PlanError
from ffmerge_core.kinds import Kind, Kinds, Work
from ffmerge_core.plan.methods import Need


@dataclass(frozen=True, kw_only=True)
class Repair(Kind):
    """A step of a merge that undoes some of its damage, without labels.

    work: (original, merged, plan, feats, report) → the number of parameters that it added; it
    changes the merged module in place and keeps its ties. needs: beside what the method needs.
    """

    work: Work
    needs: frozenset[Need] = frozenset()


REPAIRS: Kinds[Repair] = Kinds("repair", PlanError)

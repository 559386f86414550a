"""What is done to a model, as frozen values that can be stored and replayed.

Pure: knows names and numbers, never a model, so every wing may import it (a checkpoint
must read a plan to tie again, the history stores one, the interface builds one).
"""

from ffmerge_core.plan.merge import (
    Anchor,
    Mergeable,
    MergePlan,
    Method,
    check_groups,
    in_layer_order,
)
from ffmerge_core.plan.recipe import Recipe
from ffmerge_core.plan.recovery import Curve, CurvePoint, Recovery, Stopped

__all__ = [
    "Anchor",
    "Curve",
    "CurvePoint",
    "MergePlan",
    "Mergeable",
    "Method",
    "Recipe",
    "Recovery",
    "Stopped",
    "check_groups",
    "in_layer_order",
]

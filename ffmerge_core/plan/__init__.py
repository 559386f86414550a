"""What is done to a model, as frozen values that can be stored and replayed.

Pure: knows names and numbers, never a model, so every wing may import it (a checkpoint
must read a plan to tie again, the history stores one, the interface builds one).
"""

from ffmerge_core.plan.merge import (
    NOTHING_MERGED,
    Anchor,
    Mergeable,
    MergePlan,
    Method,
    check_groups,
    in_layer_order,
)
from ffmerge_core.plan.reading import recipe_from_json
from ffmerge_core.plan.recipe import Recipe
from ffmerge_core.plan.recovery import Curve, CurvePoint, Recovery, Stopped
from ffmerge_core.plan.reduce import DropFF, DropLayers, Factor, Narrow, Reducible, Reduction
from ffmerge_core.plan.words import (
    Plan,
    layers_in_words,
    plan_from_dict,
    plan_in_words,
    short,
    stack_of,
)

__all__ = [
    "NOTHING_MERGED",
    "Anchor",
    "Curve",
    "CurvePoint",
    "DropFF",
    "DropLayers",
    "Factor",
    "MergePlan",
    "Mergeable",
    "Method",
    "Narrow",
    "Plan",
    "Recipe",
    "Recovery",
    "Reducible",
    "Reduction",
    "Stopped",
    "check_groups",
    "in_layer_order",
    "layers_in_words",
    "plan_from_dict",
    "plan_in_words",
    "recipe_from_json",
    "short",
    "stack_of",
]

"""What is done to a model, as frozen values that can be stored and replayed.

Pure: knows names and numbers, never a model, so every wing may import it (a checkpoint
must read a plan to tie again, the history stores one, the interface builds one).
"""

# `merge`, `reduce`, `resize`: the order of their imports is that of the methods, everywhere.
from ffmerge_core.plan.bleu_tokenizers import BLEU_TOKENIZERS, BleuTokenizer
from ffmerge_core.plan.merge import (
    ANCHORS,
    NOTHING_MERGED,
    Anchor,
    MergePlan,
    check_groups,
    in_layer_order,
    rivals,
)
from ffmerge_core.plan.mergeable import Mergeable
from ffmerge_core.plan.methods import (
    METHODS,
    Mark,
    Merge,
    Method,
    Plan,
    Reduce,
)
from ffmerge_core.plan.quantizations import QUANTIZATIONS, Quantization
from ffmerge_core.plan.reading import recipe_from_json
from ffmerge_core.plan.recipe import Recipe
from ffmerge_core.plan.recovery import Curve, CurvePoint, Recovery, Stopped
from ffmerge_core.plan.reduce import DropFF, DropLayers
from ffmerge_core.plan.reduction import Reduction, Sized, Windowed
from ffmerge_core.plan.registry import merges, plan_from_dict, register_method, searched
from ffmerge_core.plan.repairs import REPAIRS, Repair
from ffmerge_core.plan.resize import Factor, Narrow
from ffmerge_core.plan.words import layers_in_words, plan_in_words, short, stack_of

__all__ = [
    "ANCHORS",
    "BLEU_TOKENIZERS",
    "METHODS",
    "NOTHING_MERGED",
    "QUANTIZATIONS",
    "REPAIRS",
    "Anchor",
    "BleuTokenizer",
    "Curve",
    "CurvePoint",
    "DropFF",
    "DropLayers",
    "Factor",
    "Mark",
    "Merge",
    "MergePlan",
    "Mergeable",
    "Method",
    "Narrow",
    "Plan",
    "Quantization",
    "Recipe",
    "Recovery",
    "Reduce",
    "Reduction",
    "Repair",
    "Sized",
    "Stopped",
    "Windowed",
    "check_groups",
    "in_layer_order",
    "layers_in_words",
    "merges",
    "plan_from_dict",
    "plan_in_words",
    "recipe_from_json",
    "register_method",
    "rivals",
    "searched",
    "short",
    "stack_of",
]

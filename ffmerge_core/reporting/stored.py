"""What a stored recipe is of, asked without reading it: it may be of another version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ffmerge_core.plan import MergePlan

StoredRecipe = Mapping[str, Any]

ORIGINAL = "original"


def is_merge(recipe: StoredRecipe) -> bool:
    """Whether its plan merges groups, or none, and takes nothing out."""
    return bool(_plan(recipe).get("kind", MergePlan.kind) == MergePlan.kind)


def is_original(recipe: StoredRecipe) -> bool:
    """Whether its plan leaves the model as it is: a merge of no group, whatever its method."""
    return is_merge(recipe) and not _plan(recipe).get("groups", True)


def method_of(recipe: StoredRecipe) -> str | None:
    """Its plan's; "original" of one that leaves the model as it is, None where none is told."""
    return ORIGINAL if is_original(recipe) else _plan(recipe).get("method")


def ties_only(recipe: StoredRecipe) -> bool:
    """Whether the same work is done as before: weights are tied, and none is int8."""
    return is_merge(recipe) and not recipe.get("quantize")


def made(recipe: StoredRecipe) -> str:
    """What to call the model that it made of the original: "Merged", "Fine-tuned", …"""
    if not is_merge(recipe):
        return "Reduced"
    if not is_original(recipe):
        return "Merged"
    if recipe.get("recovery"):
        return "Fine-tuned"
    return "Quantised" if recipe.get("quantize") else "Unchanged"


def recovery_steps(recipe: StoredRecipe) -> int | None:
    """Of its recovery: as asked for, or at which it was cancelled; None without one."""
    recovery = recipe.get("recovery") or {}
    until = recovery.get("until")
    return recovery.get("steps") if until is None else until


def _plan(recipe: StoredRecipe) -> Mapping[str, Any]:
    return recipe.get("plan") or {}

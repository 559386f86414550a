"""Reading a recipe that someone brings: written here, by the command line, or by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ffmerge_core.errors import DataError, PlanError
from ffmerge_core.plan import MergePlan, Recipe

_KINDS: Mapping[str, tuple[type, ...]] = {
    "source": (str,),
    "data": (str, type(None)),
    "fidelity": (bool,),
    "tokens": (int,),
    "seed": (int,),
    "dtype": (str,),
    "revision": (str, type(None)),
    "data_revision": (str, type(None)),
    "python": (str, type(None)),
}


def read_recipe(text: str | bytes) -> Recipe:
    """A recipe's JSON, or a run's, which has one, or a list of one such run; bytes in UTF-8.

    Raises `DataError` or `PlanError`, with what was found instead.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"This is not a recipe: it is no JSON ({error}). Take the recipe that the Merge page "
            "or the command line wrote."
        ) from None
    if isinstance(data, list):
        if len(data) != 1:
            raise DataError(f"This file has {len(data):,} runs; a recipe is of one. Take one out.")
        data = data[0]
    if isinstance(data, Mapping) and "recipe" in data:
        data = data["recipe"]
    if not isinstance(data, Mapping) or not {"source", "plan"} <= set(data):
        raise DataError(
            "This is not a recipe: a source and a plan were expected. Take the recipe that the "
            "Merge page or the command line wrote."
        )
    return _checked(data)


def _checked(data: Mapping[str, Any]) -> Recipe:
    try:
        recipe = Recipe.from_dict(data)
    except PlanError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"This recipe is damaged or edited ({error}). Take another.") from None
    for name, kinds in _KINDS.items():
        value = getattr(recipe, name)
        # bool is an int, but no number of tokens.
        if not isinstance(value, kinds) or (kinds == (int,) and isinstance(value, bool)):
            raise DataError(f"This recipe's {name} is {value!r}, which is of another type.")
    if not isinstance(recipe.plan, MergePlan):
        raise DataError(
            "This recipe's plan is no merge of groups, which is what the pages show. Carry it out "
            "on the command line: ffmerge run."
        )
    groups = recipe.plan.groups
    if not groups or not all(isinstance(name, str) for group in groups for name in group):
        raise DataError("This recipe's plan has no groups of sublayer names.")
    return recipe

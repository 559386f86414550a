"""A recipe that someone brings: written here, by the command line, or by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ffmerge_core.errors import PlanError
from ffmerge_core.plan.recipe import Recipe


def recipe_from_json(text: str | bytes) -> Recipe:
    """The recipe in a JSON text: by itself, in a stored run, or in a list of one such run.

    Raises `PlanError`, with what was found instead.
    """
    return Recipe.from_dict(_recipe_in(_json(text)))


def _json(text: str | bytes) -> Any:
    try:
        # As bytes, which may begin with a byte order mark.
        return json.loads(text.encode() if isinstance(text, str) else text)
    except (ValueError, RecursionError) as error:
        raise PlanError(
            f"This is not a recipe, because it is not JSON ({error}). Use a recipe that the Merge "
            "page or the command line wrote, or a stored run."
        ) from error


def _recipe_in(found: Any) -> Mapping[str, Any]:
    if isinstance(found, list):
        if len(found) != 1:
            raise PlanError(
                f"This is a list of {len(found):,} entries, and a recipe describes one run. Take "
                "one entry out of the list."
            )
        found = found[0]
    if isinstance(found, Mapping) and "recipe" in found:
        found = found["recipe"]
    if not isinstance(found, Mapping) or not {"source", "plan"} <= set(found):
        raise PlanError(
            "This is not a recipe. An object with a source and a plan was expected. Use a recipe "
            "that the Merge page or the command line wrote, or a stored run."
        )
    return found

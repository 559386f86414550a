"""What a command line or a file says is to be done, as a `Recipe`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffmerge_core.errors import PlanError, StorageError
from ffmerge_core.plan import MergePlan, Recipe
from ffmerge_core.reporting.folders import reason

if TYPE_CHECKING:
    from ffmerge_core.models.loaded import LoadedModel

_PART = re.compile(r"(?P<stack>.+)\.(?P<first>\d{1,9})(?:-(?P<last>\d{1,9}))?")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "source": str,
    "plan": dict,
    "data": (str, type(None)),
    "fidelity": bool,
    "tokens": int,
    "seed": int,
    "recovery": (dict, type(None)),
    "quantize": (str, type(None)),
    "revision": (str, type(None)),
    "data_revision": (str, type(None)),
    "python": (str, type(None)),
}


def groups_of(texts: Sequence[str], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """("encoder.1-3", "encoder.5,encoder.7") as names, a tuple a group.

    names: every sublayer of the model. Raises `PlanError` for what names none of them.
    """
    return tuple(
        tuple(name for part in text.split(",") for name in _members(part.strip(), names))
        for text in texts
    )


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file: by itself, in a stored run, or in a list of one such run.

    Raises `StorageError` if the file cannot be read, `PlanError` if it holds no recipe.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({reason(error)}).") from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{path} is not JSON ({error}). Give a recipe or a stored run.") from error
    if isinstance(found, list) and len(found) != 1:
        raise PlanError(f"{path} holds a list of {len(found)}; give a file with one run in it.")
    found = found[0] if isinstance(found, list) else found
    if isinstance(found, dict) and "recipe" in found:
        found = found["recipe"]
    if not isinstance(found, dict):
        raise PlanError(f"{path} holds no recipe: an object with a source and a plan is expected.")
    return _checked(path, found)


def pinned(recipe: Recipe, model: LoadedModel) -> Recipe:
    """The recipe with the full source and the hashes that it lacks.

    One that it names already stays: it is what the recipe asks for.
    """
    from ffmerge_core.compression.running import fixed

    now = fixed(replace(recipe, source=model.source, data=model.data), model)
    return replace(
        now,
        revision=recipe.revision or now.revision,
        data_revision=recipe.data_revision or now.data_revision,
        python=recipe.python or now.python,
    )


def _members(part: str, names: Sequence[str]) -> list[str]:
    match = _PART.fullmatch(part)
    if match is None:
        raise PlanError(
            f"“{part}” names no FF sublayer. Write encoder.3, or encoder.3-6 for four of them."
        )
    stack, first = match["stack"], int(match["first"])
    last = first if match["last"] is None else int(match["last"])
    if last < first:
        raise PlanError(f"{part} runs backwards. Write {stack}.{last}-{first}.")
    known = set(names)
    for end in (first, last):
        if f"{stack}.{end}" not in known:
            raise PlanError(
                f"{stack}.{end} is not an FF sublayer of this model. It has {', '.join(names)}."
            )
    return [name for index in range(first, last + 1) if (name := f"{stack}.{index}") in known]


def _checked(path: Path, values: dict[str, Any]) -> Recipe:
    for field, expected in _TYPES.items():
        # bool is an int to Python, and no number to a reader.
        found = values.get(field)
        wrong = not isinstance(found, expected) or (expected is int and isinstance(found, bool))
        if field in values and wrong:
            raise PlanError(f"In the recipe in {path}, {field} is {found!r}; that cannot be.")
    try:
        recipe = Recipe.from_dict(values)
        groups = recipe.plan.groups if isinstance(recipe.plan, MergePlan) else ()
        if not all(isinstance(name, str) for group in groups for name in group):
            raise PlanError("a group is a list of names, such as encoder.3.")
        return recipe
    except (TypeError, ValueError) as error:
        raise PlanError(f"The recipe in {path} cannot be carried out: {error}") from error

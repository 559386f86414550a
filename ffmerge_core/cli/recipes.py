"""What a command line or a file says is to be done, as a `Recipe`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ffmerge_core.errors import PlanError, StorageError
from ffmerge_core.plan import Recipe, recipe_from_json
from ffmerge_core.reporting.folders import reason

if TYPE_CHECKING:
    from ffmerge_core.models.loaded import LoadedModel

_PART = re.compile(r"(?P<stack>.+)\.(?P<first>\d{1,9})(?:-(?P<last>\d{1,9}))?")


def groups_of(texts: Sequence[str], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """("encoder.1-3", "encoder.5,encoder.7") as names, a tuple a group.

    names: every sublayer of the model. Raises `PlanError` for what names none of them.
    """
    return tuple(
        tuple(name for part in text.split(",") for name in _members(part.strip(), names))
        for text in texts
    )


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file, as `recipe_from_json` finds it.

    Raises `StorageError` if the file cannot be read, `PlanError` if it holds no recipe.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({reason(error)}).") from error
    try:
        return recipe_from_json(text)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error


def pinned(recipe: Recipe, model: LoadedModel) -> Recipe:
    """`compression.running.pinned`, which imports torch."""
    from ffmerge_core.compression import running

    return running.pinned(recipe, model)


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

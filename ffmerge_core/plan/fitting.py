"""Whether a recipe is of what is here: of the same weights and data, or like another recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ffmerge_core.plan.recipe import Recipe


@dataclass(frozen=True)
class Unlike:
    """In what a recipe differs from what is here, by its revision then and the one now.

    python: the version that wrote the recipe, where that is another one: the standard library's
    text, which may be the data, differs between versions.
    """

    what: Literal["weights", "data"]
    then: str
    now: str
    python: str | None


def unlike(
    recipe: Recipe, *, revision: str, data_revision: str | None, python: str | None
) -> Unlike | None:
    """What would give a recipe other numbers here than it had; None if nothing would.

    A revision that the recipe lacks asks for nothing. data_revision, python: None where they are
    not known. Weights come first, and another Python alone is no difference.
    """
    written = recipe.python if None not in (recipe.python, python) else None
    other_python = written if written != python else None
    if recipe.revision not in (None, revision):
        return Unlike("weights", str(recipe.revision), revision, other_python)
    if data_revision is not None and recipe.data_revision not in (None, data_revision):
        return Unlike("data", str(recipe.data_revision), data_revision, other_python)
    return None


def same_but(one: Recipe, other: Recipe, *fields: str) -> bool:
    """Whether two recipes are equal, whatever they say in these fields."""
    return replace(one, **{name: getattr(other, name) for name in fields}) == other

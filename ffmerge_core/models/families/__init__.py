"""Where the FF sublayers of each known family live.

A family is a few lines: how to recognise the model, and how to list its sublayers. What
is declared here is not believed but proven at every load (`models.proof`).
"""

from __future__ import annotations

from torch import nn

from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.models.families import text, vision
from ffmerge_core.models.families.declare import ACTIVATIONS
from ffmerge_core.models.families.family import Family, Kind

FAMILIES: tuple[Family, ...] = (*vision.FAMILIES, *text.FAMILIES)


def family_of(model: nn.Module) -> Family:
    """The family that `model` belongs to; `UnsupportedModelError` if none does."""
    key = (type(model).__module__.split(".", 1)[0], type(model).__name__)
    for family in FAMILIES:
        if key in family.classes:
            return family
    known = ", ".join(f"{family.name} ({family.classes[0][1]})" for family in FAMILIES)
    raise UnsupportedModelError(
        f"The model is a {'.'.join(key)}; where its FF sublayers live is not known here. "
        f"Known families: {known}."
    )


def known_classes(root: str) -> tuple[str, ...]:
    """The class names of one library ("transformers", "timm") that belong to a family."""
    return tuple(name for family in FAMILIES for package, name in family.classes if package == root)


__all__ = ["ACTIVATIONS", "FAMILIES", "Family", "Kind", "family_of", "known_classes"]

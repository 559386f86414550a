"""Models whose FF sublayers no merge suits, refused by name before their weights are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffmerge_core.errors import UnsupportedModelError

if TYPE_CHECKING:
    from torch import nn

# What libraries call the FF sublayers that a router chooses among.
_EXPERTS = ("experts", "expert")
_TWO_TOWERS = {
    "CLIPModel": ("CLIPVisionModel", "CLIPTextModel"),
    "SiglipModel": ("SiglipVisionModel", "SiglipTextModel"),
}


def refuse_by_name(model: nn.Module) -> None:
    """`UnsupportedModelError` for shared layers, experts, and two models in one."""
    known = type(model).__name__
    if known.startswith("Albert"):
        raise UnsupportedModelError(
            f"All layers of an {known} share one FF sublayer already, so there is nothing left to "
            "merge. Open a BERT or a RoBERTa, whose layers have FF sublayers of their own."
        )
    if known in _TWO_TOWERS:
        raise UnsupportedModelError(
            f"A {known} is two models side by side, for images and for captions, and what they do "
            "cannot be compared with each other. Open one tower: save it with transformers' "
            f"{' or '.join(_TWO_TOWERS[known])}, .from_pretrained(…).save_pretrained(…)."
        )
    for path, module in model.named_modules():
        called = path.rpartition(".")[2].lower()
        if called in _EXPERTS or "Experts" in type(module).__name__:
            raise UnsupportedModelError(
                f"The {known} is a mixture of experts ({path}): a router sends each token to a few "
                "of many FF sublayers, and what they do on a token cannot be compared. Open a "
                "model with one FF sublayer a layer."
            )

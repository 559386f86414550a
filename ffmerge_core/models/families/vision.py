"""Vision transformers of transformers; and what classes are called, of timm's models too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ffmerge_core.errors import DataError
from ffmerge_core.models.families.declare import alike, base_of, declare_stack, submodule
from ffmerge_core.models.families.examples import image_example
from ffmerge_core.models.families.family import Family, Settings
from ffmerge_core.models.sublayers import FFSublayer

if TYPE_CHECKING:
    from torch import nn


def timm_classes(model: nn.Module) -> int | None:
    module: Any = model
    return int(module.num_classes) or None


def pretrained_cfg(model: nn.Module, settings: Settings) -> dict[str, Any]:
    """What timm knows of the weights: size, normalisation, names; {} of what is not timm's.

    settings: as in `LoadedModel`. Of a folder it is what timm itself reads in config.json, of
    whichever of its versions; of a module in memory what the module carries. Raises `DataError`
    if timm cannot read it.
    """
    if (config := settings.get("config.json")) is None:
        return dict(getattr(model, "pretrained_cfg", None) or {})
    from timm.models._hub import load_model_config_from_path

    try:
        with TemporaryDirectory(prefix="ffmerge-") as place:
            Path(place, "config.json").write_text(json.dumps(config), "utf-8")
            found: dict[str, Any] = load_model_config_from_path(place)[0]
    except Exception as error:  # whatever a wrong config.json makes of timm's reading
        raise DataError(
            f"timm cannot read what config.json says of its weights ({error}). Save the model "
            "again with timm's save_for_hf."
        ) from None
    return found


def timm_names(model: nn.Module, settings: Settings) -> Sequence[str] | None:
    names = pretrained_cfg(model, settings).get("label_names")
    return _in_order(names, timm_classes(model) or 0, "label_names") if names else None


def _in_order(names: Any, n_classes: int, field: str) -> tuple[str, ...]:
    """The names of classes by number; a file may have a list, number → name, or name → number."""
    if isinstance(names, Mapping):
        if not all(str(key).isdecimal() for key in names):
            names = {number: name for name, number in names.items()}
        by_number = {int(key): name for key, name in names.items() if str(key).isdecimal()}
        ordered = [by_number.get(number) for number in range(max(n_classes, len(names)))]
    else:
        ordered = list(names) if isinstance(names, list | tuple) else []
    if len(ordered) != n_classes or not all(isinstance(name, str | int) for name in ordered):
        found = sum(name is not None for name in ordered)
        raise DataError(
            f"{field} in config.json names {found:,} classes and the model tells {n_classes:,} "
            "apart; a name for each was expected. Correct it, or open the model with fidelity=True."
        )
    return tuple(map(str, ordered))


def transformers_classes(model: nn.Module) -> int | None:
    module: Any = model
    # DeiT calls its two heads cls_classifier and distillation_classifier.
    head = any(hasattr(module, name) for name in ("classifier", "cls_classifier"))
    return int(module.config.num_labels) if head else None


def transformers_names(model: nn.Module, settings: Settings) -> Sequence[str] | None:
    config: Any = model.config
    if not (n_classes := transformers_classes(model)):
        return None
    names = config.id2label or {}
    # Where nobody named the classes, transformers numbers them.
    named = not all(re.fullmatch(r"LABEL_\d+", str(name)) for name in names.values())
    return _in_order(names, n_classes, "id2label") if named else None


_PLAIN: dict[str, Any] = {"w_in": "mlp.fc1", "w_out": "mlp.fc2", "act": "mlp.activation_fn"}


def _find_dino(model: nn.Module) -> tuple[FFSublayer, ...]:
    """The largest have gates, and what their matrices are called differs."""
    holder = "" if type(model).__name__.startswith("DINOv3") else "encoder."
    blocks = f"{base_of(model)}{holder}layer"
    first = submodule(model, f"{blocks}.0.mlp")
    places = _PLAIN
    if hasattr(first, "up_proj"):
        places = {"w_in": "mlp.up_proj", "w_out": "mlp.down_proj", "act": "mlp.act_fn"}
    if hasattr(first, "gate_proj"):
        places = {**places, "w_gate": "mlp.gate_proj"}
    return declare_stack(model, "encoder", blocks, attention="attention", **places)


def _encoders(
    label: str, base: str, classes: Sequence[str], help: str, source: str, **other: Any
) -> Family:
    """Encoders of images. base: what a model with a head calls the one without."""
    settings: dict[str, Any] = {
        "kind": "image-classification",
        "classes": tuple(("transformers", name) for name in classes),
        "attention": ("attention",),
        "embeddings": (f"{base}.embeddings", "embeddings"),
        "head": ("classifier", "pooler", f"{base}.pooler"),
        "depths": {"encoder": "num_hidden_layers"},
        "find": alike("encoder", "layers", attention="attention", **_PLAIN),
        "example": image_example,
        "n_classes": transformers_classes,
        "class_names": transformers_names,
    }
    return Family(f"transformers {label}", label, help, source, **settings | other)


_TOWER = {
    "attention": ("self_attn",),
    "find": alike(
        "encoder", "encoder.layers", inside=("vision_model",), attention="self_attn", **_PLAIN
    ),
}

FAMILIES: tuple[Family, ...] = (
    _encoders(
        "ViT",
        "vit",
        ("ViTForImageClassification", "ViTModel"),
        "Encoders that see an image as patches, with or without a head.",
        "Dosovitskiy et al. 2021, arXiv:2010.11929",
    ),
    _encoders(
        "DeiT",
        "deit",
        ("DeiTForImageClassification", "DeiTForImageClassificationWithTeacher", "DeiTModel"),
        "Encoders that see an image as patches, taught by another model; with or without a head.",
        "Touvron et al. 2020, arXiv:2012.12877",
        head=("classifier", "cls_classifier", "distillation_classifier", "pooler", "deit.pooler"),
    ),
    _encoders(
        "BEiT",
        "beit",
        ("BeitForImageClassification", "BeitModel"),
        "Encoders that see an image as patches; their positions are relative.",
        "Bao et al. 2021, arXiv:2106.08254",
    ),
    _encoders(
        "DINOv2",
        "dinov2",
        ("Dinov2ForImageClassification", "Dinov2Model"),
        "Encoders that learnt from images alone; the largest have gates.",
        "Oquab et al. 2023, arXiv:2304.07193",
        find=_find_dino,
    ),
    _encoders(
        "DINOv2 with registers",
        "dinov2_with_registers",
        ("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersModel"),
        "DINOv2 with tokens that hold what no patch says.",
        "Darcet et al. 2023, arXiv:2309.16588",
        find=_find_dino,
    ),
    _encoders(
        "DINOv3",
        "model",
        ("DINOv3ViTModel",),
        "Encoders that learnt from images alone; positions are rotations, and some have gates.",
        "Siméoni et al. 2025, arXiv:2508.10104",
        find=_find_dino,
    ),
    _encoders(
        "CLIP vision",
        "vision_model",
        ("CLIPVisionModel", "CLIPVisionModelWithProjection", "CLIPForImageClassification"),
        "The tower of CLIP that sees images.",
        "Radford et al. 2021, arXiv:2103.00020",
        head=("visual_projection", "classifier"),
        **_TOWER,
    ),
    _encoders(
        "SigLIP vision",
        "vision_model",
        ("SiglipVisionModel", "SiglipForImageClassification"),
        "The tower of SigLIP that sees images.",
        "Zhai et al. 2023, arXiv:2303.15343",
        head=("head", "vision_model.head", "classifier"),
        **_TOWER,
    ),
)

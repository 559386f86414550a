"""Vision transformers, of timm and of transformers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ffmerge_core.errors import DataError, UnsupportedModelError
from ffmerge_core.models.families.declare import declare, declare_stack, depth, submodule
from ffmerge_core.models.families.family import Family, Settings
from ffmerge_core.models.sublayers import FFSublayer, Slot
from ffmerge_core.tasks.batch import Batch

if TYPE_CHECKING:
    from torch import nn


def _find_timm_vit(model: nn.Module) -> tuple[FFSublayer, ...]:
    return tuple(_timm_mlp(model, index) for index in range(depth(model, "blocks")))


def _timm_mlp(model: nn.Module, index: int) -> FFSublayer:
    from torch import nn

    path = f"blocks.{index}.mlp"
    mlp: Any = submodule(model, path)
    kind = type(mlp).__name__
    gate: Slot | None = None
    if kind == "Mlp":
        up = Slot(f"{path}.fc1")
    elif kind == "SwiGLU":
        up, gate = Slot(f"{path}.fc1_x"), Slot(f"{path}.fc1_g")
    elif kind == "GluMlp":
        d_ff: int = mlp.fc2.in_features
        halves = Slot(f"{path}.fc1", (0, d_ff)), Slot(f"{path}.fc1", (d_ff, 2 * d_ff))
        up, gate = halves if mlp.gate_last else halves[::-1]
    else:
        raise UnsupportedModelError(
            f"The FF sublayer of blocks.{index} is a {kind}; Mlp, SwiGLU and GluMlp are known "
            "here. Mixtures of experts and fused blocks cannot be merged."
        )
    inner = getattr(mlp, "norm", None)
    has_norm = inner is not None and not isinstance(inner, nn.Identity)
    return declare(
        model,
        f"encoder.{index}",
        attention=f"blocks.{index}.attn",
        w_in=up,
        w_out=f"{path}.fc2",
        act=f"{path}.act",
        w_gate=gate,
        norm=f"{path}.norm" if has_norm else None,
    )


def _find_transformers_vit(model: nn.Module) -> tuple[FFSublayer, ...]:
    # ViTModel is the encoder by itself; the classifier holds one under "vit".
    layers = "layers" if type(model).__name__ == "ViTModel" else "vit.layers"
    return declare_stack(
        model,
        "encoder",
        layers,
        attention="attention",
        w_in="mlp.fc1",
        w_out="mlp.fc2",
        act="mlp.activation_fn",
    )


def _noise(channels: int, height: int, width: int) -> Batch:
    import torch

    generator = torch.Generator().manual_seed(0)
    return Batch((torch.randn(4, channels, height, width, generator=generator),))


def _timm_vit_example(model: nn.Module) -> Batch:
    patches: Any = model.get_submodule("patch_embed")
    return _noise(patches.proj.in_channels, *patches.img_size)


def _transformers_vit_example(model: nn.Module) -> Batch:
    config: Any = model.config
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    return _noise(config.num_channels, height, width)


def _timm_classes(model: nn.Module) -> int | None:
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


def _timm_names(model: nn.Module, settings: Settings) -> Sequence[str] | None:
    names = pretrained_cfg(model, settings).get("label_names")
    return _in_order(names, _timm_classes(model) or 0, "label_names") if names else None


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


def _transformers_classes(model: nn.Module) -> int | None:
    module: Any = model
    return int(module.config.num_labels) if hasattr(module, "classifier") else None


def _transformers_names(model: nn.Module, settings: Settings) -> Sequence[str] | None:
    config: Any = model.config
    if not (n_classes := _transformers_classes(model)):
        return None
    names = config.id2label or {}
    # Where nobody named the classes, transformers numbers them.
    named = not all(re.fullmatch(r"LABEL_\d+", str(name)) for name in names.values())
    return _in_order(names, n_classes, "id2label") if named else None


FAMILIES: tuple[Family, ...] = (
    Family(
        "timm ViT",
        "ViT",
        "Encoders that see an image as patches, with or without a head.",
        "Dosovitskiy et al. 2021, arXiv:2010.11929",
        kind="image-classification",
        classes=(("timm", "VisionTransformer"),),
        attention=("attn",),
        embeddings=("patch_embed", "cls_token", "reg_token", "pos_embed", "norm_pre"),
        head=("head", "fc_norm", "attn_pool"),
        depths={"encoder": "depth"},
        find=_find_timm_vit,
        example=_timm_vit_example,
        n_classes=_timm_classes,
        class_names=_timm_names,
    ),
    Family(
        "transformers ViT",
        "ViT",
        "Encoders that see an image as patches, with or without a head.",
        "Dosovitskiy et al. 2021, arXiv:2010.11929",
        kind="image-classification",
        classes=(("transformers", "ViTForImageClassification"), ("transformers", "ViTModel")),
        attention=("attention",),
        embeddings=("vit.embeddings", "embeddings"),
        head=("classifier", "pooler"),
        depths={"encoder": "num_hidden_layers"},
        find=_find_transformers_vit,
        example=_transformers_vit_example,
        n_classes=_transformers_classes,
        class_names=_transformers_names,
    ),
)

"""Small image models and pictures on disk, written by timm and transformers themselves."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.models._hub import save_for_hf
from torch import nn

SIDE = 16
CLASSES = ("cat", "dog", "owl")
TIMM = {
    "img_size": SIDE,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 4,
    "num_classes": len(CLASSES),
}


def timm_vit(answer: int | None = None, **changed: Any) -> nn.Module:
    """answer: the class that it names whatever it sees."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", **TIMM | changed)
    return model if answer is None else _always(model, model.head, answer)


def timm_folder(
    place: Path, model: nn.Module | None = None, config: dict[str, Any] | None = None, **changed
) -> Path:
    """As timm's `save_for_hf` writes it; config: what stands in config.json besides."""
    save_for_hf(
        model or timm_vit(**changed),
        place,
        model_args=TIMM | changed,
        model_config=config or {},
        safe_serialization=True,
    )
    return place


def flat_timm_folder(place: Path, answer: int | None = None, **config: Any) -> Path:
    """With the one flat dictionary of timm before 0.9, which knows no arguments of a model."""
    torch.manual_seed(0)
    model: Any = timm.create_model("test_vit", num_classes=len(CLASSES))
    save_for_hf(
        model if answer is None else _always(model, model.head, answer),
        place,
        safe_serialization=True,
    )
    flat = {
        "architecture": "test_vit",
        "num_classes": len(CLASSES),
        "num_features": 64,
        "fixed_input_size": True,
    }
    size = {"input_size": list(model.pretrained_cfg["input_size"])}
    (place / "config.json").write_text(json.dumps(flat | size | config), "utf-8")
    return place


def transformers_vit(answer: int | None = None, **config: Any) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    given: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "image_size": SIDE,
        "patch_size": 8,
        "num_labels": len(CLASSES),
    }
    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(**given | config)).eval()
    return model if answer is None else _always(model, model.classifier, answer)


def transformers_folder(place: Path, model: nn.Module | None = None, **config: Any) -> Path:
    (model or transformers_vit(**config)).save_pretrained(place)  # type: ignore[operator]
    return place


def edit(path: Path, **values: Any) -> None:
    """Change fields of a JSON file; a value of None takes one away."""
    known = json.loads(path.read_text("utf-8")) | values
    kept = {name: value for name, value in known.items() if value is not None}
    path.write_text(json.dumps(kept), "utf-8")


def pictures(
    root: Path, classes: Sequence[str] = CLASSES, each: int | Sequence[int] = 4, mode: str = "RGB"
) -> Path:
    """<class>/<number>.png, of different sizes, none of them square."""
    counts = [each] * len(classes) if isinstance(each, int) else each
    for row, (name, count) in enumerate(zip(classes, counts, strict=True)):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            rng = np.random.default_rng(1000 * row + number)
            shape = (21 + 3 * number % 17, 30 + 5 * number % 23, 3)
            # Steps and noise: what interpolations treat differently.
            values = rng.integers(0, 256, shape) // 64 * 64 + rng.integers(0, 60, shape)
            picture = Image.fromarray(values.astype(np.uint8)).convert(mode)
            picture.save(root / name / f"{number}.png")
    return root


def _always(model: nn.Module, head: nn.Linear, answer: int) -> nn.Module:
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.bias[answer] = 5
    return model

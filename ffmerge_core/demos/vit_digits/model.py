"""The demo's architecture and its trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ffmerge_core.demos.files import with_weights
from ffmerge_core.demos.vit_digits.data import digits_task
from ffmerge_core.tasks.image_classification import ImageClassification

FOLDER = Path(__file__).parent
# Told this, timm's own factory builds the same model: what a saved copy is opened with.
TIMM_CONFIG: dict[str, Any] = {
    "architecture": "vit_tiny_patch16_224",
    "model_args": {
        "img_size": 8,
        "patch_size": 2,
        "in_chans": 1,
        "num_classes": 10,
        "embed_dim": 64,
        "depth": 12,
        "num_heads": 4,
        "mlp_ratio": 4,
    },
}


def build() -> nn.Module:
    """The untrained model: (batch, 1, 8, 8) to logits (batch, 10), 0.6 million parameters."""
    model: nn.Module = VisionTransformer(
        **TIMM_CONFIG["model_args"],
        # Larger first weights than timm's own: the later FF sublayers learn to matter more.
        weight_init="jax",
    )
    return model


def load(folder: Path = FOLDER) -> tuple[nn.Module, ImageClassification]:
    """The trained model, in evaluation mode, and its task. Raises `SourceError` if damaged."""
    return with_weights(build(), folder), digits_task()

"""Where the FF sublayers of each known family live.

A family is a few lines: how to recognise the model, and how to list its sublayers. What
is declared here is not believed but proven at every load (`models.proof`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.models.sublayers import FFSublayer, Slot
from ffmerge_core.tasks.task import Batch

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": nn.functional.gelu,
    "gelu_tanh": lambda x: nn.functional.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
    "sigmoid": torch.sigmoid,
}

# Class names, so that no library has to be imported to recognise one.
_ACTIVATION_CLASSES = {
    "GELU": "gelu",
    "GELUActivation": "gelu",
    "GELUTanh": "gelu_tanh",
    "GELUTanhActivation": "gelu_tanh",
    "NewGELUActivation": "gelu_tanh",
    "FastGELUActivation": "gelu_tanh",
    "PytorchGELUTanh": "gelu_tanh",
    "QuickGELU": "quick_gelu",
    "QuickGELUActivation": "quick_gelu",
    "ReLU": "relu",
    "SiLU": "silu",
    "SiLUActivation": "silu",
    "Sigmoid": "sigmoid",
}


@dataclass(frozen=True)
class Family:
    """One family of models.

    classes: (root package, class name) pairs that belong to it.
    embeddings, head: path prefixes of those parts, for the anatomy.
    find: the FF sublayers in the order in which the model runs them.
    example: a small batch of noise that the model accepts, for the proof.
    """

    name: str
    classes: tuple[tuple[str, str], ...]
    embeddings: tuple[str, ...]
    head: tuple[str, ...]
    find: Callable[[nn.Module], tuple[FFSublayer, ...]]
    example: Callable[[nn.Module], Batch]


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


def _find_timm_vit(model: nn.Module) -> tuple[FFSublayer, ...]:
    return tuple(
        _timm_mlp(model, index, f"blocks.{index}")
        for index, _ in enumerate(model.get_submodule("blocks").children())
    )


def _timm_mlp(model: nn.Module, index: int, block: str) -> FFSublayer:
    kind = type(_submodule(model, f"{block}.mlp")).__name__
    path = f"{block}.mlp"
    if kind == "Mlp":
        return _declare(model, f"encoder.{index}", f"{block}.attn", path, Slot(f"{path}.fc1"))
    if kind == "SwiGLU":
        return _declare(
            model, f"encoder.{index}", f"{block}.attn", path,
            Slot(f"{path}.fc1_x"), w_gate=Slot(f"{path}.fc1_g"),
        )  # fmt: skip
    if kind == "GluMlp":
        mlp: Any = model.get_submodule(path)
        d_ff: int = mlp.fc2.in_features
        halves = Slot(f"{path}.fc1", (0, d_ff)), Slot(f"{path}.fc1", (d_ff, 2 * d_ff))
        up, gate = halves if mlp.gate_last else halves[::-1]
        return _declare(model, f"encoder.{index}", f"{block}.attn", path, up, w_gate=gate)
    raise UnsupportedModelError(
        f"The FF sublayer of {block} is a {kind}; Mlp, SwiGLU and GluMlp are known here. "
        "Mixtures of experts and fused blocks cannot be merged."
    )


def _find_transformers_vit(model: nn.Module) -> tuple[FFSublayer, ...]:
    layers = "vit.layers"
    return tuple(
        _declare(
            model, f"encoder.{index}", f"{layers}.{index}.attention", f"{layers}.{index}.mlp",
            Slot(f"{layers}.{index}.mlp.fc1"), act="activation_fn",
        )
        for index, _ in enumerate(_submodule(model, layers).children())
    )  # fmt: skip


def _declare(
    model: nn.Module,
    name: str,
    attention: str,
    path: str,
    w_in: Slot,
    *,
    w_gate: Slot | None = None,
    act: str = "act",
) -> FFSublayer:
    """Fill in what the modules themselves say: widths, activation, inner norm, biases."""
    _submodule(model, attention)
    entry, out = _linear(model, w_in.module), _linear(model, f"{path}.fc2")
    norm = f"{path}.norm"
    owners = {w_in.module, f"{path}.fc2", *([w_gate.module] if w_gate else [])}
    has_norm = any(part == "norm" for part, _ in model.get_submodule(path).named_children())
    if has_norm and not isinstance(model.get_submodule(norm), nn.Identity):
        owners.add(norm)
    return FFSublayer(
        name=name,
        attention=attention,
        w_in=w_in,
        w_out=Slot(f"{path}.fc2"),
        w_gate=w_gate,
        norm=norm if norm in owners else None,
        d_model=entry.in_features,
        d_ff=out.in_features,
        activation=_activation_name(_submodule(model, f"{path}.{act}")),
        biases=(entry.bias is not None, out.bias is not None),
        n_parameters=sum(
            parameter.numel()
            for owner in owners
            for parameter in model.get_submodule(owner).parameters(recurse=False)
        ),
    )


def _submodule(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise UnsupportedModelError(
            f"{type(model).__name__} has no {path}, where its family keeps an FF sublayer or "
            "its attention. This variant is not known here."
        ) from error


def _linear(model: nn.Module, path: str) -> nn.Linear:
    module = _submodule(model, path)
    # Exactly Linear: a subclass (quantised, LoRA) may compute something else.
    if type(module) is not nn.Linear:
        raise UnsupportedModelError(
            f"{path} is a {type(module).__name__}; torch.nn.Linear was expected."
        )
    return module


def _activation_name(module: nn.Module) -> str:
    kind = type(module).__name__
    if kind not in _ACTIVATION_CLASSES:
        raise UnsupportedModelError(
            f"The activation {kind} is not known here; known are "
            f"{', '.join(sorted(set(_ACTIVATION_CLASSES.values())))}."
        )
    name = _ACTIVATION_CLASSES[kind]
    return "gelu_tanh" if getattr(module, "approximate", "none") == "tanh" else name


def _noise(channels: int, height: int, width: int) -> Batch:
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


FAMILIES: tuple[Family, ...] = (
    Family(
        name="timm ViT",
        classes=(("timm", "VisionTransformer"),),
        embeddings=("patch_embed", "cls_token", "reg_token", "pos_embed", "norm_pre"),
        head=("head", "fc_norm", "attn_pool"),
        find=_find_timm_vit,
        example=_timm_vit_example,
    ),
    Family(
        name="transformers ViT",
        classes=(("transformers", "ViTForImageClassification"),),
        embeddings=("vit.embeddings",),
        head=("classifier",),
        find=_find_transformers_vit,
        example=_transformers_vit_example,
    ),
)

"""Low-rank adapters (Hu et al., "LoRA", ICLR 2022) that respect tied weights.

peft adapts modules, and a merged model ties parameters: so each position is wrapped, and
those with one weight are then given one pair of adapter matrices, added in once.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from ffmerge_core.models.loaded import LoadedModel

_NAME = "default"
_SLOTS = ("in", "gate", "out")


def adapt(student: nn.Module, model: LoadedModel, rank: int) -> None:
    """Wrap the FF and attention matrices of `student`, in place; all else is frozen.

    student: a copy of `model.model`.
    """
    from peft import LoraConfig, inject_adapter_in_model

    # Twice the rank, as Hu et al. scale: adapters of any rank then want one learning rate.
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=_targets(student, model))
    with warnings.catch_warnings():
        # That it sees by itself how transformers' Conv1D stores its weights.
        warnings.filterwarnings("ignore", message=".*fan_in_fan_out", category=UserWarning)
        inject_adapter_in_model(config, student)
    owners: dict[int, Any] = {}
    for _, layer in _adapted(student):
        owner = owners.setdefault(id(layer.get_base_layer().weight), layer)
        for part in ("lora_A", "lora_B"):
            getattr(layer, part)[_NAME].weight = getattr(owner, part)[_NAME].weight


def absorb(student: nn.Module) -> None:
    """Add the adapters to the weights and take the wrapping off, in place."""
    done: set[int] = set()
    for path, layer in list(_adapted(student)):
        base = layer.get_base_layer()
        if id(base.weight) not in done:
            layer.merge()
            done.add(id(base.weight))
        parent, _, leaf = path.rpartition(".")
        setattr(student.get_submodule(parent), leaf, base)


def _targets(student: nn.Module, model: LoadedModel) -> list[str]:
    feed_forward = {
        path for sublayer in model.sublayers for slot, path in sublayer.modules.items()
        if slot in _SLOTS
    }  # fmt: skip
    return [
        name
        for name, module in student.named_modules()
        if isinstance(getattr(module, "weight", None), Tensor)
        and module.weight.ndim == 2
        # Such as T5's positions, which its first attention holds.
        and not isinstance(module, nn.Embedding)
        and (name in feed_forward or not set(name.split(".")).isdisjoint(model.family.attention))
    ]


def _adapted(student: nn.Module) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    for name, module in student.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module

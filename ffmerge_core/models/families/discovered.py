"""A family for a model that no declaration knows, made from what its modules are and do.

In every list of blocks a trial looks for an up and a down projection (`families.trial`). What is
found is marked "discovered", and like all that is declared it is admitted by the proof alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.models.families import timm
from ffmerge_core.models.families.declare import declare
from ffmerge_core.models.families.examples import (
    image_example,
    pair_example,
    speech_example,
    token_example,
)
from ffmerge_core.models.families.family import Family
from ffmerge_core.models.families.vision import (
    timm_classes,
    timm_names,
    transformers_classes,
    transformers_names,
)
from ffmerge_core.models.sublayers import FFSublayer, Slot
from ffmerge_core.tasks.batch import Batch

if TYPE_CHECKING:
    from torch import nn

PREFIX = "discovered"

# A kind of task, and what makes an example.
_Inputs = tuple[str, Callable[["nn.Module"], Batch]]

# What the end of a class's name says that its models are for.
_KINDS = {
    "ForCausalLM": "language-modeling",
    "LMHeadModel": "language-modeling",
    "ForMaskedLM": "masked-language-modeling",
    "ForSequenceClassification": "text-classification",
    "ForImageClassification": "image-classification",
}
_STAYS = "what its configuration calls the number of layers is not known"


def discovered(model: nn.Module) -> Family | None:
    """The family of one model's class; None if no example of its inputs can be made."""
    root, known = type(model).__module__.split(".", 1)[0], type(model).__name__
    if root == "timm" and hasattr(model, "pretrained_cfg"):
        inputs: _Inputs | None = ("image-classification", timm.any_image_example)
    else:
        inputs = _inputs(model) if root == "transformers" else None
    if inputs is None:
        return None
    kind, example = inputs
    embeddings, head = _outside(model)
    return Family(
        f"{PREFIX} ({known})",
        known,
        "No declaration knows it: its FF sublayers were found by a trial, and proven.",
        kind=kind,
        classes=((root, known),),
        attention=_called_attention(model),
        embeddings=embeddings,
        head=head,
        depths={},
        find=lambda module: _find(module, example),
        example=example,
        n_classes=timm_classes if root == "timm" else transformers_classes,
        class_names=timm_names if root == "timm" else transformers_names,
    )


def _inputs(model: nn.Module) -> _Inputs | None:
    """What a model of transformers is for, and an example of what it takes.

    Where its name does not say what it is for, it is compared with itself: fidelity only.
    """
    module: Any = model
    known, takes = type(model).__name__, getattr(model, "main_input_name", None)
    if takes == "pixel_values":
        return "image-classification", image_example
    if takes == "input_features" and module.config.is_encoder_decoder:
        return "speech", speech_example
    if takes != "input_ids":
        return None
    if module.config.is_encoder_decoder:
        return "translation", pair_example
    said = (kind for ending, kind in _KINDS.items() if known.endswith(ending))
    return next(said, "text"), token_example


def _find(model: nn.Module, example: Callable[[nn.Module], Batch]) -> tuple[FFSublayer, ...]:
    from ffmerge_core.models.families.trial import found_in

    pairs = found_in(model, example(model))
    if not pairs:
        raise UnsupportedModelError(
            f"No declaration knows {type(model).__name__}, and in no list of its blocks was an up "
            "and a down projection with an activation between them found, so it has no FF "
            "sublayer that could be merged. If it has, declare it with fm.register_family."
        )
    lists = {pair.block: pair.block.rpartition(".")[0] for pair in pairs}
    names = _stack_names(model, list(dict.fromkeys(lists.values())))
    return tuple(
        replace(
            declare(
                model,
                f"{names[lists[pair.block]]}.{pair.block.rpartition('.')[2]}",
                attention=pair.attention,
                block=pair.block,
                w_in=Slot(pair.up),
                w_gate=Slot(pair.gate) if pair.gate else None,
                w_out=pair.down,
                act=pair.act,
                norm=pair.norm,
                packed=pair.packed,
            ),
            stays=_STAYS,
        )
        for pair in pairs
    )


def _stack_names(model: nn.Module, lists: list[str]) -> dict[str, str]:
    """A name for each list of blocks: encoder or decoder, with a number if there are several."""
    reads_on = type(model).__name__.endswith(("ForCausalLM", "LMHeadModel"))
    plain = {}
    for path in lists:
        said = [name for name in ("encoder", "decoder") if name in path.split(".")]
        plain[path] = said[0] if said else ("decoder" if reads_on else "encoder")
    called = list(plain.values())
    return {
        path: name if called.count(name) == 1 else f"{name}{called[:number].count(name)}"
        for number, (path, name) in enumerate(plain.items())
    }


def _outside(model: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What stands outside all lists of blocks: embeddings and convolutions; matrices."""
    from torch import nn

    lists = [
        f"{path}."
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential)
        and sum(1 for _ in module.children()) > 1
    ]
    outside = [
        (path, module)
        for path, module in model.named_modules()
        if path and not any(path.startswith(each) for each in lists)
    ]
    embedding = (nn.Embedding, nn.Conv1d, nn.Conv2d)
    return (
        tuple(path for path, module in outside if isinstance(module, embedding)),
        tuple(path for path, module in outside if isinstance(module, nn.Linear)),
    )


def _called_attention(model: nn.Module) -> tuple[str, ...]:
    parts = (path.rpartition(".")[2] for path, _ in model.named_modules())
    return tuple(dict.fromkeys(part for part in parts if "attn" in part or "attention" in part))

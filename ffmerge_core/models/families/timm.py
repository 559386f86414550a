"""Vision models of timm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.models.families.declare import declare, depth, submodule
from ffmerge_core.models.families.examples import image_noise
from ffmerge_core.models.families.family import Family
from ffmerge_core.models.families.vision import timm_classes, timm_names
from ffmerge_core.models.sublayers import FFSublayer, Slot
from ffmerge_core.tasks.batch import Batch

if TYPE_CHECKING:
    from torch import nn

_BLOCKS = ("encoder", "blocks")
Find = Callable[["nn.Module"], tuple[FFSublayer, ...]]


def _of_block(
    model: nn.Module, name: str, block: str, mlp: str = "mlp", attention: str = "attn"
) -> FFSublayer:
    """The FF sublayer of one of timm's blocks, whichever of its FF modules it has."""
    from torch import nn

    path = f"{block}.{mlp}"
    module = submodule(model, path)
    kind = type(module).__name__
    # SwiGLU's gate is a matrix of its own; GluMlp's is half of fc1.
    matrices = {
        "Mlp": (f"{path}.fc1", None),
        "GluMlp": (f"{path}.fc1", None),
        "SwiGLU": (f"{path}.fc1_x", f"{path}.fc1_g"),
    }
    if kind not in matrices:
        raise UnsupportedModelError(
            f"The FF sublayer of {block} is a {kind}; {', '.join(matrices)} are known here. "
            "Mixtures of experts and fused blocks cannot be merged."
        )
    up, gate = matrices[kind]
    inner = getattr(module, "norm", None)
    has_norm = inner is not None and not isinstance(inner, nn.Identity)
    return declare(
        model,
        name,
        attention=f"{block}.{attention}",
        block=block,
        w_in=Slot(up),
        w_gate=Slot(gate) if gate else None,
        w_out=f"{path}.fc2",
        act=f"{path}.act",
        norm=f"{path}.norm" if has_norm else None,
        packed=kind == "GluMlp",
    )


def _stacks(*stacks: tuple[str, str], **places: str) -> Find:
    """A family's `find`. stacks: (name, list of blocks) of each."""

    def find(model: nn.Module) -> tuple[FFSublayer, ...]:
        return tuple(
            _of_block(model, f"{stack}.{index}", f"{blocks}.{index}", **places)
            for stack, blocks in stacks
            for index in range(depth(model, blocks))
        )

    return find


def _find_mixer(model: nn.Module) -> tuple[FFSublayer, ...]:
    # In the place of attention: the tokens as their mixing left them, in their order.
    found = _stacks(_BLOCKS, mlp="mlp_channels", attention="norm2")(model)
    why = "timm builds this architecture with a fixed number of blocks"
    return tuple(replace(each, stays=why) for each in found)


def _find_swin(model: nn.Module) -> tuple[FFSublayer, ...]:
    """A stack for each stage: another stage sees fewer tokens, and wider ones."""
    found: list[FFSublayer] = []
    for stage in range(depth(model, "layers")):
        blocks = f"layers.{stage}.blocks"
        for index in range(depth(model, blocks)):
            # Attention runs in windows, shifted in every other block; after drop_path1 its tokens
            # are in their places again.
            own = _of_block(
                model, f"stage{stage}.{index}", f"{blocks}.{index}", attention="drop_path1"
            )
            found.append(
                replace(
                    own,
                    stays="every other block shifts its windows, and the blocks after it would "
                    "shift theirs the other way",
                )
            )
    return tuple(found)


def image_example(model: nn.Module) -> Batch:
    """Of the size that the model was built for; a hybrid's first convolution is its backbone's."""
    from timm.data import resolve_model_data_config
    from torch import nn

    patches: Any = submodule(model, _patches(model) or "patch_embed")
    convolutions = (each for each in patches.modules() if isinstance(each, nn.Conv2d))
    first = next(convolutions, None)
    channels = getattr(patches, "in_chans", None) if first is None else first.in_channels
    if channels is None:
        raise UnsupportedModelError(
            f"The patch_embed of this {type(model).__name__} has no convolution, so how many "
            "channels it takes is not known. This variant is not known here."
        )
    # None where it takes any size: then the size of its pretrained configuration.
    size = getattr(patches, "img_size", None) or resolve_model_data_config(model)["input_size"][1:]
    if (grid := getattr(patches, "pos_embed_grid_size", None)) is not None:
        # Of any size: as many patches as it has positions.
        size = [n * length for n, length in zip(grid, patches.patch_size, strict=True)]
    return image_noise(channels, *size)


def _patches(model: nn.Module) -> str | None:
    """What a model calls the part that makes patches, if it has one."""
    names = ("embeds", "stem", "patch_embed")
    return next((name for name in names if hasattr(getattr(model, name, None), "proj")), None)


def any_image_example(model: nn.Module) -> Batch:
    """For a model of any architecture: if it makes no patches, as its pretrained configuration."""
    from timm.data import resolve_model_data_config
    from torch import nn

    if _patches(model):
        return image_example(model)
    channels, height, width = resolve_model_data_config(model)["input_size"]
    first = next((each for each in model.modules() if isinstance(each, nn.Conv2d)), None)
    return image_noise(channels if first is None else first.in_channels, height, width)


def _timm(
    label: str, classes: tuple[str, ...], help: str, source: str, find: Find, **other: Any
) -> Family:
    settings: dict[str, Any] = {
        "kind": "image-classification",
        "classes": tuple(("timm", name) for name in classes),
        "attention": ("attn",),
        "embeddings": ("patch_embed", "cls_token", "reg_token", "pos_embed", "norm_pre"),
        "head": ("head", "head_dist", "fc_norm", "attn_pool"),
        "depths": {"encoder": "depth"},
        "find": find,
        "example": image_example,
        "n_classes": timm_classes,
        "class_names": timm_names,
    }
    return Family(f"timm {label}", label, help, source, **settings | other)


FAMILIES: tuple[Family, ...] = (
    _timm(
        "ViT",
        ("VisionTransformer", "VisionTransformerDistilled"),
        "Encoders that see an image as patches, with or without a head.",
        "Dosovitskiy et al. 2021, arXiv:2010.11929; DeiT III: Touvron et al. 2022, "
        "arXiv:2204.07118",
        _stacks(_BLOCKS),
    ),
    _timm(
        "BEiT",
        ("Beit",),
        "Encoders that see an image as patches; their positions are relative.",
        "Bao et al. 2021, arXiv:2106.08254",
        _stacks(_BLOCKS),
    ),
    _timm(
        "EVA",
        ("Eva",),
        "Encoders whose positions are rotations: EVA-02 with gates and inner norms, DINOv3.",
        "Fang et al. 2023, arXiv:2303.11331; Siméoni et al. 2025, arXiv:2508.10104",
        _stacks(_BLOCKS),
    ),
    _timm(
        "CaiT",
        ("Cait",),
        "Encoders of patches, and blocks after them in which the class token alone goes on.",
        "Touvron et al. 2021, arXiv:2103.17239",
        _stacks(_BLOCKS, ("class", "blocks_token_only")),
        depths={"encoder": "depth", "class": "depth_token_only"},
    ),
    _timm(
        "XCiT",
        ("Xcit",),
        "Encoders that attend over channels, and blocks after them for the class token.",
        "El-Nouby et al. 2021, arXiv:2106.09681",
        _stacks(_BLOCKS, ("class", "cls_attn_blocks")),
        depths={"encoder": "depth", "class": "cls_attn_layers"},
    ),
    _timm(
        "NaFlexViT",
        ("NaFlexVit",),
        "Encoders that see images of any shape as patches.",
        "Tschannen et al. 2025, arXiv:2502.14786",
        _stacks(_BLOCKS),
        embeddings=("embeds", "norm_pre"),
    ),
    _timm(
        "MLP-Mixer",
        ("MlpMixer",),
        "Encoders without attention. Only FF sublayers over channels: others mix places.",
        "Tolstikhin et al. 2021, arXiv:2105.01601",
        _find_mixer,
        attention=("mlp_tokens", "linear_tokens"),
        embeddings=("stem",),
        depths={},
    ),
    _timm(
        "Swin",
        ("SwinTransformer", "SwinTransformerV2"),
        "Encoders in stages that attend within windows; FF sublayers of one stage can be merged.",
        "Liu et al. 2021, arXiv:2103.14030; V2: Liu et al. 2021, arXiv:2111.09883",
        _find_swin,
        embeddings=("patch_embed",),
        depths={},
    ),
)

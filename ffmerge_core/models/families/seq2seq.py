"""Models of transformers with two stacks: an encoder that reads and a decoder that writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffmerge_core.models.families.declare import declare_stack, submodule
from ffmerge_core.models.families.examples import pair_example, speech_example
from ffmerge_core.models.families.family import Family
from ffmerge_core.models.sublayers import FFSublayer

if TYPE_CHECKING:
    from torch import nn

_STACKS = ("encoder", "decoder")


def _find_like_bart(model: nn.Module) -> tuple[FFSublayer, ...]:
    """Blocks that own W_in, W_out and φ themselves, with no FF module around them."""
    return tuple(
        sublayer
        for stack in _STACKS
        for sublayer in declare_stack(
            model,
            stack,
            f"model.{stack}.layers",
            attention="self_attn",
            w_in="fc1",
            w_out="fc2",
            act="activation_fn",
        )
    )


def _find_t5(model: nn.Module) -> tuple[FFSublayer, ...]:
    """The FF comes after attention, and in a decoder after both; newer versions have a gate."""
    found: list[FFSublayer] = []
    for stack, last in zip(_STACKS, (1, 2), strict=True):
        ff = f"layer.{last}.DenseReluDense"
        gated = hasattr(submodule(model, f"{stack}.block.0.{ff}"), "wi_1")
        found += declare_stack(
            model,
            stack,
            f"{stack}.block",
            attention="layer.0.SelfAttention",
            w_in=f"{ff}.wi_1" if gated else f"{ff}.wi",
            w_gate=f"{ff}.wi_0" if gated else None,
            w_out=f"{ff}.wo",
            act=f"{ff}.act",
        )
    return tuple(found)


def _like_bart(label: str, known: str, help: str, source: str, **other: Any) -> Family:
    """A model whose modules are called as BART's are. known: its class's name."""
    settings: dict[str, Any] = {
        "kind": "translation",
        "classes": (("transformers", known),),
        "attention": ("self_attn", "encoder_attn"),
        "embeddings": tuple(
            ["model.shared"]
            + [
                f"model.{stack}.{part}"
                for stack in _STACKS
                for part in ("embed_tokens", "embed_positions")
            ]
        ),
        "head": ("lm_head",),
        "depths": {stack: f"{stack}_layers" for stack in _STACKS},
        "find": _find_like_bart,
        "example": pair_example,
    }
    return Family(f"transformers {label}", label, help, source, **settings | other)


FAMILIES: tuple[Family, ...] = (
    _like_bart(
        "Marian",
        "MarianMTModel",
        "Models that translate, with two stacks: an encoder and a decoder.",
        "Junczys-Dowmunt et al. 2018, arXiv:1804.00344",
    ),
    Family(
        "transformers T5",
        "T5",
        "Encoders and decoders whose first blocks hold the positions for all; plain or gated.",
        "Raffel et al. 2020, arXiv:1910.10683; Shazeer 2020, arXiv:2002.05202",
        kind="translation",
        classes=(("transformers", "T5ForConditionalGeneration"),),
        attention=("SelfAttention", "EncDecAttention"),
        embeddings=("shared", "encoder.embed_tokens", "decoder.embed_tokens"),
        head=("lm_head",),
        depths={"encoder": "num_layers", "decoder": "num_decoder_layers"},
        find=_find_t5,
        example=pair_example,
        # Positions are relative, so nothing says how many there are; this is what it learnt from.
        longest=512,
    ),
    _like_bart(
        "BART",
        "BartForConditionalGeneration",
        "Encoders and decoders that restore and rewrite text.",
        "Lewis et al. 2019, arXiv:1910.13461",
    ),
    _like_bart(
        "mBART",
        "MBartForConditionalGeneration",
        "Models that translate between many languages, after BART.",
        "Liu et al. 2020, arXiv:2001.08210",
    ),
    _like_bart(
        "M2M100",
        "M2M100ForConditionalGeneration",
        "Models that translate between many languages, NLLB among them.",
        "Fan et al. 2020, arXiv:2010.11125; NLLB Team 2022, arXiv:2207.04672",
    ),
    _like_bart(
        "Pegasus",
        "PegasusForConditionalGeneration",
        "Encoders and decoders that sum a text up.",
        "Zhang et al. 2019, arXiv:1912.08777",
    ),
    _like_bart(
        "Whisper",
        "WhisperForConditionalGeneration",
        "Encoders that hear speech, with decoders that write it down.",
        "Radford et al. 2022, arXiv:2212.04356",
        kind="speech",
        embeddings=(
            "model.encoder.conv1",
            "model.encoder.conv2",
            "model.encoder.embed_positions",
            "model.decoder.embed_tokens",
            "model.decoder.embed_positions",
        ),
        head=("proj_out",),
        example=speech_example,
        longest="max_target_positions",
    ),
)

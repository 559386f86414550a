"""Language models and translators of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffmerge_core.models.families.declare import declare, depth
from ffmerge_core.models.families.family import Family
from ffmerge_core.models.sublayers import FFSublayer, Slot
from ffmerge_core.tasks.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor, nn

_SENTENCES, _TOKENS = 4, 8


def _find_gpt2(model: nn.Module) -> tuple[FFSublayer, ...]:
    return tuple(
        declare(
            model,
            f"decoder.{index}",
            attention=f"transformer.h.{index}.attn",
            w_in=Slot(f"transformer.h.{index}.mlp.c_fc"),
            w_out=f"transformer.h.{index}.mlp.c_proj",
            act=f"transformer.h.{index}.mlp.act",
        )
        for index in range(depth(model, "transformer.h"))
    )


def _find_opt(model: nn.Module) -> tuple[FFSublayer, ...]:
    return _stack(model, "decoder")


def _find_marian(model: nn.Module) -> tuple[FFSublayer, ...]:
    return (*_stack(model, "encoder"), *_stack(model, "decoder"))


def _stack(model: nn.Module, stack: str) -> tuple[FFSublayer, ...]:
    """Blocks that own W_in, W_out and φ themselves, with no FF module around them."""
    layers = f"model.{stack}.layers"
    return tuple(
        declare(
            model,
            f"{stack}.{index}",
            attention=f"{layers}.{index}.self_attn",
            w_in=Slot(f"{layers}.{index}.fc1"),
            w_out=f"{layers}.{index}.fc2",
            act=f"{layers}.{index}.activation_fn",
        )
        for index in range(depth(model, layers))
    )


def _ids(vocabulary: int, seed: int) -> Tensor:
    """Token ids, (4, 8) int64, drawn evenly from the vocabulary."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocabulary, (_SENTENCES, _TOKENS), generator=generator)


def _decoder_example(model: nn.Module) -> Batch:
    import torch

    config: Any = model.config
    ids = _ids(config.vocab_size, seed=0)[:, : config.max_position_embeddings]
    # No cache: a block that keeps one would write to it under the layer's own number.
    return Batch((ids,), {"attention_mask": torch.ones_like(ids), "use_cache": False})


def _marian_example(model: nn.Module) -> Batch:
    import torch

    config: Any = model.config
    longest = config.max_position_embeddings
    source = _ids(config.vocab_size, seed=0)[:, :longest]
    # The decoder has a vocabulary of its own where embeddings are not shared.
    target = _ids(min(config.vocab_size, config.decoder_vocab_size), seed=1)[:, :longest]
    return Batch(
        (source,),
        {
            "attention_mask": torch.ones_like(source),
            "decoder_input_ids": target,
            "use_cache": False,
        },
    )


FAMILIES: tuple[Family, ...] = (
    Family(
        "transformers GPT-2",
        "GPT-2",
        "Decoders that write text, their weights stored in × out.",
        "Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
        kind="language-modeling",
        classes=(("transformers", "GPT2LMHeadModel"),),
        attention=("attn",),
        embeddings=("transformer.wte", "transformer.wpe"),
        head=("lm_head",),
        depths={"decoder": "n_layer"},
        find=_find_gpt2,
        example=_decoder_example,
    ),
    Family(
        "transformers OPT",
        "OPT",
        "Decoders that write text, their FF inputs flattened.",
        "Zhang et al. 2022, arXiv:2205.01068",
        kind="language-modeling",
        classes=(("transformers", "OPTForCausalLM"),),
        attention=("self_attn",),
        embeddings=(
            "model.decoder.embed_tokens",
            "model.decoder.embed_positions",
            "model.decoder.project_in",
        ),
        head=("lm_head", "model.decoder.project_out"),
        depths={"decoder": "num_hidden_layers"},
        find=_find_opt,
        example=_decoder_example,
    ),
    Family(
        "transformers Marian",
        "Marian",
        "Encoders and decoders that translate, two stacks.",
        "Junczys-Dowmunt et al. 2018, arXiv:1804.00344",
        kind="translation",
        classes=(("transformers", "MarianMTModel"),),
        attention=("self_attn", "encoder_attn"),
        embeddings=tuple(
            ["model.shared"]
            + [
                f"model.{stack}.{part}"
                for stack in ("encoder", "decoder")
                for part in ("embed_tokens", "embed_positions")
            ]
        ),
        head=("lm_head",),
        depths={"encoder": "encoder_layers", "decoder": "decoder_layers"},
        find=_find_marian,
        example=_marian_example,
    ),
)

"""Language models and translators of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffmerge_core.checks import expect
from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.models.families.declare import declare_stack
from ffmerge_core.models.families.family import Family
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.tasks.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor, nn

_SENTENCES, _TOKENS = 4, 8


def _find_gpt2(model: nn.Module) -> tuple[FFSublayer, ...]:
    return declare_stack(
        model,
        "decoder",
        "transformer.h",
        attention="attn",
        w_in="mlp.c_fc",
        w_out="mlp.c_proj",
        act="mlp.act",
    )


def _find_opt(model: nn.Module) -> tuple[FFSublayer, ...]:
    return _stack(model, "decoder")


def _find_marian(model: nn.Module) -> tuple[FFSublayer, ...]:
    return (*_stack(model, "encoder"), *_stack(model, "decoder"))


def _stack(model: nn.Module, stack: str) -> tuple[FFSublayer, ...]:
    """Blocks that own W_in, W_out and φ themselves, with no FF module around them."""
    return declare_stack(
        model,
        stack,
        f"model.{stack}.layers",
        attention="self_attn",
        w_in="fc1",
        w_out="fc2",
        act="activation_fn",
    )


def token_example(model: nn.Module) -> Batch:
    """Draw token ids evenly from the vocabulary, for a model of one stack.

    Parameters
    ----------
    model : torch.nn.Module
        Of transformers, with a `vocab_size` in its configuration.

    Returns
    -------
    Batch
        Of (4, 8) int64, or as many columns as the model has positions.

    Raises
    ------
    UnsupportedModelError
        If its configuration names no vocabulary.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> batch = fm.token_example(fm.load("demo:gpt2-code").model)
    >>> tuple(batch.args[0].shape)
    (4, 8)
    """
    import torch

    ids = _ids(model, "vocab_size", seed=0)
    # No cache: a block that keeps one would write to it under the layer's own number.
    return Batch((ids,), {"attention_mask": torch.ones_like(ids), "use_cache": False})


def pair_example(model: nn.Module) -> Batch:
    """Draw token ids evenly from the vocabulary, for an encoder and for a decoder.

    Parameters
    ----------
    model : torch.nn.Module
        Of transformers, with a `vocab_size` in its configuration.

    Returns
    -------
    Batch
        Two of (4, 8) int64, or as many columns as the model has positions.

    Raises
    ------
    UnsupportedModelError
        If its configuration names no vocabulary.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> batch = fm.pair_example(fm.load("demo:gpt2-code").model)
    >>> tuple(batch.args[0].shape), tuple(batch.kwargs["decoder_input_ids"].shape)
    ((4, 8), (4, 8))
    """
    import torch

    source = _ids(model, "vocab_size", seed=0)
    return Batch(
        (source,),
        {
            "attention_mask": torch.ones_like(source),
            # The decoder has a vocabulary of its own where embeddings are not shared.
            "decoder_input_ids": _ids(model, "decoder_vocab_size", seed=1),
            "use_cache": False,
        },
    )


def _ids(model: nn.Module, vocabulary: str, seed: int) -> Tensor:
    """(4, 8) int64; fewer columns where the model has fewer positions."""
    import torch

    expect(UnsupportedModelError, model=(model, torch.nn.Module))
    config: Any = getattr(model, "config", None)
    if not isinstance(whole := getattr(config, "vocab_size", None), int):
        raise UnsupportedModelError(
            f"The configuration of a {type(model).__name__} has no vocab_size, so no tokens can be "
            "drawn. Give its family an example of its own: a function of the model to a fm.Batch."
        )
    size = min(whole, getattr(config, vocabulary, whole))
    longest = min(_TOKENS, getattr(config, "max_position_embeddings", _TOKENS))
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, size, (_SENTENCES, _TOKENS), generator=generator)[:, :longest]


FAMILIES: tuple[Family, ...] = (
    Family(
        "transformers GPT-2",
        "GPT-2",
        "Decoders that write text; their weights are stored as in × out.",
        "Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
        kind="language-modeling",
        classes=(("transformers", "GPT2LMHeadModel"),),
        attention=("attn",),
        embeddings=("transformer.wte", "transformer.wpe"),
        head=("lm_head",),
        depths={"decoder": "n_layer"},
        find=_find_gpt2,
        example=token_example,
    ),
    Family(
        "transformers OPT",
        "OPT",
        "Decoders that write text; their FF sublayers take flattened inputs.",
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
        example=token_example,
    ),
    Family(
        "transformers Marian",
        "Marian",
        "Models that translate, with two stacks: an encoder and a decoder.",
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
        example=pair_example,
    ),
)

"""A small random model of every family, all its parameters random, and data of noise for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import timm
import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    OPTConfig,
    OPTForCausalLM,
    ViTConfig,
    ViTModel,
)

from ffmerge_core.models.families import family_of
from ffmerge_core.tasks.batch import Batch
from tests.conftest import randomise, timm_vit, transformers_vit

VOCABULARY, LONGEST = 40, 16


def gpt2(depth: int = 3) -> nn.Module:
    return randomise(
        GPT2LMHeadModel(
            GPT2Config(
                vocab_size=VOCABULARY, n_positions=LONGEST, n_embd=32, n_layer=depth, n_head=4,
                n_inner=48, bos_token_id=1, eos_token_id=2,
            )
        )
    )  # fmt: skip


def opt(**options: object) -> nn.Module:
    return randomise(
        OPTForCausalLM(
            OPTConfig(
                vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=3, ffn_dim=48,
                max_position_embeddings=LONGEST, num_attention_heads=4, word_embed_proj_dim=32,
                **options,
            )
        )
    )  # fmt: skip


def marian(**options: object) -> nn.Module:
    module = MarianMTModel(
        MarianConfig(
            vocab_size=VOCABULARY, decoder_vocab_size=VOCABULARY, d_model=32, encoder_layers=3,
            decoder_layers=3, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=LONGEST,
            activation_function="silu", pad_token_id=0, eos_token_id=1, bos_token_id=None,
            forced_eos_token_id=1, decoder_start_token_id=0, **options,
        )
    )  # fmt: skip
    positions = module.model.encoder.embed_positions.weight.clone()
    randomise(module)
    with torch.no_grad():
        # Sinusoids are no weights: transformers neither saves nor reads them.
        for stack in (module.model.encoder, module.model.decoder):
            stack.embed_positions.weight.copy_(positions)
        module.final_logits_bias.copy_(torch.linspace(-1, 1, VOCABULARY))
    return module


def vit_encoder(pooler: bool = True) -> nn.Module:
    return randomise(
        ViTModel(
            ViTConfig(
                hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
                image_size=8, patch_size=2, num_channels=1,
            ),
            add_pooling_layer=pooler,
        )
    )  # fmt: skip


TIMM_ARGUMENTS = {
    "img_size": 8, "patch_size": 2, "in_chans": 1, "num_classes": 10, "embed_dim": 32,
    "depth": 3, "num_heads": 4,
}  # fmt: skip


def timm_small() -> nn.Module:
    return randomise(timm.create_model("vit_tiny_patch16_224", **TIMM_ARGUMENTS))


def timm_encoder() -> nn.Module:
    return randomise(
        timm.create_model("vit_tiny_patch16_224", **TIMM_ARGUMENTS | {"num_classes": 0})
    )


MODELS: dict[str, Callable[[], nn.Module]] = {
    "timm ViT": timm_vit,
    "timm encoder": timm_encoder,
    "transformers ViT": transformers_vit,
    "transformers encoder": vit_encoder,
    "GPT-2": gpt2,
    "OPT": opt,
    "OPT post-norm": lambda: opt(do_layer_norm_before=False),
    "Marian": marian,
}
# Their classes.
DECODERS = ("GPT2LMHeadModel", "OPTForCausalLM")


def logits(module: nn.Module, batch: Batch) -> torch.Tensor:
    """What the model returns first: logits, or an encoder's last hidden state."""
    with torch.inference_mode():
        output = batch.run(module)
    return output if isinstance(output, torch.Tensor) else output[0]


class NoiseTask:
    """Calibration alone: enough to merge any model by permuting."""

    kind, data, metric, revision, examples = "noise", "noise", "none", "0", "batches"

    def __init__(self, module: nn.Module) -> None:
        self.batch = family_of(module).example(module)

    def calibration(self, seed: int, batch_size: int = 64) -> Iterator[Batch]:
        yield self.batch

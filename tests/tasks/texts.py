"""Small tokenizers, and models of random weights that read and write their tokens."""

from __future__ import annotations

import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
)

from ffmerge_core.tasks.language_modeling import LanguageModeling
from tests.conftest import randomise

PAD, END = "<pad>", "<end>"
LETTERS = string.ascii_letters + string.digits + " .,"


def bytes_tokenizer() -> PreTrainedTokenizerFast:
    """A token a UTF-8 byte, as a byte-level BPE has it that never learnt to merge."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {token: index for index, token in enumerate([END, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def letters_tokenizer(ended: bool = False) -> PreTrainedTokenizerFast:
    """A token a letter, <pad> 0 and <end> 1. ended: with <end> after every text."""
    ids = {token: index for index, token in enumerate([PAD, END, *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    if ended:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {END}", special_tokens=[(END, 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)


def gpt2(tokenizer: PreTrainedTokenizerFast, context: int) -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=context, n_embd=32, n_layer=2, n_head=4,
        n_inner=48, bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return randomise(GPT2LMHeadModel(config))  # type: ignore[return-value]


def marian(tokenizer: PreTrainedTokenizerFast, longest: int) -> MarianMTModel:
    size = len(tokenizer)
    config = MarianConfig(
        vocab_size=size, decoder_vocab_size=size, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
        decoder_ffn_dim=48, max_position_embeddings=longest, activation_function="silu",
        pad_token_id=0, eos_token_id=1, bos_token_id=None, forced_eos_token_id=1,
        decoder_start_token_id=0,
    )  # fmt: skip
    model = randomise(MarianMTModel(config), scale=1.0)
    # Smaller biases and embeddings, or every translation would be one letter again and again.
    for name, weight in model.named_parameters():
        weight.data *= 0.1 if "bias" in name else 0.3 if "shared" in name else 1.0
    return model  # type: ignore[return-value]


def language_task(context: int = 16, **changes: object) -> LanguageModeling:
    """Texts of letters: documents of 3 to 50 tokens."""
    texts = {
        "train": ("a" * 40, "b" * 3, "c" * 16, "d" * 15, "e" * 31),
        "validation": ("the quick brown fox jumps over the lazy dog", "again"),
        "test": ("pack my box, with five dozen liquor jugs", "how vexing", "it is"),
    }
    values = {"data": "letters", "tokenizer": letters_tokenizer(), "texts": texts}
    return LanguageModeling(**{**values, "context": context, **changes})  # type: ignore[arg-type]


def set_nan(model: nn.Module, name: str) -> nn.Module:
    model.get_parameter(name).data[0] = float("nan")
    return model

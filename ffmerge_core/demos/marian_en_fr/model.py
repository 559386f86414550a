"""The demo's architecture, its tokenizer and its trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from tokenizers import Tokenizer
from torch import Tensor
from transformers import MarianConfig, MarianMTModel

from ffmerge_core.errors import SourceError

FOLDER = Path(__file__).parent
WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"
PAD, END = "<pad>", "</s>"
PAD_ID, END_ID = 0, 1
VOCABULARY = 2048
LONGEST = 192  # tokens of a sentence, its end included


def build() -> MarianMTModel:
    """The untrained model: 6 encoder and 6 decoder layers, one vocabulary of 2,048 tokens.

    Translations start from the padding token, as Marian's do.
    """
    config = MarianConfig(
        vocab_size=VOCABULARY,
        decoder_vocab_size=VOCABULARY,
        d_model=96,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=512,
        decoder_ffn_dim=512,
        max_position_embeddings=LONGEST,
        activation_function="silu",
        dropout=0.0,
        scale_embedding=True,
        pad_token_id=PAD_ID,
        eos_token_id=END_ID,
        bos_token_id=None,
        forced_eos_token_id=END_ID,
        decoder_start_token_id=PAD_ID,
        use_cache=True,
    )
    return MarianMTModel(config)


def load_tokenizer(folder: Path = FOLDER) -> Tokenizer:
    """Byte-level BPE shared by both languages, digits apart; puts the end after a text.

    Raises `SourceError` if it is absent or damaged.
    """
    try:
        return Tokenizer.from_str((folder / TOKENIZER).read_text("utf-8"))
    # tokenizers raises nothing narrower for a damaged file.
    except Exception as error:
        raise SourceError(
            f"The tokenizer of demo:marian-en-fr cannot be read ({error}). Install the package "
            "again."
        ) from error


def load(folder: Path = FOLDER) -> MarianMTModel:
    """The trained model, fp32, in evaluation mode. Raises `SourceError` if damaged."""
    model = build()
    try:
        load_model(model, folder / WEIGHTS)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise SourceError(
            f"The weights of demo:marian-en-fr cannot be read ({error}). Install the package again."
        ) from error
    model.train(False)
    return model


def encode(tokenizer: Tokenizer, sentences: Sequence[str]) -> Tensor:
    """Token ids (n_sentences, longest), each ended by END and then padded."""
    tokenizer.enable_padding(pad_id=PAD_ID, pad_token=PAD)
    tokenizer.enable_truncation(LONGEST)
    return torch.tensor([each.ids for each in tokenizer.encode_batch(list(sentences))])


@torch.inference_mode()
def translate(
    model: MarianMTModel, tokenizer: Tokenizer, sentences: Sequence[str], batch_size: int = 50
) -> list[str]:
    """Greedy translations, in the order of the sentences. model: in evaluation mode."""
    # Sentences of like length go together: little padding, and few stragglers.
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    translated = [""] * len(sentences)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        source = encode(tokenizer, [sentences[index] for index in chosen])
        ids = model.generate(  # type: ignore[misc]
            input_ids=source,
            attention_mask=source != PAD_ID,
            max_new_tokens=LONGEST - 1,
            num_beams=1,
            do_sample=False,
        )
        for index, text in zip(
            chosen, tokenizer.decode_batch(cast(Tensor, ids).tolist()), strict=True
        ):
            translated[index] = text.strip()
    return translated

"""The demo's architecture, its tokenizer and its trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast

from ffmerge_core.demos.files import read_tokenizer, with_weights
from ffmerge_core.demos.marian_en_fr.data import Sentences, corpus_hash
from ffmerge_core.tasks.translation import Translation

FOLDER = Path(__file__).parent
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


def load(folder: Path = FOLDER) -> tuple[MarianMTModel, Translation]:
    """The trained model, fp32, in evaluation mode, and its task.

    Raises `SourceError` if a file is damaged.
    """
    return with_weights(build(), folder), sentences_task(read_tokenizer(folder))


def sentences_task(tokenizer: Tokenizer) -> Translation:
    """The sentences as a task. tokenizer: byte-level BPE of both languages, digits apart."""
    return Translation(
        data="CLDR sentences",
        tokenizer=PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizer,
            pad_token=PAD,
            eos_token=END,
            model_max_length=LONGEST,
            clean_up_tokenization_spaces=False,
        ),
        pairs={split: Sentences(split) for split in ("train", "validation", "test")},
        longest=LONGEST,
        digest=corpus_hash(),
    )


def encode(tokenizer: Tokenizer, sentences: Sequence[str]) -> Tensor:
    """Token ids (n_sentences, longest), each ended by END and then padded."""
    tokenizer.enable_padding(pad_id=PAD_ID, pad_token=PAD)
    tokenizer.enable_truncation(LONGEST)
    return torch.tensor([each.ids for each in tokenizer.encode_batch(list(sentences))])

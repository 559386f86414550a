"""The demo's architecture, its tokenizer and its trained weights."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from ffmerge_core.demos.files import read_tokenizer, with_weights
from ffmerge_core.demos.gpt2_code.data import END_OF_TEXT, of_split
from ffmerge_core.tasks.language_modeling import LanguageModeling

FOLDER = Path(__file__).parent
VOCABULARY = 2048
CONTEXT = 256  # tokens


def build() -> GPT2LMHeadModel:
    """The untrained model: token ids (batch, tokens) to logits (batch, tokens, 2048).

    2.7 million parameters, 12 blocks; at most 256 tokens.
    """
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=128,
        n_layer=12,
        n_head=4,
        n_inner=512,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        # GPT-2's own 0.02 suits a width of 768; a narrower model starts better a little wider.
        initializer_range=0.05,
    )
    return GPT2LMHeadModel(config)


def load(folder: Path = FOLDER) -> tuple[GPT2LMHeadModel, LanguageModeling]:
    """The trained model, fp32, in evaluation mode, and its task.

    Raises `SourceError` if a file is damaged.
    """
    return with_weights(build(), folder), code_task(read_tokenizer(folder))


def code_task(tokenizer: Tokenizer) -> LanguageModeling:
    """The standard library's modules as a task. tokenizer: byte-level BPE of 2,048 tokens."""
    return LanguageModeling(
        data="standard library",
        tokenizer=PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizer,
            bos_token=END_OF_TEXT,
            eos_token=END_OF_TEXT,
            model_max_length=CONTEXT,
            clean_up_tokenization_spaces=False,
        ),
        texts={
            split: tuple(module.text for module in of_split(split))
            for split in ("train", "validation", "test")
        },
        context=CONTEXT,
    )

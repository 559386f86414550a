"""The demo's architecture, its tokenizer and its trained weights."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_model
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from ffmerge_core.errors import SourceError

FOLDER = Path(__file__).parent
WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"
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
        use_cache=False,
    )
    return GPT2LMHeadModel(config)


def load_tokenizer(folder: Path = FOLDER) -> Tokenizer:
    """Byte-level BPE of 2,048 tokens: any text goes in, and comes out as it was.

    Raises `SourceError` if it is absent or damaged.
    """
    try:
        return Tokenizer.from_str((folder / TOKENIZER).read_text("utf-8"))
    # tokenizers raises nothing narrower for a damaged file.
    except Exception as error:
        raise SourceError(
            f"The tokenizer of demo:gpt2-code cannot be read ({error}). Install the package again."
        ) from error


def load(folder: Path = FOLDER) -> GPT2LMHeadModel:
    """The trained model, fp32, in evaluation mode. Raises `SourceError` if damaged."""
    model = build()
    try:
        load_model(model, folder / WEIGHTS)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise SourceError(
            f"The weights of demo:gpt2-code cannot be read ({error}). Install the package again."
        ) from error
    model.train(False)
    return model

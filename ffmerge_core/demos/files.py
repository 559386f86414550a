"""Reading a demo's own files, with a sentence where one is absent or damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_model
from tokenizers import Tokenizer
from torch import nn

from ffmerge_core.errors import SourceError

WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"

Model = TypeVar("Model", bound=nn.Module)


def with_weights(model: Model, folder: Path) -> Model:
    """`model` with the folder's weights, in evaluation mode. Raises `SourceError`."""
    try:
        load_model(model, folder / WEIGHTS)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise SourceError(_damaged("weights", folder, error)) from error
    model.train(False)
    return model


def read_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer. Raises `SourceError`."""
    try:
        return Tokenizer.from_str((folder / TOKENIZER).read_text("utf-8"))
    # tokenizers raises nothing narrower for a damaged file.
    except Exception as error:
        raise SourceError(_damaged("tokenizer", folder, error)) from error


def _damaged(what: str, folder: Path, error: Exception) -> str:
    return f"The {what} of a demo in {folder} cannot be read ({error}). Install the package again."

"""Weights in pytorch_model.bin, which somebody said yes to: by torch's weights-only loader alone.

A pickle can call any function that it names. The weights-only loader knows a short list of what
tensors are made of, and refuses a file that names anything else, before it calls it.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffmerge_core.errors import SourceError
from ffmerge_core.storage.weights import TYPES, Entry, sharded

# How a refusal goes on where there is a file that consent opens.
CONSENT = (
    ", or, if you trust its origin, allow it (allow_bin=True, --allow-bin, or the box on the Model "
    "page): then torch's weights-only loader reads it, which refuses whatever is no tensor."
)
BIN = "pytorch_model.bin"
BIN_INDEX = "pytorch_model.bin.index.json"


def bin_files(folder: Path) -> list[Path]:
    """The pickles that transformers and timm keep weights in; none if the folder has no such."""
    if (folder / BIN).is_file():
        return [folder / BIN]
    return sharded(folder / BIN_INDEX) if (folder / BIN_INDEX).is_file() else []


def entries_in_bins(files: Iterable[Path]) -> dict[str, Entry]:
    """The tensors in such files, by name; `SourceError` for whatever else they hold."""
    found: dict[str, Entry] = {}
    for path in files:
        for name, tensor in _read(path).items():
            if not isinstance(name, str) or not _is_plain(tensor):
                raise SourceError(
                    f"{path} holds {str(name)[:60]!r} as a {type(tensor).__name__}; names of plain "
                    "tensors were expected. Save the model again as safetensors."
                )
            found[name] = Entry.of(tensor)
    return found


def _is_plain(tensor: Any) -> bool:
    plain = isinstance(tensor, Tensor) and tensor.layout == torch.strided
    return plain and tensor.dtype in TYPES.values() and tensor.device.type == "cpu"


def _read(path: Path) -> Mapping[Any, Any]:
    try:
        with path.open("rb") as file:
            # A zip is mapped into memory while it is read; the older format cannot be.
            mapped = file.read(2) == b"PK"
        with warnings.catch_warnings():
            # Of the file's format and of what it costs to check; what counts is raised.
            warnings.simplefilter("ignore")
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        # torch's own words go on to tell how to read it without a check.
        said = " ".join(str(error).split())
        named = said.partition("Unsupported global: GLOBAL ")[2].partition(" ")[0]
        asks = f"it asks for {named}" if named else "it is damaged, or asks for code"
        raise SourceError(
            f"{path} holds more than weights ({asks}), so it is refused. Ask who made it for "
            "safetensors."
        ) from None
    except Exception as error:  # torch raises anything for a damaged file
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise SourceError(
            f"{path} is damaged or cut short ({said}). Copy or download it again."
        ) from None
    if not isinstance(held, Mapping):
        raise SourceError(
            f"{path} holds a {type(held).__name__}; names of tensors were expected. Save the model "
            "again as safetensors."
        )
    return held

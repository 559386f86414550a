"""Reading a folder written by transformers or timm: safetensors only, and no code from it runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ffmerge_core import demos
from ffmerge_core.errors import SourceError
from ffmerge_core.storage.library import one_line
from ffmerge_core.storage.opened import RawModel
from ffmerge_core.storage.pickled import CONSENT, bin_files
from ffmerge_core.storage.quantised import refuse_quantised
from ffmerge_core.storage.timm_folder import build_timm, load_timm
from ffmerge_core.storage.transformers_folder import build_transformers, load_transformers

CONFIG = "config.json"
# What image processors of transformers are kept in; newer ones in the first.
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
ADAPTER = "adapter_config.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "source.spm")


def resolved(source: str | Path) -> Path:
    """The absolute path that `source` means; `SourceError` if it cannot be one."""
    try:
        folder = Path(source).expanduser().resolve()
        folder.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(f"“{source}” cannot be a folder's path ({error}).") from None
    return folder


def open_folder(folder: Path, allow_bin: bool = False) -> RawModel:
    """The model in a folder saved by transformers' `save_pretrained` or timm's `save_for_hf`.

    allow_bin: read a pickle, checked, if there is nothing else. Raises `SourceError` (absent,
    damaged, refused) or `UnsupportedModelError`.
    """
    config = checked_config(folder, allow_bin)
    load = load_timm if "architecture" in config else load_transformers
    read = load(folder, config)
    around = beside(folder, read.module, config)
    return replace(read, tokenizer=around.tokenizer, settings=around.settings)


def checked_config(folder: Path, allow_bin: bool = False) -> dict[str, Any]:
    """Its config.json, after refusing what no library should touch: absent, pickled, damaged."""
    if not folder.exists():
        raise SourceError(
            f"There is no folder {folder}. Give a folder saved by save_pretrained or timm, a "
            "model of the hub as hf:organisation/name, or a demo: "
            f"{', '.join(demos.PREFIX + name for name in demos.names())}."
        )
    if not folder.is_dir():
        raise SourceError(f"{folder} is a file. Give the folder that holds it and its config.json.")
    if (folder / ADAPTER).is_file():
        raise SourceError(
            f"{folder} holds an adapter ({ADAPTER}), and a merge changes whole weights alone. Add "
            "the adapter to its model first: peft's model.merge_and_unload(), then save_pretrained "
            "into another folder, and open that one. To open the model without it, take the files "
            "called adapter_… away."
        )
    if not (folder / CONFIG).is_file():
        raise SourceError(
            f"{folder} holds no model: config.json is not there. Give a folder saved by "
            "save_pretrained or timm's save_for_hf."
        )
    config = read_json(folder / CONFIG)
    refuse_quantised(folder, config, ())
    _check_weights(folder, allow_bin)
    if "architecture" not in config and "model_type" not in config:
        raise SourceError(
            f"{folder / CONFIG} names neither a transformers model_type nor a timm architecture, "
            "so the model it describes is not known."
        )
    return config


def build(folder: Path, config: dict[str, Any]) -> nn.Module:
    """The model that config.json describes, its weights not read yet."""
    make = build_timm if "architecture" in config else build_transformers
    return make(folder, config)


def beside(folder: Path, module: nn.Module, config: dict[str, Any]) -> RawModel:
    """The module with what else the folder holds: settings and the tokenizer."""
    if "architecture" in config:
        return RawModel(module, settings={CONFIG: config})
    settings = {name: read_json(folder / name) for name in PROCESSORS if (folder / name).is_file()}
    if settings:
        return RawModel(module, settings=settings)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        return RawModel(module)
    from transformers import AutoTokenizer

    read: Any = AutoTokenizer.from_pretrained
    try:
        return RawModel(module, read(folder, local_files_only=True, trust_remote_code=False))
    # A damaged file, or a package that this tokenizer needs; the error says which.
    except Exception as error:
        raise SourceError(
            f"transformers cannot read the tokenizer in {folder}: {one_line(error)}"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; `SourceError` for anything else."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise SourceError(
            f"{path} cannot be read as JSON ({error}). Save the model again."
        ) from None
    if not isinstance(values, dict):
        raise SourceError(f"{path} holds a {type(values).__name__}; an object was expected.")
    return values


def _check_weights(folder: Path, allow_bin: bool) -> None:
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        allowed = bin_files(folder)
        if allowed and allow_bin:
            return
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
        if pickles:
            raise SourceError(
                f"{folder} holds its weights only as a pickle ({pickles[0]}), which can run code "
                "when opened, so it is refused. Save it again with safe_serialization=True"
                f"{CONSENT if allowed else '.'}"
            )
        raise SourceError(
            f"{folder} has a config.json but no model.safetensors beside it. Save the model again "
            "with safetensors weights."
        )
    for path in files:
        try:
            with safe_open(path, framework="pt") as weights:
                weights.keys()
        except (SafetensorError, OSError) as error:
            raise SourceError(
                f"{path} is damaged or cut short ({error}). Copy or download it again."
            ) from None


def say_type(config: Path, state: Mapping[str, Tensor]) -> None:
    """Have a config.json of transformers say the type of most numbers that are written beside it.

    Plain transformers opens the model in it.
    """
    counts: Counter[torch.dtype] = Counter()
    for tensor in {id(each): each for each in state.values()}.values():
        if tensor.is_floating_point():
            counts[tensor.dtype] += tensor.numel()
    values = read_json(config)
    kept = str(counts.most_common(1)[0][0]).removeprefix("torch.")
    if values.get("dtype") != kept:
        text = json.dumps(values | {"dtype": kept}, indent=2, sort_keys=True) + "\n"
        config.write_text(text, "utf-8")

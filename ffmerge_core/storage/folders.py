"""Reading a folder written by transformers or timm: safetensors only, and no code from it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ffmerge_core import demos
from ffmerge_core.errors import SourceError
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.storage.gaps import left_out, named_like_buffers, refuse_gaps, refuse_shapes
from ffmerge_core.storage.library import (
    cannot_open,
    one_line,
    quiet_transformers,
    transformers_class,
)
from ffmerge_core.storage.timm_folder import build_timm, load_timm

CONFIG = "config.json"
# What image processors of transformers are kept in; newer ones in the first.
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
WEIGHTS = "model.safetensors"
ADAPTER = "adapter_config.json"
_GENERATION = "generation_config.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "source.spm")


@dataclass(frozen=True, eq=False)
class RawModel:
    """What a folder holds. tokenizer, settings: as in `LoadedModel`.

    sublayers: its FF sublayers, where the module itself does not say (some were reduced).
    left_out: tensors of its file that it has no use for, by name.
    """

    module: nn.Module
    tokenizer: Any = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sublayers: tuple[FFSublayer, ...] | None = None
    left_out: tuple[str, ...] = ()


def resolved(source: str | Path) -> Path:
    """The absolute path that `source` means; `SourceError` if it cannot be one."""
    try:
        folder = Path(source).expanduser().resolve()
        folder.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(f"“{source}” cannot be a folder's path ({error}).") from None
    return folder


def open_folder(folder: Path) -> RawModel:
    """The model in a folder saved by transformers' `save_pretrained` or timm's `save_for_hf`.

    Raises `SourceError` (absent, damaged, refused) or `UnsupportedModelError`.
    """
    config = checked_config(folder)
    read = load_timm if "architecture" in config else _load_transformers
    module, left = read(folder, config)
    return replace(beside(folder, module, config), left_out=left)


def checked_config(folder: Path) -> dict[str, Any]:
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
    _check_weights(folder)
    if "architecture" not in config and "model_type" not in config:
        raise SourceError(
            f"{folder / CONFIG} names neither a transformers model_type nor a timm architecture, "
            "so the model it describes is not known."
        )
    return config


def build(folder: Path, config: dict[str, Any]) -> nn.Module:
    """The model that config.json describes, its weights not read yet."""
    if "architecture" in config:
        return build_timm(folder, config)
    kind, settings = transformers_class(folder, config)
    try:
        module: nn.Module = kind(settings)
        if (folder / _GENERATION).is_file():
            from transformers import GenerationConfig

            generation: Any = GenerationConfig.from_pretrained(folder, local_files_only=True)
            module.generation_config = generation
    except Exception as error:
        raise cannot_open(folder, error) from None
    return module


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


def _check_weights(folder: Path) -> None:
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
        if pickles:
            raise SourceError(
                f"{folder} holds its weights only as a pickle ({pickles[0]}), which can run code "
                "when opened, so it is refused. Save it again with safe_serialization=True."
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


def _load_transformers(folder: Path, config: dict[str, Any]) -> tuple[nn.Module, tuple[str, ...]]:
    """The module with its weights, and the names in the files that it has no use for."""
    kind, settings = transformers_class(folder, config)
    try:
        with quiet_transformers():
            module, found = kind.from_pretrained(
                folder,
                config=settings,
                local_files_only=True,
                use_safetensors=True,
                # As saved it may be half precision; a recipe says float32.
                dtype=torch.float32,
                output_loading_info=True,
                # They are refused below, in a sentence of our own.
                ignore_mismatched_sizes=True,
            )
    except Exception as error:  # whatever a wrong config.json makes of a constructor
        raise cannot_open(folder, error) from None
    assert isinstance(module, nn.Module)
    refuse_shapes(folder, found["mismatched_keys"])
    stored = _Stored(folder, module)
    unexpected = set(map(stored.whole, found["unexpected_keys"]))
    unexpected |= named_like_buffers(module, stored.names)
    harmless = left_out(module, unexpected, stored.value)
    refuse_gaps(folder, found["missing_keys"], unexpected - set(harmless))
    for tensor in (*module.parameters(), *module.buffers()):
        # It may be the file itself, mapped into memory: whoever wrote over that file would
        # change this model, and whoever cut it short would end the process.
        tensor.data = tensor.data.clone()
    return module, harmless


class _Stored:
    """The tensors of a folder by the names that the model has for them, read one at a time."""

    def __init__(self, folder: Path, module: nn.Module) -> None:
        from safetensors import safe_open

        self._module = module
        self._files: dict[str, tuple[Path, str]] = {}
        whole = folder / WEIGHTS
        for path in [whole] if whole.is_file() else sorted(folder.glob("model-*.safetensors")):
            with safe_open(path, framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118 (no mapping)
                    self._files[self.whole(name)] = path, name

    def whole(self, name: str) -> str:
        """A name with the prefix that it lacks in the file of a model saved without its head."""
        base = str(getattr(self._module, "base_model_prefix", ""))
        first = name.split(".")[0]
        inside = hasattr(getattr(self._module, base, None), first)
        return f"{base}.{name}" if inside and not hasattr(self._module, first) else name

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._files)

    def value(self, name: str) -> torch.Tensor | None:
        """What a file holds by a name; None if none does."""
        from safetensors import safe_open

        if name not in self._files:
            return None
        path, stored = self._files[name]
        with safe_open(path, framework="pt") as weights:
            tensor: torch.Tensor = weights.get_tensor(stored)
        return tensor

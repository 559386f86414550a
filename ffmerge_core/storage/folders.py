"""Reading a folder written by transformers or timm: safetensors only, and no code from it runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ffmerge_core import demos
from ffmerge_core.errors import SourceError, UnsupportedModelError
from ffmerge_core.models.families import known_classes
from ffmerge_core.models.sublayers import FFSublayer

CONFIG = "config.json"
# What image processors of transformers are kept in; newer ones in the first.
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
WEIGHTS = "model.safetensors"
_GENERATION = "generation_config.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "source.spm")


@dataclass(frozen=True, eq=False)
class RawModel:
    """What a folder holds. tokenizer, settings: as in `LoadedModel`.

    sublayers: its FF sublayers, where the module itself does not say (some were reduced).
    """

    module: nn.Module
    tokenizer: Any = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sublayers: tuple[FFSublayer, ...] | None = None


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
    if "architecture" in config:
        return beside(folder, _load_timm(folder, config), config)
    return beside(folder, _load_transformers(folder, config), config)


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
        return _build_timm(folder, config)
    kind, settings = _transformers_class(folder, config)
    try:
        module: nn.Module = kind(settings)
        if (folder / _GENERATION).is_file():
            from transformers import GenerationConfig

            generation: Any = GenerationConfig.from_pretrained(folder, local_files_only=True)
            module.generation_config = generation
    except Exception as error:
        raise _cannot_open(folder, error) from None
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
            f"transformers cannot read the tokenizer in {folder}: {_one_line(error)}"
        ) from None


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars on the terminal: who wants progress passes a callback."""
    from transformers.utils import logging

    bars: Any = logging  # its functions have no annotations
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


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


def refuse_gaps(folder: Path, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """`SourceError` if the file's names are not exactly the model's."""
    for what, keys in (("lack", sorted(missing)), ("hold unknown", sorted(unexpected))):
        if keys:
            shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
            raise SourceError(
                f"The weights in {folder} {what} {shown}: they belong to another model than "
                "config.json describes."
            )


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


def _build_timm(folder: Path, config: dict[str, Any]) -> nn.Module:
    import timm

    architecture = str(config["architecture"])
    if architecture not in timm.list_models():
        raise UnsupportedModelError(f"timm has no architecture called {architecture}.")
    try:
        arguments = dict(config.get("model_args") or {})
        arguments.setdefault("num_classes", config.get("num_classes", 1000))
        module: nn.Module = timm.create_model(architecture, pretrained=False, **arguments)
    except Exception as error:  # whatever a wrong config.json makes of a constructor
        raise SourceError(
            f"timm cannot build {architecture} from {folder / CONFIG} ({error})."
        ) from None
    return module


def _load_timm(folder: Path, config: dict[str, Any]) -> nn.Module:
    from safetensors.torch import load_file

    module = _build_timm(folder, config)
    try:
        found = module.load_state_dict(load_file(folder / WEIGHTS), strict=False)
    except (OSError, RuntimeError) as error:
        raise SourceError(
            f"The weights in {folder} do not fit {config['architecture']}: {error}"
        ) from None
    refuse_gaps(folder, found.missing_keys, found.unexpected_keys)
    return module


def _transformers_class(folder: Path, config: dict[str, Any]) -> tuple[Any, Any]:
    """The class that config.json names, and the configuration as transformers reads it."""
    import transformers

    known = known_classes("transformers")
    classes = config.get("architectures") or []
    if not (isinstance(classes, list) and len(classes) == 1 and classes[0] in known):
        named = ", ".join(map(str, classes)) or "no class named"
        raise UnsupportedModelError(
            f"{folder} holds a {config['model_type']} model ({named}). Of transformers' models, "
            f"{', '.join(known[:-1])} and {known[-1]} are known here. Declare yours with "
            "fm.register_family before it is loaded."
        )
    kind = getattr(transformers, classes[0])
    try:
        settings = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever a wrong config.json makes of a constructor
        raise _cannot_open(folder, error) from None
    if not isinstance(settings, kind.config_class):
        raise SourceError(
            f"{folder / CONFIG} describes a {config['model_type']} model but names the class "
            f"{classes[0]}. Save the model again."
        )
    return kind, settings


def _load_transformers(folder: Path, config: dict[str, Any]) -> nn.Module:
    kind, settings = _transformers_class(folder, config)
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
            )
    except Exception as error:  # whatever a wrong config.json makes of a constructor
        raise _cannot_open(folder, error) from None
    if found.get("mismatched_keys"):
        name = str(next(iter(found["mismatched_keys"])))
        raise SourceError(f"In {folder}, {name} has another shape than config.json says.")
    refuse_gaps(folder, found["missing_keys"], found["unexpected_keys"])
    assert isinstance(module, nn.Module)
    for tensor in (*module.parameters(), *module.buffers()):
        # It may be the file itself, mapped into memory: whoever wrote over that file would
        # change this model, and whoever cut it short would end the process.
        tensor.data = tensor.data.clone()
    return module


def _cannot_open(folder: Path, error: Exception) -> SourceError:
    return SourceError(f"transformers cannot open {folder}: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Opening a model: a demo, a folder saved by transformers or timm, or a module in memory.

Weights are read from safetensors only, never from a pickle; no code from a folder runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ffmerge_core import demos
from ffmerge_core.errors import DataError, SourceError, UnsupportedModelError
from ffmerge_core.models.families import Family, family_of
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.proof import prove
from ffmerge_core.models.structure import fingerprint
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.task import Task

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_STEPS = 4


def load(
    source: str | Path | nn.Module, task: Task | str | None = None, report: Report = silent
) -> LoadedModel:
    """Open and prove a model.

    source: "demo:vit-digits"; a folder written by transformers' `save_pretrained` or timm's
        `save_for_hf` with safetensors; or a module of a known family, used as it is (its
        mode and weights are not touched).
    task: what to measure it on: your own `Task`, or "digits" for the built-in data fitted to
        the model's input. A demo brings its own.
    Raises `SourceError` (absent, damaged, refused), `UnsupportedModelError` (a subclass),
    `ProofError`, `DataError` (the task does not suit).
    """
    report(0, _STEPS, "Reading the weights")
    own_task: Task | None = None
    if isinstance(source, nn.Module):
        module, name = source, f"module:{type(source).__name__}"
    elif str(source).startswith(demos.PREFIX):
        name = str(source)
        module, own_task = demos.load(name)
    else:
        folder = _folder(source)
        module, name = _load_folder(folder), str(folder)
    if not isinstance(source, nn.Module):
        module.eval()
    report(1, _STEPS, "Finding the FF sublayers")
    family = family_of(module)
    sublayers = family.find(module)
    report(2, _STEPS, "Proving the FF sublayers")
    prove(module, sublayers, family.example(module))
    report(3, _STEPS, "Fitting the data")
    chosen = _data_named(task, module, family) if isinstance(task, str) else task or own_task
    loaded = LoadedModel(module, chosen, sublayers, family, name, fingerprint(module))
    report(_STEPS, _STEPS, "Ready")
    return loaded


def _data_named(name: str, module: nn.Module, family: Family) -> Task:
    if name != "digits":
        raise DataError(f'There is no built-in data called "{name}"; the one there is: "digits".')
    from ffmerge_core.demos.vit_digits.data import digits_task

    _, channels, height, width = family.example(module).args[0].shape
    if height != width:
        raise DataError(
            f"The model takes images of {height}×{width}; the digits are square. "
            "Pass task= with images of its own shape."
        )
    return digits_task().fitted_to(channels, height)


def _folder(source: str | Path) -> Path:
    try:
        folder = Path(source).expanduser().resolve()
        folder.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(f"“{source}” cannot be a folder's path ({error}).") from None
    return folder


def _load_folder(folder: Path) -> nn.Module:
    if not folder.exists():
        raise SourceError(
            f"There is no folder {folder}, and names of a hub are not downloaded. Give a folder "
            "saved by save_pretrained or timm, or a "
            f"demo: {', '.join(demos.PREFIX + name for name in demos.names())}."
        )
    if not folder.is_dir():
        raise SourceError(f"{folder} is a file. Give the folder that holds it and its config.json.")
    config = _read_config(folder / "config.json")
    _check_weights(folder)
    if "architecture" in config:
        return _load_timm(folder, config)
    if "model_type" in config:
        return _load_transformers(folder, config)
    raise SourceError(
        f"{folder / 'config.json'} names neither a transformers model_type nor a timm "
        "architecture, so the model it describes is not known."
    )


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SourceError(
            f"{path.parent} holds no model: config.json is not there. Give a folder saved by "
            "save_pretrained or timm's save_for_hf."
        )
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise SourceError(
            f"{path} cannot be read as JSON ({error}). Save the model again."
        ) from None
    if not isinstance(config, dict):
        raise SourceError(f"{path} holds a {type(config).__name__}; an object was expected.")
    return config


def _check_weights(folder: Path) -> None:
    """Refuse what is absent, pickled or damaged before any library touches it."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
        if pickles:
            raise SourceError(
                f"{folder} holds its weights only as a pickle ({pickles[0]}), which can run code "
                "when opened, so it is refused. Save it again with safe_serialization=True."
            )
        raise SourceError(f"{folder} has a config.json but no model.safetensors beside it.")
    for path in files:
        try:
            with safe_open(path, framework="pt") as weights:
                weights.keys()
        except (SafetensorError, OSError) as error:
            raise SourceError(
                f"{path} is damaged or cut short ({error}). Copy or download it again."
            ) from None


def _load_timm(folder: Path, config: dict[str, Any]) -> nn.Module:
    import timm
    from safetensors.torch import load_file

    architecture = str(config["architecture"])
    if architecture not in timm.list_models():
        raise UnsupportedModelError(f"timm has no architecture called {architecture}.")
    arguments = dict(config.get("model_args") or {})
    arguments.setdefault("num_classes", config.get("num_classes", 1000))
    try:
        module: nn.Module = timm.create_model(architecture, pretrained=False, **arguments)
    except Exception as error:  # whatever a wrong config.json makes of a constructor
        raise SourceError(
            f"timm cannot build {architecture} from {folder / 'config.json'} ({error})."
        ) from None
    try:
        found = module.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    except (OSError, RuntimeError) as error:
        raise SourceError(f"The weights in {folder} do not fit {architecture}: {error}") from None
    _refuse_gaps(folder, found.missing_keys, found.unexpected_keys)
    return module


def _load_transformers(folder: Path, config: dict[str, Any]) -> nn.Module:
    from transformers import AutoConfig, ViTForImageClassification

    # With output_loading_info it returns a pair, which its annotations do not say.
    from_pretrained: Any = ViTForImageClassification.from_pretrained

    kind, classes = config["model_type"], config.get("architectures") or []
    if kind != "vit" or classes != ["ViTForImageClassification"]:
        raise UnsupportedModelError(
            f"{folder} holds a {kind} model ({', '.join(classes) or 'no class named'}). Of "
            "transformers' models, ViTForImageClassification is known here."
        )
    try:
        settings = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        module, found = from_pretrained(
            folder,
            config=settings,
            local_files_only=True,
            use_safetensors=True,
            # As saved it may be half precision; a recipe says float32.
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # whatever a wrong config.json makes of a constructor
        problem = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"transformers cannot open {folder}: {problem}") from None
    if found.get("mismatched_keys"):
        name = str(next(iter(found["mismatched_keys"])))
        raise SourceError(f"In {folder}, {name} has another shape than config.json says.")
    _refuse_gaps(folder, found["missing_keys"], found["unexpected_keys"])
    assert isinstance(module, nn.Module)
    return module


def _refuse_gaps(folder: Path, missing: Any, unexpected: Any) -> None:
    for what, keys in (("lack", sorted(missing)), ("hold unknown", sorted(unexpected))):
        if keys:
            shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
            raise SourceError(
                f"The weights in {folder} {what} {shown}: they belong to another model than "
                "config.json describes."
            )

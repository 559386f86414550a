"""Reading a timm folder as timm's own `create_model("local-dir:…", pretrained=True)` does.

timm builds the module and converts names. The weights are read here, from safetensors alone, and
whatever does not fit is refused: timm fills gaps with random values and only logs that it did.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ffmerge_core.errors import SourceError, UnsupportedModelError
from ffmerge_core.storage.comparing import refuse_other_values
from ffmerge_core.storage.gaps import left_out, read_into, refuse_shapes
from ffmerge_core.storage.memory import refuse_too_large
from ffmerge_core.storage.opened import RawModel
from ffmerge_core.storage.weights import Entry, entries_in

# In timm's order. A file of any other name is read if it is the only one.
_NAMES = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
)


def build_timm(folder: Path, config: Mapping[str, Any]) -> nn.Module:
    """The module that config.json describes, by whatever name timm knows its architecture.

    As timm's "local-dir:" has it, but for fields of other versions, which timm stumbles on. What
    stands in model_args reaches the architecture alone, so no other file can be named there.
    """
    import timm
    from timm.models import PretrainedCfg, model_entrypoint
    from timm.models._hub import load_model_config_from_path

    architecture = str(config["architecture"])
    if not timm.is_model(architecture):
        raise UnsupportedModelError(f"timm has no architecture called {architecture}.")
    known = {field.name for field in fields(PretrainedCfg)}
    try:
        about, _, arguments = load_model_config_from_path(folder)
        arguments = arguments or about.get("model_args") or {}
        about = {name: value for name, value in about.items() if name in known}
        with _old_names_are_fine():
            make: Callable[..., nn.Module] = model_entrypoint(architecture)
            module = make(pretrained=False, pretrained_cfg=about, **arguments)
    except Exception as error:  # whatever a wrong config.json makes of a constructor
        said = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(
            f"timm cannot build {architecture} from {folder / 'config.json'} ({said})."
        ) from None
    return module


def load_timm(folder: Path, config: Mapping[str, Any]) -> RawModel:
    """The module with its weights, and what there is to say of the file."""
    from timm.models import clean_state_dict

    stored: dict[str, Entry] = clean_state_dict(entries_in([_weights(folder)]))
    refuse_too_large(folder, config, stored, lambda: build_timm(folder, config))
    module = build_timm(folder, config)
    wanted = module.state_dict()
    refuse_shapes(
        folder,
        (
            (name, entry.shape, wanted[name].shape)
            for name, entry in stored.items()
            if name in wanted and entry.shape != wanted[name].shape
        ),
    )
    found: dict[str, Entry] = stored
    dropped: tuple[str, ...] = ()
    if not wanted.keys() <= stored.keys():
        found, dropped = _converted(folder, module, stored)
    harmless = left_out(module, found.keys() - wanted.keys(), lambda name: found[name].read())
    used = {name: found[name] for name in found if name not in harmless}
    types = read_into(module, folder, used)
    refuse_other_values(folder, module, used)
    return RawModel(module, left_out=tuple(sorted({*harmless, *dropped})), stored=types)


def _weights(folder: Path) -> Path:
    """The file that timm reads."""
    for name in _NAMES:
        if (folder / name).is_file():
            return folder / name
    files = sorted(folder.glob("*.safetensors"))
    if len(files) > 1:
        raise SourceError(
            f"{folder} holds {len(files)} files of weights ({files[0].name}, {files[1].name}…), "
            f"and none is called {_NAMES[0]}, which timm reads. Give the right one that name."
        )
    return files[0]


def _converted(
    folder: Path, module: nn.Module, stored: Mapping[str, Entry]
) -> tuple[dict[str, Entry], tuple[str, ...]]:
    """The tensors by the names of today, as timm's conversion for this kind of model has them.

    And the names in the file that it drops.
    """
    convert = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return dict(stored), ()
    read = {name: entry.read() for name, entry in stored.items()}
    try:
        found: dict[str, Tensor] = convert(dict(read), module)
    except Exception as error:  # it takes names for granted
        said = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(
            f"The weights in {folder} are not those of a {type(module).__name__}: timm cannot "
            f"convert their names ({type(error).__name__}: {said})."
        ) from None
    kept = {id(tensor) for tensor in found.values()}
    dropped = (name for name in stored.keys() - found.keys() if id(read[name]) not in kept)
    return {name: Entry.of(tensor) for name, tensor in found.items()}, tuple(dropped)


@contextmanager
def _old_names_are_fine() -> Iterator[None]:
    """timm warns of an architecture's old name, which config.json keeps nevertheless."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mapping deprecated model name")
        yield

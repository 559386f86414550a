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
from ffmerge_core.storage.pickled import bin_files, entries_in_bins
from ffmerge_core.storage.quantised import refuse_quantised
from ffmerge_core.storage.weights import Entry, entries_in, unwrapped

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
    files = _weights(folder)
    from_bin = files[0].suffix == ".bin"
    stored, taken_off = unwrapped((entries_in_bins if from_bin else entries_in)(files))
    refuse_quantised(folder, config, stored)
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
    left = tuple(sorted({*harmless, *dropped}))
    return RawModel(module, left_out=left, stored=types, taken_off=taken_off, from_bin=from_bin)


def _weights(folder: Path) -> list[Path]:
    """The files that timm reads."""
    for name in _NAMES:
        if (folder / name).is_file():
            return [folder / name]
    files = sorted(folder.glob("*.safetensors"))
    if len(files) > 1:
        raise SourceError(
            f"{folder} holds {len(files)} files of weights ({files[0].name}, {files[1].name}…), "
            f"and none is called {_NAMES[0]}, which timm reads. Give the right one that name."
        )
    # A pickle was allowed, or the folder would be refused by now.
    return files or bin_files(folder)


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

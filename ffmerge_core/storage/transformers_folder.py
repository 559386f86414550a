"""Reading a transformers folder as its own `from_pretrained` does.

transformers builds the module, converts names and ties. The weights are read here and handed to
it, and what it made of them is compared with the files: it fills gaps with random values, and
where flags and content disagree on a tie, it takes one of the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ffmerge_core.errors import SourceError
from ffmerge_core.models.families import known_classes, refuse_by_name
from ffmerge_core.storage.comparing import refuse_changes, types_of
from ffmerge_core.storage.gaps import left_out, named_like_buffers, refuse_gaps, refuse_shapes
from ffmerge_core.storage.library import cannot_open, quiet_transformers, transformers_class
from ffmerge_core.storage.memory import refuse_too_large
from ffmerge_core.storage.opened import RawModel
from ffmerge_core.storage.pickled import bin_files, entries_in_bins
from ffmerge_core.storage.quantised import refuse_quantised
from ffmerge_core.storage.weights import (
    INDEX,
    WEIGHTS,
    entries_in,
    read_all,
    sharded,
    unwrapped,
)

_GENERATION = "generation_config.json"


def build_transformers(folder: Path, config: dict[str, Any]) -> nn.Module:
    """The module that config.json describes, its weights not read yet."""
    kind, settings = transformers_class(folder, config)
    try:
        module: nn.Module = kind(settings)
        _told_to_generate(folder, module)
    except Exception as error:
        raise cannot_open(folder, error) from None
    return module


def _planned(folder: Path, config: dict[str, Any]) -> nn.Module:
    """The module, refused if no merge suits it: its weights may take long to read."""
    module = build_transformers(folder, config)
    if type(module).__name__ not in known_classes("transformers"):
        refuse_by_name(module)
    return module


def load_transformers(folder: Path, config: dict[str, Any]) -> RawModel:
    """The module with its weights, and what there is to say of the files."""
    kind, settings = transformers_class(folder, config)
    files = _files(folder)
    from_bin = files[0].suffix == ".bin"
    entries, taken_off = unwrapped((entries_in_bins if from_bin else entries_in)(files))
    refuse_quantised(folder, config, entries)
    refuse_too_large(folder, config, entries, lambda: _planned(folder, config))
    read = read_all(entries)
    try:
        with quiet_transformers():
            module, found = kind.from_pretrained(
                None,
                config=settings,
                state_dict=dict(read),
                # As saved it may be half precision; a recipe says float32.
                dtype=torch.float32,
                output_loading_info=True,
                # They are refused below, in a sentence of our own.
                ignore_mismatched_sizes=True,
            )
        module.config.name_or_path = str(folder)
        _told_to_generate(folder, module)
    except Exception as error:  # whatever a wrong config.json makes of a constructor
        raise cannot_open(folder, error) from None
    assert isinstance(module, nn.Module)
    refuse_shapes(folder, found["mismatched_keys"])
    by_name = {_whole(module, name): entry for name, entry in entries.items()}
    unexpected = {_whole(module, name) for name in found["unexpected_keys"]}
    unexpected |= named_like_buffers(module, by_name)
    harmless = left_out(
        module, unexpected, lambda name: by_name[name].read() if name in by_name else None
    )
    refuse_gaps(folder, found["missing_keys"], unexpected - set(harmless))
    dropped = refuse_changes(
        folder,
        module,
        {name: entry for name, entry in entries.items() if _whole(module, name) not in harmless},
        read,
    )
    return RawModel(
        module,
        left_out=tuple(sorted({*harmless, *dropped})),
        stored=types_of(module, entries, read),
        taken_off=taken_off,
        from_bin=from_bin,
    )


def _files(folder: Path) -> list[Path]:
    """The files that transformers reads."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        return sharded(folder / INDEX)
    files = bin_files(folder)
    if files and not any(folder.glob("*.safetensors")):
        # They were allowed, or the folder would be refused by now.
        return files
    raise SourceError(
        f"{folder} holds neither {WEIGHTS} nor {INDEX}, which transformers reads. Give the file "
        "of the weights that name, or save the model again."
    )


def _told_to_generate(folder: Path, module: Any) -> None:
    if (folder / _GENERATION).is_file():
        from transformers import GenerationConfig

        generation: Any = GenerationConfig.from_pretrained(folder, local_files_only=True)
        module.generation_config = generation


def _whole(module: nn.Module, name: str) -> str:
    """A name with the prefix that it lacks in the file of a model saved without its head."""
    base = str(getattr(module, "base_model_prefix", ""))
    first = name.split(".")[0]
    inside = hasattr(getattr(module, base, None), first)
    return f"{base}.{name}" if inside and not hasattr(module, first) else name

"""The compact layout: one copy of each merged sublayer; int8 weights as plain tensors."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from ffmerge_core.errors import SourceError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.int8 import blank, check_installed, lay_out_int8
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.reductions import lay_out
from ffmerge_core.storage.folders import CONFIG, beside, build, checked_config, say_type
from ffmerge_core.storage.gaps import read_into, state_to_write, write_once
from ffmerge_core.storage.memory import refuse_too_large
from ffmerge_core.storage.opened import RawModel
from ffmerge_core.storage.record import Record
from ffmerge_core.storage.tied import checked_sublayers, groups, in_config, is_reduced, tie_again
from ffmerge_core.storage.weights import entries_in

# Not the name that transformers and timm look for: they would fill the copies that are not
# in the file with random weights, and only print that they did.
WEIGHTS = "merged.safetensors"


def write(model: LoadedModel, draft: Path) -> int:
    """The weights and the configuration; the number of parameters written."""
    if hasattr(model.model, "config"):
        _write_config(model.model, draft)
        say_type(draft / CONFIG, state_to_write(model.model, model.stored))
    write_once(model.model, draft / WEIGHTS, model.stored)
    return model.n_parameters


def read(folder: Path, record: Record) -> RawModel:
    """Tied as it was before the weights are read, strictly."""
    config = checked_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise SourceError(f"{folder} holds no {WEIGHTS}, where the weights were. Save it again.")
    entries = entries_in([folder / WEIGHTS])
    refuse_too_large(folder, config, entries, lambda: build(folder, config), copies=False)
    module = build(folder, config)
    sublayers = checked_sublayers(folder, module, record)
    if is_reduced(record.plan) and not in_config(record.plan):
        sublayers = lay_out(module, family_of(module), sublayers, record.plan)
    tie_again(folder, module, record, groups(record, sublayers))
    if record.quantize is not None:
        check_installed(record.quantize, SourceError)
        sublayers = lay_out_int8(module, family_of(module), sublayers, blank, record.quantize)
    stored = read_into(module, folder, entries)
    return replace(beside(folder, module, config), sublayers=sublayers, stored=stored)


def _write_config(module: Any, draft: Path) -> None:
    """What transformers' `save_pretrained` writes beside the weights."""
    config = copy.deepcopy(module.config)
    config.architectures = [type(module).__name__]
    config.save_pretrained(draft)
    if module.can_generate():
        module.generation_config.save_pretrained(draft)

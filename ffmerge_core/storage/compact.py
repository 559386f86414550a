"""The compact layout: one copy of each merged sublayer; int8 weights as plain tensors."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ffmerge_core.errors import SourceError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.int8 import blank, check_installed, lay_out_int8, read_int8, write_int8
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.reductions import lay_out
from ffmerge_core.models.structure import tie
from ffmerge_core.storage.folders import (
    CONFIG,
    RawModel,
    beside,
    build,
    checked_config,
    refuse_gaps,
)
from ffmerge_core.storage.record import Record
from ffmerge_core.storage.tied import checked_sublayers, groups, in_config, is_reduced

# Not the name that transformers and timm look for: they would fill the copies that are not
# in the file with random weights, and only print that they did.
WEIGHTS = "merged.safetensors"


def write(model: LoadedModel, draft: Path) -> int:
    """The weights and the configuration; the number of parameters written."""
    from safetensors.torch import save_model

    if hasattr(model.model, "config"):
        _write_config(model.model, draft)
    write_weights = save_model if model.quantized is None else write_int8
    write_weights(model.model, str(draft / WEIGHTS), {"format": "pt"})
    return model.n_parameters


def read(folder: Path, record: Record) -> RawModel:
    """Tied as the plan says before the weights are read, strictly."""
    from safetensors.torch import load_model

    config = checked_config(folder)
    module = build(folder, config)
    sublayers = checked_sublayers(folder, module, record)
    if is_reduced(record.plan) and not in_config(record.plan):
        sublayers = lay_out(module, family_of(module), sublayers, record.plan)
    for members in groups(record, sublayers):
        tie(module, members)
    if record.quantize is not None:
        check_installed(record.quantize, SourceError)
        sublayers = lay_out_int8(module, family_of(module), sublayers, blank, record.quantize)
    read_weights = partial(load_model, strict=False) if record.quantize is None else read_int8
    try:
        missing, unexpected = read_weights(module, folder / WEIGHTS)
    except (OSError, RuntimeError) as error:
        raise SourceError(f"The weights in {folder} do not fit {CONFIG}: {error}") from None
    refuse_gaps(folder, missing, unexpected)
    return replace(beside(folder, module, config), sublayers=sublayers)


def _write_config(module: Any, draft: Path) -> None:
    """What transformers' `save_pretrained` writes beside the weights."""
    config = copy.deepcopy(module.config)
    config.architectures = [type(module).__name__]
    config.save_pretrained(draft)
    if module.can_generate():
        module.generation_config.save_pretrained(draft)

"""The portable layout: every copy written out, for plain transformers or timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ffmerge_core.errors import SourceError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.structure import (
    count_parameters,
    shared_copy,
    tie,
    untie,
    weights_by_role,
)
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import MergePlan
from ffmerge_core.storage.folders import WEIGHTS, RawModel, open_folder, quiet_transformers
from ffmerge_core.storage.record import RECORD, Record
from ffmerge_core.storage.tied import checked_sublayers, groups


def write(model: LoadedModel, draft: Path) -> int:
    """The weights and the configuration; the number of parameters written, copies included."""
    untied: Any = shared_copy(model.model)
    by_name = {sublayer.name: sublayer for sublayer in model.sublayers}
    for group in model.plan.groups if isinstance(model.plan, MergePlan) else ():
        untie(untied, [by_name[name] for name in group])
    if hasattr(untied, "config"):
        # Marian's positions among them, which it would leave out and compute anew: those of a
        # model that was ever in half precision are not quite the computed ones.
        untied._keys_to_ignore_on_save = None
        with quiet_transformers():
            untied.save_pretrained(draft)
    else:
        from safetensors.torch import save_file

        tensors = {name: each.contiguous() for name, each in untied.state_dict().items()}
        save_file(tensors, draft / WEIGHTS, {"format": "pt"})
    return count_parameters(untied)


def read(folder: Path, record: Record) -> RawModel:
    """As plain transformers or timm would; what the plan made one is tied again."""
    opened = open_folder(folder)
    for members in groups(record, checked_sublayers(folder, opened.module, record)):
        _check_equal(folder, opened.module, members)
        tie(opened.module, members)
    return opened


def _check_equal(folder: Path, module: nn.Module, members: list[FFSublayer]) -> None:
    first = weights_by_role(module, members[0])
    for other in members[1:]:
        weights = weights_by_role(module, other)
        if any(not torch.equal(first[role], weights[role]) for role in first):
            raise SourceError(
                f"{RECORD} in {folder} says that {members[0].name} and {other.name} share their "
                f"weights, but their weights differ. Something changed them since. Delete {RECORD} "
                "to open the model without its ties."
            )

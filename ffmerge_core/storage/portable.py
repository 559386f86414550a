"""The portable layout: every copy written out, for plain transformers or timm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ffmerge_core.errors import SourceError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.structure import count_parameters, names_by_role, shared_copy
from ffmerge_core.models.ties import set_ties, ties
from ffmerge_core.storage.folders import CONFIG, open_folder, say_type
from ffmerge_core.storage.gaps import state_to_write, write_once
from ffmerge_core.storage.library import quiet_transformers
from ffmerge_core.storage.opened import RawModel
from ffmerge_core.storage.record import RECORD, Record
from ffmerge_core.storage.tied import checked_sublayers, groups, tie_again
from ffmerge_core.storage.weights import WEIGHTS


def write(model: LoadedModel, draft: Path) -> int:
    """The weights and the configuration; the number of parameters written, copies included."""
    untied: Any = shared_copy(model.model)
    set_ties(untied, _kept(untied))
    if hasattr(untied, "config"):
        # Marian's positions among them, which it would leave out and compute anew: those of a
        # model that was ever in half precision are not quite the computed ones.
        untied._keys_to_ignore_on_save = None
        state = state_to_write(untied, model.stored)
        with quiet_transformers():
            # It takes out of the mapping what it has written.
            untied.save_pretrained(draft, state_dict=dict(state))
        say_type(draft / CONFIG, state)
    else:
        write_once(untied, draft / WEIGHTS, model.stored)
    return count_parameters(untied)


def read(folder: Path, record: Record) -> RawModel:
    """As plain transformers or timm would; what was one is tied again."""
    opened = open_folder(folder)
    module = opened.module
    planned = groups(record, checked_sublayers(folder, module, record))
    for members in planned:
        own = [names_by_role(module, member) for member in members]
        called = [member.name for member in members]
        for role in own[0]:
            _check_equal(folder, module, [names[role] for names in own], called)
    for names in record.ties or ():
        _check_equal(folder, module, names, names)
    tie_again(folder, module, record, planned)
    return opened


def _kept(module: Any) -> list[tuple[str, ...]]:
    """The ties that plain transformers makes by itself; of any other, copies are written."""
    if not hasattr(module, "get_expanded_tied_weights_keys"):
        return []
    sources: dict[str, str] = module.get_expanded_tied_weights_keys(all_submodels=True)
    kept: dict[tuple[int, str], list[str]] = {}
    for number, group in enumerate(ties(module)):
        for name in group:
            kept.setdefault((number, sources.get(name, name)), []).append(name)
    return [tuple(names) for names in kept.values() if len(names) > 1]


def _check_equal(
    folder: Path, module: nn.Module, names: Sequence[str], called: Sequence[str]
) -> None:
    """`SourceError` if parameters that a record says are one are not. called: what to say."""
    found = dict(module.named_parameters(remove_duplicate=False))
    # A name that is not there is told of when it is tied.
    first = found.get(names[0])
    for name, other in zip(names[1:], called[1:], strict=True):
        if first is not None and name in found and not torch.equal(first, found[name]):
            raise SourceError(
                f"{RECORD} in {folder} says that {called[0]} and {other} share their weights, but "
                f"their weights differ. Something changed them since. Delete {RECORD} to open the "
                "model without its ties."
            )

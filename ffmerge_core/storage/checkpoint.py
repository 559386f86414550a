"""Saving a merged or reduced model, and reading it back with the same FF sublayers tied.

"compact" keeps one copy of each merged sublayer and is read by this package alone; int8 weights
stand in it as plain tensors.
"portable" writes every copy out, so that plain transformers or timm read it; they have no
place for FF sublayers that were dropped, factored or narrowed.
"""

from __future__ import annotations

import copy
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeGuard, get_args

import torch
from torch import nn

from ffmerge_core.errors import PlanError, SourceError, StorageError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.int8 import (
    blank,
    check_installed,
    lay_out_int8,
    read_int8,
    write_int8,
)
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.reductions import lay_out
from ffmerge_core.models.structure import (
    count_parameters,
    plain_state,
    shared_copy,
    tie,
    untie,
    weights_by_role,
)
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import MergePlan, Plan, Recipe, Reduce, in_layer_order
from ffmerge_core.progress import Report, silent
from ffmerge_core.storage.folders import (
    CONFIG,
    WEIGHTS,
    RawModel,
    beside,
    build,
    checked_config,
    open_folder,
    quiet_transformers,
    refuse_gaps,
    resolved,
)
from ffmerge_core.storage.placing import placed, size_on_disk
from ffmerge_core.storage.record import RECORD, Layout, Record

# Not the name that transformers and timm look for: they would fill the copies that are not
# in the file with random weights, and only print that they did.
_COMPACT_WEIGHTS = "merged.safetensors"
_STEPS = 3


@dataclass(frozen=True)
class Saved:
    """What `save` wrote. n_parameters: in the files, copies of a portable one included.

    n_bytes: of all files together, on disk.
    """

    folder: Path
    layout: Layout
    n_parameters: int
    n_bytes: int


def save(
    model: LoadedModel,
    folder: str | Path,
    layout: Layout = "compact",
    recipe: Recipe | None = None,
    overwrite: bool = False,
    report: Report = silent,
) -> Saved:
    """Write a model to a folder of its own, whole or not at all; `load` opens it again.

    recipe: kept beside it. overwrite: replace a folder that `save` wrote, with all that is in
    it; the old one stays until the new one is complete and has been read back.
    Raises `StorageError` if it cannot be written or the folder is taken, `SourceError` if
    the model cannot be written in this layout.
    """
    if layout not in get_args(Layout):
        raise StorageError(f"layout is {layout!r}; it must be {' or '.join(get_args(Layout))}.")
    target = resolved(folder)
    record = _record(model, layout, recipe)
    if layout == "portable":
        _refuse_portable(model)
    with placed(target, RECORD, overwrite) as draft:
        report(0, _STEPS, "Writing the weights")
        n_parameters = _write(model, draft, layout)
        _write_json(draft / RECORD, record.to_dict())
        report(1, _STEPS, "Reading them back")
        _check_copy(model, draft, record)
        report(2, _STEPS, "Putting the folder in its place")
    report(_STEPS, _STEPS, "Saved")
    return Saved(target, layout, n_parameters, size_on_disk(target))


def open_saved(folder: Path, record: Record) -> RawModel:
    """A model that `save` wrote, tied as its plan says.

    Raises `SourceError` if the weights are not those of the plan, exactly.
    """
    if record.layout == "compact":
        opened = _open_compact(folder, record)
    else:
        opened = open_folder(folder)
        for members in _groups(record, _checked_sublayers(folder, opened.module, record)):
            _check_equal(folder, opened.module, members)
            tie(opened.module, members)
    found = count_parameters(opened.module)
    if found != record.n_parameters:
        raise SourceError(
            f"The model in {folder} holds {found:,} parameters and {RECORD} says "
            f"{record.n_parameters:,}. Save it again."
        )
    return replace(opened, settings={**opened.settings, RECORD: record.to_dict()})


def _open_compact(folder: Path, record: Record) -> RawModel:
    from safetensors.torch import load_model

    config = checked_config(folder)
    module = build(folder, config)
    sublayers = _checked_sublayers(folder, module, record)
    if _is_reduced(record.plan) and not _in_config(record.plan):
        sublayers = lay_out(module, family_of(module), sublayers, record.plan)
    for members in _groups(record, sublayers):
        tie(module, members)
    if record.quantize is not None:
        check_installed(record.quantize, SourceError)
        sublayers = lay_out_int8(module, family_of(module), sublayers, blank, record.quantize)
    read = partial(load_model, strict=False) if record.quantize is None else read_int8
    try:
        missing, unexpected = read(module, folder / _COMPACT_WEIGHTS)
    except (OSError, RuntimeError) as error:
        raise SourceError(f"The weights in {folder} do not fit {CONFIG}: {error}") from None
    refuse_gaps(folder, missing, unexpected)
    return replace(beside(folder, module, config), sublayers=sublayers)


def _record(model: LoadedModel, layout: Layout, recipe: Recipe | None) -> Record:
    # A model that was saved before keeps saying where it came from at first.
    before = model.settings.get(RECORD)
    origin = Record.from_dict(before) if before else None
    if recipe is None and origin is not None and origin.recipe is not None:
        # It may have been quantised since.
        recipe = replace(origin.recipe, quantize=model.quantized)
    if recipe is not None and (recipe.plan, recipe.quantize) != (model.plan, model.quantized):
        raise PlanError(
            "The recipe has another plan or quantisation than this model. Save it with its own."
        )
    libraries = ("torch", "torchao", "transformers", "timm", "safetensors")
    return Record(
        layout=layout,
        plan=model.plan,
        source=origin.source if origin else model.source,
        revision=origin.revision if origin else model.revision,
        data=model.data,
        n_parameters=model.n_parameters,
        recipe=recipe,
        versions={"python": platform.python_version()}
        | {library: version(library) for library in libraries},
        quantize=model.quantized,
    )


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _checked_sublayers(folder: Path, module: nn.Module, record: Record) -> tuple[FFSublayer, ...]:
    """Those of the module as config.json describes it; `SourceError` if the plan has others."""
    sublayers = family_of(module).find(module)
    if record.plan is not None and not _in_config(record.plan):
        try:
            record.plan.check(sublayers)
        except (TypeError, ValueError) as error:
            raise SourceError(
                f"The plan in {folder / RECORD} does not suit the model beside it: {error}"
            ) from None
    return sublayers


def _is_reduced(plan: Plan | None) -> TypeGuard[Plan]:
    return plan is not None and isinstance(plan.record, Reduce)


def _in_config(plan: Plan | None) -> bool:
    """Whether config.json describes what a plan left: dropped layers are not in it any more."""
    return _is_reduced(plan) and plan.record.portable


def _groups(record: Record, sublayers: tuple[FFSublayer, ...]) -> list[list[FFSublayer]]:
    """The plan's groups, in layer order; none for a plan that ties nothing."""
    if not isinstance(record.plan, MergePlan):
        return []
    by_name = {sublayer.name: sublayer for sublayer in sublayers}
    return [
        [by_name[name] for name in in_layer_order(group, sublayers)] for group in record.plan.groups
    ]


def _check_equal(folder: Path, module: nn.Module, members: list[FFSublayer]) -> None:
    first = weights_by_role(module, members[0])
    for other in members[1:]:
        weights = weights_by_role(module, other)
        if any(not torch.equal(first[role], weights[role]) for role in first):
            raise SourceError(
                f"{RECORD} in {folder} says that {members[0].name} and {other.name} are one, but "
                f"their weights differ: something changed them since. Delete {RECORD} to open the "
                "model without its ties."
            )


def _write(model: LoadedModel, draft: Path, layout: Layout) -> int:
    """Everything but the record. The number of parameters written."""
    module: Any = model.model
    settings = dict(model.settings)
    if hasattr(module, "config"):
        if layout == "compact":
            _write_config(module, draft)
    elif CONFIG not in settings:
        raise SourceError(
            f"{model.source} is a timm model in memory, and what timm was told to build it is not "
            "known, so nobody could open the copy. Save the original with timm's save_for_hf, "
            "open that folder and merge it there."
        )
    for name, values in settings.items():
        _write_json(draft / name, values)
    if model.tokenizer is not None:
        model.tokenizer.save_pretrained(draft)
    if layout == "compact":
        from safetensors.torch import save_model

        write = save_model if model.quantized is None else write_int8
        write(module, str(draft / _COMPACT_WEIGHTS), {"format": "pt"})
        return model.n_parameters
    return _write_portable(model, draft)


def _refuse_portable(model: LoadedModel) -> None:
    if model.quantized is not None:
        raise SourceError(
            f"A model whose weights are {model.quantized} is opened by torchao, which plain "
            "transformers and timm do not bring. Save it in the compact layout, which is read "
            "here, or save it as it was before."
        )
    if model.plan is not None and not model.plan.record.portable:
        raise SourceError(
            f'A model reduced by method "{model.plan.method}" has FF sublayers that plain '
            "transformers and timm cannot build. Save it in the compact layout, which is read here."
        )


def _write_config(module: Any, draft: Path) -> None:
    """What transformers' `save_pretrained` writes beside the weights."""
    config = copy.deepcopy(module.config)
    config.architectures = [type(module).__name__]
    config.save_pretrained(draft)
    if module.can_generate():
        module.generation_config.save_pretrained(draft)


def _write_portable(model: LoadedModel, draft: Path) -> int:
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


def _check_copy(model: LoadedModel, draft: Path, record: Record) -> None:
    """What a reader gets is what was in memory, or it is not kept."""
    again = plain_state(open_saved(draft, record).module)
    for name, tensor in plain_state(model.model).items():
        if not torch.equal(again[name], tensor.to(again[name].dtype)):
            raise StorageError(
                f"{name} reads back with other values than the model in memory has, so the copy "
                f"was not kept. The {record.layout} layout does not suit this model."
            )

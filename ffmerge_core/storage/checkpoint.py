"""Saving a merged or reduced model, and reading it back with the same FF sublayers tied."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from ffmerge_core.checks import expect
from ffmerge_core.errors import PlanError, SourceError, StorageError
from ffmerge_core.extras import is_there
from ffmerge_core.kinds import resolve
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.structure import count_parameters, plain_state
from ffmerge_core.plan import Recipe
from ffmerge_core.progress import Report, silent
from ffmerge_core.storage.folders import CONFIG, resolved
from ffmerge_core.storage.gaps import state_to_write
from ffmerge_core.storage.layouts import LAYOUTS, Layout
from ffmerge_core.storage.opened import RawModel
from ffmerge_core.storage.placing import placed, size_on_disk
from ffmerge_core.storage.record import RECORD, Record
from ffmerge_core.storage.tied import other_ties
from ffmerge_core.storage.tokenizer import write_tokenizer
from ffmerge_core.tasks.task import tokenize_of

_STEPS = 3


@dataclass(frozen=True)
class Saved:
    """What `save` wrote.

    Attributes
    ----------
    folder : Path
        Where; `load` opens it.
    layout : str
        "compact" or "portable".
    n_parameters : int
        In the files, the copies of a portable one included.
    n_bytes : int
        Of all files together, on disk.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> from tempfile import TemporaryDirectory
    >>> model = fm.load("demo:vit-digits")
    >>> with TemporaryDirectory() as place:
    ...     saved = fm.save(model, f"{place}/copy")
    >>> saved.layout, saved.n_parameters
    ('compact', 602058)
    """

    folder: Path
    layout: str
    n_parameters: int
    n_bytes: int


def save(
    model: LoadedModel,
    folder: str | Path,
    layout: str = "compact",
    recipe: Recipe | None = None,
    overwrite: bool = False,
    report: Report = silent,
) -> Saved:
    """Write a model to a folder of its own, whole or not at all; `load` opens it again.

    What was written is read back and compared before it takes its place.

    Parameters
    ----------
    model : LoadedModel
        Merged, reduced, tuned, rounded or as loaded.
    folder : str or Path
        New or empty.
    layout : {"compact", "portable"}, default "compact"
        "compact" keeps one copy of each merged sublayer and is read here; "portable" writes every
        copy out, so that plain transformers or timm read it.
    recipe : Recipe, optional
        Kept beside the weights.
    overwrite : bool, default False
        Replace a folder that `save` wrote, with all that is in it; the old one stays until the
        new one is complete.
    report : Report, optional
        Told how far it is; may raise `Cancelled`.

    Returns
    -------
    Saved
        Where it is and how large.

    Raises
    ------
    StorageError
        If it cannot be written or the folder is taken, and for a folder that is no path.
    SourceError
        If the model cannot be written in this layout, and for what is no model.
    PlanError
        If the recipe is another model's, or none.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> from tempfile import TemporaryDirectory
    >>> model = fm.load("demo:vit-digits")
    >>> plan = fm.MergePlan(groups=(("encoder.4", "encoder.5"),), method="vanilla")
    >>> with TemporaryDirectory() as place:
    ...     saved = fm.save(fm.apply(model, plan), f"{place}/merged")
    ...     again = fm.load(saved.folder)
    >>> again.plan == plan, again.n_parameters
    (True, 568970)
    """
    expect(SourceError, model=(model, LoadedModel), report=(report, Callable))
    expect(PlanError, recipe=(recipe, Recipe | None))
    expect(StorageError, folder=(folder, PathLike), overwrite=(overwrite, bool))
    chosen = LAYOUTS.of(layout)
    target = resolved(folder)
    record = _record(model, layout, recipe)
    if why := resolve(chosen.why_not)(model.plan, model.quantized):
        raise SourceError(why)
    with placed(target, RECORD, overwrite) as draft:
        report(0, _STEPS, "Writing the weights")
        n_parameters = _write(model, draft, chosen)
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
    opened: RawModel = resolve(LAYOUTS[record.layout].read)(folder, record)
    found = count_parameters(opened.module)
    if found != record.n_parameters:
        raise SourceError(
            f"The model in {folder} holds {found:,} parameters and {RECORD} says "
            f"{record.n_parameters:,}. Save it again."
        )
    return replace(opened, settings={**opened.settings, RECORD: record.to_dict()})


def _record(model: LoadedModel, layout: str, recipe: Recipe | None) -> Record:
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
        | {library: version(library) for library in libraries if is_there(library)},
        quantize=model.quantized,
        tokenize=tokenize_of(model.task),
        ties=other_ties(model),
        family=model.family.name,
    )


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _write(model: LoadedModel, draft: Path, layout: Layout) -> int:
    """Everything but the record. The number of parameters written."""
    if not hasattr(model.model, "config") and CONFIG not in model.settings:
        raise SourceError(
            f"{model.source} is a timm model in memory. What timm was told to build it is not "
            "known, so a saved copy could not be opened. Save the original with timm's "
            "save_for_hf, open that folder and merge it there."
        )
    n_parameters: int = resolve(layout.write)(model, draft)
    for name, values in model.settings.items():
        _write_json(draft / name, values)
    if model.tokenizer is not None:
        write_tokenizer(model.tokenizer, draft)
    return n_parameters


def _check_copy(model: LoadedModel, draft: Path, record: Record) -> None:
    """What a reader gets is what was in memory, or it is not kept."""
    again = plain_state(open_saved(draft, record).module)
    for name, tensor in state_to_write(model.model, model.stored).items():
        if not torch.equal(again[name], tensor.to(again[name].dtype)):
            raise StorageError(
                f"{name} reads back with other values than the model in memory has, so the copy "
                f"was not kept. The {record.layout} layout does not suit this model."
            )

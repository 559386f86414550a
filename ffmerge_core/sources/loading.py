"""Opening a model: a demo, a folder saved by us, transformers or timm, or a module in memory.

Weights are read from safetensors, and from a pickle only with consent; no code from a folder runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from ffmerge_core import demos
from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError, SourceError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.proof import find_and_prove, refuse_adapters
from ffmerge_core.models.structure import fingerprint
from ffmerge_core.models.ties import with_ties
from ffmerge_core.progress import Report, silent
from ffmerge_core.sources.data import check_task, choose_task, data_name, still_there
from ffmerge_core.sources.hub import fetch, is_remote
from ffmerge_core.storage.checkpoint import open_saved
from ffmerge_core.storage.folders import CONFIG, open_folder, resolved
from ffmerge_core.storage.memory import size_in_words
from ffmerge_core.storage.opened import RawModel
from ffmerge_core.storage.record import Record, read_record
from ffmerge_core.tasks.task import Task

_STEPS = 4
_SOURCES = (
    f"Give a demo such as {demos.PREFIX}vit-digits, a folder, hf:org/name, timm:name, or a module."
)


def load(
    source: str | Path | nn.Module,
    task: Task | str | Path | None = None,
    report: Report = silent,
    *,
    fidelity: bool = False,
    tokenize: str | None = None,
    allow_bin: bool = False,
) -> LoadedModel:
    """Open a model, find its FF sublayers and prove that they are what its family says.

    Weights are read from safetensors, and from a pickle only if you allow it; no code from a folder
    runs.

    Parameters
    ----------
    source : str, Path or nn.Module
        "demo:vit-digits"; "hf:org/name" or "hf:org/name@revision" of the hub; "timm:name" for
        weights of timm; a folder written by `save`, transformers' `save_pretrained` or timm's
        `save_for_hf`; or a module of a known family, used as it is (its mode and weights are not
        touched).
    task : Task, str or Path, optional
        What to measure it on: your own `Task`; "digits", the built-in images fitted to the
        model's input; a path: a text file for a language model, source<TAB>target lines for
        a translator, a folder or zip of images by class for a classifier; or data of the hub:
        "hf:org/name", or a preset such as "wikitext-2". A demo brings its own.
    report : Report, optional
        Told how far it is; may raise `Cancelled`.
    fidelity : bool, default False
        Measure how near a merged model stays to this one, on the task's inputs, without labels.
    tokenize : str, optional
        How BLEU splits a translation into words, as sacrebleu names it: "13a", "zh", "char", ….
        By default what the target language asks for: as the model's files tell it, else as the
        references show it.
    allow_bin : bool, default False
        Where there is no safetensors, read pytorch_model.bin, by torch's weights-only loader, which
        refuses whatever is no tensor. Allow it for files whose origin you trust.

    Returns
    -------
    LoadedModel
        In evaluation mode, unless it was a module in memory. Its `left_out` names what a file
        holds beyond it: buffers of older versions, another task's head.

    Raises
    ------
    SourceError
        If the source is absent, damaged or refused, or no source at all.
    UnsupportedModelError
        A `SourceError`: it opens, but its FF sublayers are in no known family.
    ProofError
        If the declared FF weights do not compute what the model computes.
    DataError
        If the task does not suit the model, or is none.
    PlanError, MissingPackageError
        If `tokenize` is not one of sacrebleu's, or needs a package that is absent.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> model.n_parameters
    602058
    >>> fm.load(model.model, task=model.task).source
    'module:VisionTransformer'
    """
    expect(SourceError, _SOURCES, source=(source, PathLike | nn.Module))
    expect(SourceError, allow_bin=(allow_bin, bool))
    expect(DataError, fidelity=(fidelity, bool), report=(report, Callable))
    check_task(task)
    if isinstance(source, str) and is_remote(source):
        found = fetch(source, report, allow_bin)
        opened_there = load(
            found.folder, task, report, fidelity=fidelity, tokenize=tokenize, allow_bin=allow_bin
        )
        return replace(opened_there, source=found.source)
    report(0, _STEPS, f"Reading {_size(source)}weights")
    opened, own_task, record = _open(source, allow_bin)
    module = opened.module
    if record is not None and fidelity:
        raise DataError(
            f"{source} holds a merged model, and fidelity is measured against the original. Open "
            f"the original ({record.source}) with fidelity=True and apply the same plan."
        )
    if not isinstance(source, nn.Module):
        module.eval()
    report(1, _STEPS, "Finding the FF sublayers")
    refuse_adapters(module)
    family = family_of(module)
    report(2, _STEPS, "Checking the FF sublayers")
    quantized = record.quantize if record else None
    without_power: tuple[str, ...] = ()
    with ThreadPoolExecutor(1) as aside:
        hashed = aside.submit(fingerprint, module)
        if quantized is None:
            sublayers, without_power = find_and_prove(module, family, opened.sublayers)
        else:
            # int8 weights are never merged again, which is what the proof is for.
            sublayers = opened.sublayers or family.find(module)
    if record is None or record.plan is None:
        sublayers = with_ties(module, sublayers)
    report(3, _STEPS, "Preparing the data")
    if task is None and record is not None:
        task = still_there(record.data, report)
        tokenize = tokenize or (record.tokenize if task is not None else None)
    named = data_name(task, report, family.kind)
    loaded = LoadedModel(
        model=module,
        task=own_task,
        sublayers=sublayers,
        family=family,
        source=_name(source),
        revision=hashed.result(),
        plan=record.plan if record else None,
        tokenizer=opened.tokenizer,
        data=named,
        settings=opened.settings,
        quantized=quantized,
        left_out=opened.left_out,
        without_power=without_power,
        stored=opened.stored,
        taken_off=opened.taken_off,
        from_bin=opened.from_bin,
    )
    chosen = choose_task(loaded, named or task, fidelity=fidelity, tokenize=tokenize, report=report)
    loaded = replace(loaded, task=chosen)
    report(_STEPS, _STEPS, "Ready")
    return loaded


def _open(
    source: str | Path | nn.Module, allow_bin: bool
) -> tuple[RawModel, Task | None, Record | None]:
    """The model, the task that its source brings, and what `save` recorded, if it did."""
    if isinstance(source, nn.Module):
        return RawModel(source), None, None
    if str(source).startswith(demos.PREFIX):
        module, task = demos.load(str(source))
        tokenizer = getattr(task, "tokenizer", None)
        return RawModel(module, tokenizer, _demo_settings(str(source), task)), task, None
    folder = resolved(source)
    record = read_record(folder)
    if record is None:
        return open_folder(folder, allow_bin), None, None
    known = record.source.removeprefix(demos.PREFIX) in demos.names()
    own_task = demos.load(record.source)[1] if known else None
    return open_saved(folder, record), own_task, record


def _size(source: str | Path | nn.Module) -> str:
    """ "1.4 GB of " in front of "weights"; "the " where no file says it."""
    if isinstance(source, nn.Module) or str(source).startswith(demos.PREFIX):
        return "the "
    folder = resolved(source)
    files = list(folder.glob("*.safetensors")) or folder.glob("pytorch_model*.bin")
    return f"{size_in_words(sum(path.stat().st_size for path in files))} of "


def _name(source: str | Path | nn.Module) -> str:
    if isinstance(source, nn.Module):
        return f"module:{type(source).__name__}"
    return str(source) if str(source).startswith(demos.PREFIX) else str(resolved(source))


def _demo_settings(name: str, task: Any) -> Mapping[str, Mapping[str, Any]]:
    """What timm needs to build the demo again; transformers' demos say it themselves."""
    package = import_module(f"{demos.__name__}.{demos.package(name)}.model")
    config = getattr(package, "TIMM_CONFIG", None)
    if config is None:
        return {}
    inputs = {"input_size": task.shape, "mean": task.mean, "std": task.std}
    return {
        CONFIG: {
            **config,
            "num_classes": len(task.classes),
            "label_names": list(task.classes),
            "pretrained_cfg": {**inputs, "num_classes": len(task.classes)},
        }
    }

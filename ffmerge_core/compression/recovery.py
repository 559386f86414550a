"""Recovery: a short fine-tune of the tied model on its task (paper, "Recover")."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path

import torch
from torch import nn

from ffmerge_core.checks import expect, whole
from ffmerge_core.compression.adapters import absorb, adapt
from ffmerge_core.compression.resuming import Checkpoint
from ffmerge_core.compression.training import Training
from ffmerge_core.errors import DataError, PlanError, ProofError
from ffmerge_core.extras import require
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.stored import rounded_as_kept
from ffmerge_core.models.structure import fingerprint
from ffmerge_core.models.ties import ties
from ffmerge_core.plan import Recovery
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.fidelity import Fidelity
from ffmerge_core.tasks.task import Task


def recover(
    model: LoadedModel,
    steps: int = 200,
    learning_rate: float = 3e-4,
    batch_size: int = 32,
    distill: bool = False,
    lora_rank: int | None = None,
    until: int | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    report: Report = silent,
    *,
    original: LoadedModel | None = None,
) -> LoadedModel:
    """Fine-tune what a plan left for a few steps, with its ties kept (paper, section 3, "Recover").

    Scored on validation at every tenth of the steps; the best weights are kept, the start's among
    them. It stops early after three checks without gain, and where the loss diverges. The same
    seed gives the same curve on one machine.

    Parameters
    ----------
    model : LoadedModel
        Not rounded to int8, with a task that says how to train on it. It is not changed.
    steps : int, default 200
        Of the optimiser, AdamW.
    learning_rate : float, default 3e-4
        The highest, after a linear warm-up; then a cosine to 0.
    batch_size : int, default 32
        Examples a step.
    distill : bool, default False
        Half of the loss is KL(original ‖ model), in nats.
    lora_rank : int, optional
        Train low-rank adapters of that rank alone and add them in at the end.
    until : int, optional
        Stop at this step, as someone did who cancelled it.
    seed : int, default 0
        The order of the training split.
    folder : str or Path, optional
        For checkpoints; the same call goes on from the one there, to the same result.
    report : Report, optional
        One that raises `Cancelled` ends the recovery with the best weights so far.
    original : LoadedModel, optional
        What to distil from.

    Returns
    -------
    LoadedModel
        A new one; `.curve` tells how it went.

    Raises
    ------
    DataError
        If the task has no training data.
    PlanError
        For impossible options, and arguments of another type.
    MissingPackageError
        Without accelerate, or for `lora_rank` without peft.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> feats = fm.calibrate(model, tokens=2_000)
    >>> merged = fm.apply(model, fm.MergePlan(groups=(("encoder.4", "encoder.5"),)), feats)
    >>> tuned = fm.recover(merged, steps=1, batch_size=8)
    >>> tuned.curve.steps
    1
    >>> tuned.n_parameters == merged.n_parameters
    True
    """
    expect(PlanError, model=(model, LoadedModel), original=(original, LoadedModel | None))
    expect(PlanError, folder=(folder, PathLike | None), report=(report, Callable))
    seed = whole(PlanError, "seed", seed, 0)
    recovery = Recovery(steps, learning_rate, batch_size, distill, lora_rank, until)
    require("accelerate", "A recovery")
    if lora_rank is not None:
        require("peft", "A recovery of low-rank adapters")
    if model.quantized is not None:
        raise PlanError(
            f"The weights of this model are {model.quantized}, which cannot be trained. Recover "
            "the model first, then quantise it."
        )
    task = model.require_task()
    _check_task(task, seed)
    teacher = _teacher(recovery, original, task)
    student = copy.deepcopy(model.model)
    frozen = [parameter for parameter in student.parameters() if not parameter.requires_grad]
    checkpoint = None
    if folder is not None:
        checkpoint = Checkpoint(
            Path(folder).expanduser(),
            {
                "settings": recovery.to_dict(),
                "seed": seed,
                "weights": fingerprint(student),
                "data": [task.kind, task.revision],
                "original": fingerprint(teacher) if teacher else None,
            },
        )
    if lora_rank is not None:
        # The adapters begin at random; the caller's own draws are left alone.
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            adapt(student, model, lora_rank)
    curve = Training(student, task, recovery, seed, teacher, checkpoint).run(report)
    if lora_rank is not None:
        absorb(student)
    for parameter in student.parameters():
        parameter.grad = None
        parameter.requires_grad_(all(parameter is not each for each in frozen))
    stored = rounded_as_kept(model.model, model.stored, student)
    result = replace(
        model, model=student, curve=curve, revision=_revision(model, student), stored=stored
    )
    if ties(student) != ties(model.model) or result.n_parameters != model.n_parameters:
        raise ProofError("Training untied weights that were tied; nothing of it is kept.")
    return result


def _revision(model: LoadedModel, student: nn.Module) -> str:
    """A merged model keeps its original's; an unmerged one is a source of its own.

    Features of the weights before must not be taken for those of the weights after.
    """
    return model.revision if model.plan else fingerprint(student)


def _check_task(task: Task, seed: int) -> None:
    inner = task.inner if isinstance(task, Fidelity) else task
    if not (hasattr(inner, "training") and hasattr(inner, "loss")):
        raise DataError(
            f"The task of {task.data} does not say how to train on it, so the model cannot be "
            "recovered. Give the task the methods `training` and `loss`, or use other data."
        )
    if next(iter(task.training(seed, 1)), None) is None:
        raise DataError(
            f"The training split of {task.data} is empty, so the model cannot be recovered. Use "
            "data with a training split."
        )


def _teacher(recovery: Recovery, original: LoadedModel | None, task: Task) -> nn.Module | None:
    if not recovery.distill:
        return None
    if isinstance(task, Fidelity):
        raise PlanError(
            "Fidelity already measures the distance to the original, so a recovery by fidelity "
            "distils anyway. Leave distill out."
        )
    if original is None:
        raise PlanError("A recovery that distils needs the original: pass original=model as well.")
    return original.model

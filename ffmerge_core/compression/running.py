"""From a recipe to its numbers: load, calibrate, merge, recover, quantise, evaluate."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import get_args

from ffmerge_core.analysis.calibration import calibrate
from ffmerge_core.analysis.features import Features
from ffmerge_core.checks import expect, one_of
from ffmerge_core.compression.cost import latencies, measured, versions
from ffmerge_core.compression.merging import align, applied
from ffmerge_core.compression.quantization import quantize
from ffmerge_core.compression.recovery import recover
from ffmerge_core.compression.result import RunResult
from ffmerge_core.errors import DataError, PlanError
from ffmerge_core.models.int8 import check_installed
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.plan import Curve, Recipe
from ffmerge_core.plan.fitting import unlike
from ffmerge_core.progress import Report, part, silent
from ffmerge_core.sources.loading import load
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.task import tokenize_of

_STEPS = (
    "Loading",
    "Calibrating",
    "Aligning",
    "Merging",
    "Evaluating the original",
    "Recovering",
    "Evaluating the merge",
    "Timing both models",
)


def run(
    recipe: Recipe,
    report: Report = silent,
    *,
    model: LoadedModel | None = None,
    feats: Features | None = None,
    before: Evaluation | None = None,
    folder: Path | None = None,
) -> RunResult:
    """Carry out a recipe: load, calibrate, merge, recover, quantise, score.

    The same recipe gives the same numbers on the same machine.

    Parameters
    ----------
    recipe : Recipe
        What to do to which model.
    report : Report, optional
        Told how far it is. One that raises `Cancelled` during the recovery ends that alone.
    model : LoadedModel, optional
        The recipe's own, if it is at hand already; checked.
    feats : Features, optional
        The recipe's own, if they are at hand already; taken anew where they are of others.
    before : Evaluation, optional
        The original's validation score, if it is at hand. Nothing checks whose it is.
    folder : Path, optional
        For the recovery's checkpoints; a run that was killed goes on from there.

    Returns
    -------
    RunResult
        Both models, their scores, and what each step took.

    Raises
    ------
    PlanError
        If the plan does not fit, or the source or the data is not what the recipe was written on.
        For arguments of another type.
    SourceError, DataError
        As `load` and `calibrate` do.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> plan = fm.MergePlan(groups=(("encoder.4", "encoder.5"),), method="vanilla")
    >>> result = fm.run(fm.Recipe("demo:vit-digits", plan))
    >>> result.original.n_parameters - result.merged.n_parameters
    33088
    >>> sorted(result.seconds)
    ['evaluate', 'load', 'merge', 'time']
    """
    expect(PlanError, recipe=(recipe, Recipe), model=(model, LoadedModel | None))
    expect(PlanError, feats=(feats, Features | None), before=(before, Evaluation | None))
    expect(PlanError, folder=(folder, PathLike | None), report=(report, Callable))
    with measured() as cost:
        with cost.step("load"):
            model = model or load(
                recipe.source,
                task=recipe.data,
                report=_part(report, 0),
                fidelity=recipe.fidelity,
                tokenize=recipe.tokenize,
                allow_bin=recipe.allow_bin,
            )
        check_source(recipe, model)
        recipe.plan.check(model.sublayers)
        if recipe.quantize is not None:
            check_installed(recipe.quantize, PlanError)
        if not recipe.plan.needs_features:
            feats = None
        elif feats is None or (feats.revision, feats.seed, feats.asked) != (
            model.revision, recipe.seed, recipe.tokens,
        ):  # fmt: skip
            with cost.step("calibrate"):
                feats = calibrate(model, recipe.tokens, recipe.seed, _part(report, 1))
        if feats is not None:
            with cost.step("align"):
                align(recipe.plan, feats, _part(report, 2))
        with cost.step("merge"):
            merged = applied(model, recipe.plan, feats, _part(report, 3))
        with cost.step("evaluate"):
            before = before or evaluate(model, "validation", _part(report, 4))
        if recipe.recovery is not None:
            with cost.step("recover"):
                merged = recover(
                    merged,
                    **recipe.recovery.to_dict(),
                    seed=recipe.seed,
                    folder=folder,
                    report=_part(report, 5),
                    original=model,
                )
        if recipe.quantize is not None:
            with cost.step("quantize"):
                merged = quantize(merged, recipe.quantize)
        done = _as_it_ended(recipe, merged.curve)
        # Someone who cancelled a recovery wants the score of what it came to.
        heard = report if done == recipe else silent
        with cost.step("evaluate"):
            after = evaluate(merged, "validation", _part(heard, 6))
        with cost.step("time"):
            both = (model.model, merged.model)
            timed = latencies(both, model.require_task(), _part(heard, 7))
    return RunResult(
        recipe=fixed(done, model),
        original=model,
        merged=merged,
        before=before,
        after=after,
        feats=feats,
        latency=dict(zip(("original", "merged"), timed, strict=True)),
        seconds=cost.seconds,
        memory=cost.memory,
        peak_memory=cost.peak_memory,
        versions=versions(),
    )


def fixed(recipe: Recipe, model: LoadedModel) -> Recipe:
    """The recipe with the hashes of the weights and the data that it was carried out on."""
    return replace(
        recipe,
        revision=model.revision,
        data_revision=model.require_task().revision,
        python=platform.python_version(),
        tokenize=tokenize_of(model.task),
        allow_bin=model.from_bin,
    )


def pinned(recipe: Recipe, model: LoadedModel) -> Recipe:
    """The recipe with the full source and the hashes that it lacks.

    One that it names already stays: it is what the recipe asks for. Raises `PlanError` for a plan
    that does not fit the model, before anything is written or kept of it.
    """
    recipe.plan.check(model.sublayers)
    now = fixed(replace(recipe, source=model.source, data=model.data), model)
    return replace(
        now,
        revision=recipe.revision or now.revision,
        data_revision=recipe.data_revision or now.data_revision,
        python=recipe.python or now.python,
        tokenize=recipe.tokenize or now.tokenize,
    )


def evaluate(
    model: LoadedModel, split: Split = "validation", report: Report = silent
) -> Evaluation:
    """Score a model on a split of its task.

    Parameters
    ----------
    model : LoadedModel
        With a task.
    split : {"validation", "test", "train"}, default "validation"
        Choices read "validation"; "test" is for the merge that you settled on.
    report : Report, optional
        Told how far it is; may raise `Cancelled`.

    Returns
    -------
    Evaluation
        Every figure with its 95 % interval.

    Raises
    ------
    DataError
        If the model has no data, or cannot run on it; for an unknown split, and arguments of
        another type.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> before = fm.evaluate(model)
    >>> print(f"{before.metric} {before.value:.2f} of {before.n} images")
    accuracy 0.99 of 359 images
    """
    expect(DataError, model=(model, LoadedModel), report=(report, Callable))
    one_of(DataError, "split", split, get_args(Split))
    return model.require_task().evaluate(model.model, split, report)


def _as_it_ended(recipe: Recipe, curve: Curve | None) -> Recipe:
    """The recipe that gives this curve to the end: a recovery that was cancelled says where."""
    if recipe.recovery is None or curve is None or curve.stopped != "cancelled":
        return recipe
    return replace(recipe, recovery=replace(recipe.recovery, until=curve.steps))


def check_source(recipe: Recipe, model: LoadedModel) -> None:
    """Raise `PlanError`, saying what to do, if a recipe is of other weights or data than these."""
    task, here = model.require_task(), platform.python_version()
    if recipe.tokenize not in (None, used := tokenize_of(task)):
        raise PlanError(
            f"This recipe's BLEU splits sentences by {recipe.tokenize}, and the model at hand was "
            f"opened with tokenize={used!r}. Open it with tokenize={recipe.tokenize!r}."
        )
    found = unlike(recipe, revision=model.revision, data_revision=task.revision, python=here)
    if found is None:
        return
    then, now = found.then[:12], found.now[:12]
    if found.what == "weights":
        raise PlanError(
            f"The weights of {recipe.source} have changed since this recipe was written (revision "
            f"{now} now, {then} then). Restore the old weights, or remove the recipe's revision to "
            "run it on the new ones."
        )
    wrote = found.python
    cause = f" It was written under Python {wrote}, and this is Python {here}." if wrote else ""
    raise PlanError(
        f"The content of {task.data} has changed since this recipe was written (revision {now} "
        f"now, {then} then).{cause} Restore the old content, or remove the recipe's data_revision "
        "to run it on the new one."
    )


def _part(report: Report, index: int) -> Report:
    """The report of one of the steps."""
    n = len(_STEPS)
    return part(report, index / n, (index + 1) / n, f"{_STEPS[index]}: ")

"""From a recipe to its numbers: load, calibrate, merge, recover, quantise, evaluate."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ffmerge_core.analysis.features import Features, calibrate
from ffmerge_core.compression.cost import Latency, latencies, measured, versions
from ffmerge_core.compression.merging import AlignedPair, align, aligned_pairs, apply
from ffmerge_core.compression.quantization import quantize
from ffmerge_core.compression.recovery import recover
from ffmerge_core.errors import PlanError
from ffmerge_core.models.int8 import check_installed, int8_bytes
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.plan import Curve, Recipe
from ffmerge_core.plan.fitting import unlike
from ffmerge_core.progress import Report, part, silent
from ffmerge_core.sources.loading import load
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.evaluation import Evaluation

_STEPS = (
    "Loading",
    "Calibrating",
    "Aligning",
    "Merging",
    "Evaluating the original",
    "Recovering",
    "Evaluating the merge",
    "Timing both",
)


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a recipe gave. before, after: the original and the merged model on validation.

    recipe: as it was carried out: with its revisions, and with where its recovery was cancelled.
    feats: what the plan was carried out by, if it needs features. latency: of "original" and
    "merged", taken in turns. seconds, memory: by step; memory is the peak, of the whole process,
    in bytes. peak_memory: that of all steps.
    """

    recipe: Recipe
    original: LoadedModel
    merged: LoadedModel
    before: Evaluation
    after: Evaluation
    feats: Features | None
    latency: dict[str, Latency]
    seconds: dict[str, float]
    memory: dict[str, int]
    peak_memory: int
    versions: dict[str, str]

    @property
    def curve(self) -> Curve | None:
        """Of the recovery, where the recipe has one."""
        return self.merged.curve

    @property
    def pairs(self) -> tuple[AlignedPair, ...]:
        """The matches that were merged; empty for methods that do not align."""
        return aligned_pairs(self.recipe.plan, self.feats) if self.feats else ()

    def record(self) -> dict[str, Any]:
        """The result as the run history stores it: JSON values only.

        quantized: bytes of what is int8, scales included; None where nothing is. All but
        `latency` and `memory` follow from the recipe.
        """
        record = scores_record(self.before, self.after)
        for side, model in (("original", self.original), ("merged", self.merged)):
            record[side] |= {
                "n_parameters": model.n_parameters,
                "weight_bytes": model.weight_bytes,
            }
        return record | {
            "examples": self.original.require_task().examples,
            "pairs": [asdict(pair) for pair in self.pairs],
            "n_tokens": self.feats.n_tokens if self.feats else None,
            "recovery": self.curve.to_dict() if self.curve else None,
            "quantized": int8_bytes(self.merged.model) if self.merged.quantized else None,
            "latency": {side: asdict(latency) for side, latency in self.latency.items()},
            "memory": self.memory,
        }


def run(
    recipe: Recipe,
    report: Report = silent,
    *,
    model: LoadedModel | None = None,
    feats: Features | None = None,
    before: Evaluation | None = None,
    folder: Path | None = None,
) -> RunResult:
    """Carry out a recipe; the same recipe gives the same numbers on the same machine.

    model, feats: the recipe's own model and features if they are at hand already; checked.
    before: the same model's validation score, if at hand; that it is its own is the caller's
    word. folder: for the recovery's checkpoints; a run that was killed goes on from there.
    A report that raises `Cancelled` during the recovery ends that alone.
    """
    with measured() as cost:
        with cost.step("load"):
            model = model or load(
                recipe.source, task=recipe.data, report=_part(report, 0), fidelity=recipe.fidelity
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
            merged = apply(model, recipe.plan, feats, _part(report, 3))
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
    )


def evaluate(
    model: LoadedModel, split: Split = "validation", report: Report = silent
) -> Evaluation:
    """Score a model on a split of its task. Choices read "validation"; "test" is for reports."""
    return model.require_task().evaluate(model.model, split, report)


def scores_record(before: Evaluation, after: Evaluation) -> dict[str, Any]:
    """One split's scores of both models and their paired difference, as the history keeps them."""
    split = before.split
    return {
        "original": {split: before.summary()},
        "merged": {split: after.summary()},
        "difference": {split: after.versus(before).summary()},
    }


def _as_it_ended(recipe: Recipe, curve: Curve | None) -> Recipe:
    """The recipe that gives this curve to the end: a recovery that was cancelled says where."""
    if recipe.recovery is None or curve is None or curve.stopped != "cancelled":
        return recipe
    return replace(recipe, recovery=replace(recipe.recovery, until=curve.steps))


def check_source(recipe: Recipe, model: LoadedModel) -> None:
    """Raise `PlanError`, saying what to do, if a recipe is of other weights or data than these."""
    task, here = model.require_task(), platform.python_version()
    found = unlike(recipe, revision=model.revision, data_revision=task.revision, python=here)
    if found is None:
        return
    then, now = found.then[:12], found.now[:12]
    if found.what == "weights":
        raise PlanError(
            f"{recipe.source} holds other weights now (revision {now}) than when this recipe was "
            f"written ({then}). Restore them, or take the recipe's revision out to run it on these."
        )
    wrote = found.python
    cause = f" It was written under Python {wrote}; this is {here}." if wrote else ""
    raise PlanError(
        f"{task.data} says something else now (revision {now}) than when this recipe was written "
        f"({then}).{cause} Restore it, or take the recipe's data_revision out to run it on this."
    )


def _part(report: Report, index: int) -> Report:
    """The report of one of the steps."""
    n = len(_STEPS)
    return part(report, index / n, (index + 1) / n, f"{_STEPS[index]}: ")

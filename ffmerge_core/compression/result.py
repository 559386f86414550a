"""What a recipe gave, as a value and as the run history stores it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ffmerge_core import showing
from ffmerge_core.analysis.features import Features
from ffmerge_core.compression.cost import Latency
from ffmerge_core.compression.merging import AlignedPair, aligned_pairs
from ffmerge_core.models.int8 import int8_bytes
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.plan import Curve, Recipe, plan_in_words
from ffmerge_core.tasks.evaluation import Evaluation


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a recipe gave.

    Attributes
    ----------
    recipe : Recipe
        As it was carried out: with its revisions, and with where its recovery was cancelled.
    original, merged : LoadedModel
        Before and after.
    before, after : Evaluation
        Of the two, on the validation split.
    feats : Features or None
        What the plan was carried out by, if it needs features.
    latency : dict of str to Latency
        Of "original" and "merged", taken in turns.
    seconds : dict of str to float
        By step.
    memory : dict of str to int
        By step, the peak in bytes, of the whole process.
    peak_memory : int
        That of all steps, in bytes.
    versions : dict of str to str
        What the numbers depend on besides the recipe.

    See Also
    --------
    run : Makes one.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> plan = fm.MergePlan(groups=(("encoder.4", "encoder.5"),), method="vanilla")
    >>> result = fm.run(fm.Recipe("demo:vit-digits", plan))
    >>> result.merged.n_parameters
    568970
    >>> result.after.versus(result.before).metric
    'accuracy'
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

    def __repr__(self) -> str:
        left = f"{self.original.n_parameters:,} → {self.merged.n_parameters:,} parameters"
        metric, before, after = self.after.metric, self.before.value, self.after.value
        scores = f"{metric} {showing.rounded(before)} → {showing.rounded(after)}"
        return showing.line(self, f"{plan_in_words(self.recipe.plan)}: {left}, {scores}")

    def _repr_html_(self) -> str:
        change = self.after.versus(self.before)
        models = (self.original, self.merged)
        rows = [("parameters", *(f"{each.n_parameters:,}" for each in models), "")]
        for name in self.before.figures:
            three = (each.figures[name] for each in (self.before, self.after, change))
            rows.append((name, *(showing.figure(*figure) for figure in three)))
        return showing.table(repr(self), ("", "original", "merged", "change"), rows)

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
            # It says whether a declaration knows the model, or its FF sublayers were discovered.
            "family": self.original.family.name,
            "pairs": [asdict(pair) for pair in self.pairs],
            "n_tokens": self.feats.n_tokens if self.feats else None,
            "recovery": self.curve.to_dict() if self.curve else None,
            "quantized": int8_bytes(self.merged.model) if self.merged.quantized else None,
            "latency": {side: asdict(latency) for side, latency in self.latency.items()},
            "memory": self.memory,
        }


def scores_record(before: Evaluation, after: Evaluation) -> dict[str, Any]:
    """One split's scores of both models and their paired difference, as the history keeps them."""
    split = before.split
    return {
        "original": {split: before.summary()},
        "merged": {split: after.summary()},
        "difference": {split: after.versus(before).summary()},
    }

"""A recipe: everything needed to replay a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ffmerge_core.checks import expect, one_of
from ffmerge_core.errors import PlanError
from ffmerge_core.plan.bleu_tokenizers import BLEU_TOKENIZERS
from ffmerge_core.plan.methods import Plan
from ffmerge_core.plan.quantizations import QUANTIZATIONS
from ffmerge_core.plan.recovery import Recovery
from ffmerge_core.plan.registry import plan_from_dict
from ffmerge_core.plan.values import fields_of, keep_whole


@dataclass(frozen=True)
class Recipe:
    """Everything needed to replay a number.

    Parameters
    ----------
    source : str
        What `load` takes.
    plan : MergePlan, DropLayers, DropFF, Factor or Narrow
        What is done to the model.
    data : str, optional
        None for the source's own, "digits", a path to the user's, or "hf:org/name@commit".
    fidelity : bool, default False
        Score agreement with the original instead of the task's own metric.
    tokens, seed : int
        The calibration draw from the training split: how many tokens a stack, in which order.
    dtype : {"float32"}
        Of the model's weights.
    revision, data_revision : str, optional
        Hashes that fix the weights and the data; a run on others is refused.
    python : str, optional
        The version that wrote this: the standard library's text, which gpt2-code reads, differs
        between versions.
    recovery : Recovery, optional
        The fine-tune after the plan, in an order drawn from the same seed.
    quantize : {"int8", "llm.int8"}, optional
        Keep the weights of the blocks as int8 after that; "llm.int8" computes with them by
        bitsandbytes.
    tokenize : str, optional
        How BLEU splits sentences into words, as sacrebleu names it: "13a", "zh", "char", ….
        None for what the target language asks for.
    allow_bin : bool, default False
        Weights may be read from pytorch_model.bin, where there is no safetensors.

    Raises
    ------
    PlanError
        For values that no run could have.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> plan = fm.MergePlan(groups=(("encoder.4", "encoder.5"),))
    >>> recipe = fm.Recipe("demo:vit-digits", plan, tokens=2_000)
    >>> fm.Recipe.from_dict(recipe.to_dict()) == recipe
    True
    """

    source: str
    plan: Plan
    data: str | None = None
    fidelity: bool = False
    tokens: int = 10_000
    seed: int = 0
    dtype: str = "float32"
    revision: str | None = None
    data_revision: str | None = None
    python: str | None = None
    recovery: Recovery | None = None
    quantize: str | None = None
    tokenize: str | None = None
    allow_bin: bool = False

    def __post_init__(self) -> None:
        expect(PlanError, source=(self.source, str), plan=(self.plan, Plan))
        expect(PlanError, data=(self.data, str | None), fidelity=(self.fidelity, bool))
        expect(PlanError, allow_bin=(self.allow_bin, bool))
        keep_whole(self, "tokens", 2)
        keep_whole(self, "seed", 0)
        one_of(PlanError, "dtype", self.dtype, ("float32",))
        expect(PlanError, recovery=(self.recovery, Recovery | None))
        if self.quantize is not None:
            QUANTIZATIONS.of(self.quantize)
        if self.tokenize is not None:
            BLEU_TOKENIZERS.of(self.tokenize)

    def to_dict(self) -> dict[str, Any]:
        recovery = self.recovery and self.recovery.to_dict()
        values = {**asdict(self), "plan": self.plan.to_dict(), "recovery": recovery}
        # As recipes said before there was a choice.
        for name in ("tokenize", "allow_bin"):
            if not values[name]:
                del values[name]
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Inverse of `to_dict`; refuses unknown fields and values of other types."""
        values = fields_of(cls, data)
        values["plan"] = plan_from_dict(values["plan"])
        if values.get("recovery") is not None:
            values["recovery"] = Recovery.from_dict(values["recovery"])
        return cls(**values)

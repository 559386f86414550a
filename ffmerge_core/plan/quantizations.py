"""The ways to keep the weights of the blocks in fewer bytes, a record each."""

from __future__ import annotations

from dataclasses import dataclass

from ffmerge_core.errors import PlanError
from ffmerge_core.extras import is_there
from ffmerge_core.kinds import Kind, Kinds, Work


@dataclass(frozen=True, kw_only=True)
class Quantization(Kind):
    """All keep the same int8 weights, one scale a row; they differ in how these are computed with.

    requires: packages of an extra. linear: the class of torch Linear that
    computes; None for torch's own.
    """

    requires: tuple[str, ...] = ("torchao",)
    linear: Work | None = None

    @property
    def installed(self) -> bool:
        """Whether what it requires is there."""
        return all(map(is_there, self.requires))


QUANTIZATIONS: Kinds[Quantization] = Kinds(
    "quantize",
    PlanError,
    (
        Quantization(
            name="int8",
            label="int8",
            help="Rounds FF and attention weights to 8-bit integers. The number of parameters "
            "stays the same, in about a quarter of the memory. Each pass converts the weights "
            "back, which takes time.",
        ),
        Quantization(
            name="llm.int8",
            label="LLM.int8()",
            help="Keeps the same int8 weights and also rounds the inputs of each matrix. It is "
            "slow without a GPU.",
            source="Dettmers et al., 2022",
            # In this order: the extra that brings the first brings the second too.
            requires=("bitsandbytes", "torchao"),
            linear="ffmerge_core.models.int8:LLMInt8Linear",
        ),
    ),
)

"""A model opened here: the module, what it is for, and where its FF sublayers live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from ffmerge_core.errors import DataError
from ffmerge_core.models.families import Family
from ffmerge_core.models.structure import count_parameters, weight_bytes
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import Curve, Plan
from ffmerge_core.tasks.task import Task


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A proven model. Nothing in this package changes one in place.

    source: what it was loaded from. revision: SHA-256 of the weights it was loaded with.
    plan: what was done to it since, or None. curve: of its recovery after that, or None.
    tokenizer: a transformers tokenizer, for text.
    data: what `load` was told to measure it on, as a recipe writes it; None for the source's own.
    quantized: how the weights of the blocks are kept, if not as floating-point numbers.
    settings: JSON files that go with the weights, by name: how to build or feed the model,
        where the module itself does not say.
    """

    model: nn.Module
    task: Task | None
    sublayers: tuple[FFSublayer, ...]
    family: Family
    source: str
    revision: str
    plan: Plan | None = None
    tokenizer: Any = None
    data: str | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curve: Curve | None = None
    quantized: str | None = None

    @cached_property
    def n_parameters(self) -> int:
        """Parameters held, a tied one counted once."""
        return count_parameters(self.model)

    @cached_property
    def weight_bytes(self) -> int:
        """Memory that the weights take, in bytes. Tying saves this, not compute."""
        return weight_bytes(self.model)

    @property
    def stacks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(sublayer.stack for sublayer in self.sublayers))

    def require_task(self) -> Task:
        """Its task; `DataError` if it was opened without data."""
        if self.task is None:
            raise DataError(
                f"{self.source} was opened without data, so it cannot be measured. Open it with "
                'data: load(source, task="digits"), task="a path to your data", or a task of your '
                "own."
            )
        return self.task


def anatomy(
    model: nn.Module, family: Family, sublayers: Sequence[FFSublayer]
) -> tuple[tuple[str, int], ...]:
    """Parameters by part, each counted once: FF, attention, embeddings, norms, head, other."""
    prefixes = (
        ("FF", tuple(path for sublayer in sublayers for path in sublayer.modules.values())),
        ("embeddings", family.embeddings),
        ("head", family.head),
    )
    totals = dict.fromkeys(("FF", "attention", "embeddings", "norms", "head", "other"), 0)
    for name, parameter in model.named_parameters():
        part = next((part for part, paths in prefixes if _under(name, paths)), None)
        if part is None and not set(name.split(".")).isdisjoint(family.attention):
            part = "attention"
        # What is left is a norm's or a LayerScale's vector, or something unforeseen.
        totals[part or ("norms" if parameter.ndim == 1 else "other")] += parameter.numel()
    return tuple((part, total) for part, total in totals.items() if total)


def _under(name: str, paths: tuple[str, ...]) -> bool:
    return any(name == path or name.startswith(f"{path}.") for path in paths)

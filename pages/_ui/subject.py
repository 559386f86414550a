"""What the pages know of the opened model without importing torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ffmerge_core import demos
from ffmerge_core.models.sublayers import FFSublayer

DEFAULT_SOURCE = "demo:vit-digits"


@dataclass(frozen=True)
class Subject:
    """The model on the table.

    revision: of its weights, as `LoadedModel` has it.
    anatomy: (part, parameters), adding up to n_parameters. weight_bytes: memory of the
    weights. scores: split → `Evaluation.summary()` of the untouched model. facts: what its
    card says, in (label, text) pairs.
    """

    source: str
    revision: str
    title: str
    description: str
    family: str
    sublayers: tuple[FFSublayer, ...]
    anatomy: tuple[tuple[str, int], ...]
    n_parameters: int
    weight_bytes: int
    scores: Mapping[str, Mapping[str, Any]]
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def stacks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(sublayer.stack for sublayer in self.sublayers))

    def names(self, stack: str) -> list[str]:
        """The stack's sublayers in layer order."""
        return [sublayer.name for sublayer in self.sublayers if sublayer.stack == stack]


def demo_subject(source: str) -> Subject:
    """A demo as its card describes it."""
    card = demos.card(source)
    splits = ", ".join(f"{split} {size:,}" for split, size in card.splits.items())
    return Subject(
        source=source,
        revision=card.revision,
        title=card.title,
        description=card.description,
        family=card.family,
        sublayers=tuple(FFSublayer.from_dict(sublayer) for sublayer in card.sublayers),
        anatomy=tuple((part.part, part.n_parameters) for part in card.anatomy),
        n_parameters=card.n_parameters,
        weight_bytes=card.weight_bytes,
        scores={"validation": card.validation, "test": card.test},
        facts=(
            ("Data", card.data),
            ("Examples", splits),
            ("Licence of the data", card.data_licence),
            ("Licence of the weights", card.weights_licence),
            (
                "Trained with",
                f"`{card.training_command}`, {card.training_seconds / 60:.0f} minutes",
            ),
        ),
    )


def short(names: Sequence[str]) -> str:
    """("encoder.3", "encoder.4", "encoder.7") -> "encoder 3–4, 7"."""
    stack = names[0].rsplit(".", 1)[0]
    runs: list[list[int]] = []
    for index in sorted(int(name.rsplit(".", 1)[1]) for name in names):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return f"{stack} " + ", ".join(
        str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs
    )


def plan_in_words(plan: Mapping[str, Any]) -> str:
    """{"groups": …, "method": "permute", "anchor": "first"} -> "permute encoder 3–4 (first)"."""
    groups = " and ".join(short(group) for group in plan["groups"])
    anchor = "" if plan["method"] == "vanilla" else f", anchor {plan['anchor']}"
    return f"{plan['method']} {groups}{anchor}"

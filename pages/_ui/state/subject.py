"""What the pages know of the opened model without importing torch."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffmerge_core import demos
from ffmerge_core.errors import FFMergeError
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import Recipe, plan_in_words
from ffmerge_core.plan.fitting import unlike
from ffmerge_core.reporting.opening import kept_in_words, notes_on_opening
from ffmerge_core.reporting.recoveries import recovery_in_words
from ffmerge_core.tasks.kinds import TASKS
from ffmerge_core.tasks.task import given

if TYPE_CHECKING:
    import ffmerge_core as fm


@dataclass(frozen=True)
class Opened:
    """What is open: a model, and what it is measured on. The key of all that is computed.

    source, data, fidelity, tokenize, allow_bin: as a `Recipe` has them.
    """

    source: str
    data: str | None = None
    fidelity: bool = False
    tokenize: str | None = None
    allow_bin: bool = False

    @classmethod
    def of(cls, recipe: Recipe) -> Opened:
        return cls(recipe.source, recipe.data, recipe.fidelity, recipe.tokenize, recipe.allow_bin)

    @property
    def itself(self) -> Opened:
        """The same model, measured as its source itself says."""
        return Opened(self.source, allow_bin=self.allow_bin)

    @property
    def on_its_own(self) -> bool:
        """Whether it is measured as its source itself says: its data, by its metric."""
        return self == self.itself

    @property
    def from_card(self) -> bool:
        """Whether a demo's card says all of it, so that no model need be loaded."""
        return self.source.startswith(demos.PREFIX) and self.on_its_own


DEFAULT = Opened("demo:vit-digits")


@dataclass(frozen=True)
class Subject:
    """The model on the table.

    revision: of its weights, as `LoadedModel` has it. kind: what it is for, as a `Task` says
    it. data: its name. data_revision: of its content, None of a demo's own, which is the
    package's. examples: what it is scored on, in the plural.
    anatomy: (part, parameters), adding up to n_parameters. weight_bytes: memory of the
    weights. scores: split → `Evaluation.summary()` of the untouched model. facts: what its
    card says, in (label, text) pairs. merged: whether it was compressed before it was saved.
    """

    opened: Opened
    revision: str
    title: str
    description: str
    kind: str
    data: str
    examples: str
    sublayers: tuple[FFSublayer, ...]
    anatomy: tuple[tuple[str, int], ...]
    n_parameters: int
    weight_bytes: int
    scores: Mapping[str, Mapping[str, Any]]
    facts: tuple[tuple[str, str], ...] = ()
    merged: bool = False
    data_revision: str | None = None

    def unlike(self, recipe: Recipe) -> str | None:
        """What a recipe is of, if not of this model on this data as both are now; else None."""
        if Opened.of(recipe) != self.opened:
            return f"of {self.source} on other data, or measured in another way,"
        found = unlike(
            recipe, revision=self.revision, data_revision=self.data_revision, python=None
        )
        if found is None:
            return None
        if found.what == "weights":
            return f"of {self.source} with other weights"
        return f"measured on another version of {self.opened.data or self.data}"

    def unlike_run(self, recipe: Mapping[str, Any]) -> str | None:
        """The same of a recipe as a run has it, whose plan may be of another version."""
        try:
            return self.unlike(Recipe.from_dict(recipe))
        except FFMergeError:
            return "whose plan is from another version of this program"

    @property
    def source(self) -> str:
        return self.opened.source

    @property
    def stacks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(sublayer.stack for sublayer in self.sublayers))

    def names(self, stack: str) -> list[str]:
        """The stack's sublayers in layer order."""
        return [sublayer.name for sublayer in self.sublayers if sublayer.stack == stack]


def demo_subject(source: str) -> Subject:
    """A demo on its own data, as its card describes it."""
    card = demos.card(source)
    return Subject(
        opened=Opened(source),
        revision=card.revision,
        title=card.title,
        description=card.description,
        kind=card.kind,
        data=demos.PREFIX + card.name,
        examples=TASKS.of(card.kind).examples,
        sublayers=tuple(FFSublayer.from_dict(sublayer) for sublayer in card.sublayers),
        anatomy=tuple((part.part, part.n_parameters) for part in card.anatomy),
        n_parameters=card.n_parameters,
        weight_bytes=card.weight_bytes,
        scores={"validation": card.validation, "test": card.test},
        facts=(
            ("Data", card.data),
            ("Examples", _sizes(card.splits, card.unit)),
            ("Licence of the data", card.data_licence),
            *_training(card),
        ),
    )


def loaded_subject(model: fm.LoadedModel, opened: Opened, score: fm.Evaluation) -> Subject:
    """A model as it was found when it was opened."""
    from ffmerge_core.models.loaded import anatomy
    from ffmerge_core.storage.record import recovery_in

    task = model.require_task()
    card = demos.card(opened.source) if opened.source.startswith(demos.PREFIX) else None
    description = (
        card.description if card else f"A {model.family.name} model, opened from {opened.source}."
    )
    done = [plan_in_words(model.plan)] if model.plan is not None else []
    recovery = recovery_in(model.settings)
    done += [f"recovered with {recovery_in_words(recovery)}"] if recovery else []
    done += [f"{model.quantized} weights"] if model.quantized is not None else []
    if done:
        description += f" Before it was saved, this was done to it: {', '.join(done)}."
    notes = notes_on_opening(model.left_out, model.without_power, model.taken_off)
    description = " ".join([description, *notes])
    return Subject(
        opened=opened,
        revision=model.revision,
        title=card.title if card else Path(opened.source).name,
        description=description,
        kind=model.family.kind,
        data=task.data,
        examples=task.examples,
        sublayers=model.sublayers,
        anatomy=anatomy(model.model, model.family, model.sublayers),
        n_parameters=model.n_parameters,
        weight_bytes=model.weight_bytes,
        scores={"validation": score.summary()},
        facts=(
            ("Data", opened.data or task.data),
            ("Examples", _sizes(*given(task))),
            ("Weights in a file", kept_in_words(model.kept_bytes)),
            *(_training(card) if card else ()),
        ),
        merged=bool(done),
        data_revision=task.revision,
    )


def _sizes(splits: Mapping[Any, int], unit: str) -> str:
    return f"{unit}: " + ", ".join(f"{split} {size:,}" for split, size in splits.items())


def _training(card: demos.Card) -> tuple[tuple[str, str], ...]:
    wrote, here = card.versions["python"], platform.python_version()
    facts = [
        ("Licence of the weights", card.weights_licence),
        ("Trained with", f"`{card.training_command}`, {card.training_time}; {card.kept}"),
        ("About the training", card.training_note),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in card.versions.items())),
    ]
    if card.name == "gpt2-code" and wrote != here:
        facts.append(
            (
                "This computer",
                f"The standard library of Python {here} differs from that of Python {wrote}, on "
                "which the scores here were measured. A merge is compared with the original on the "
                f"text of Python {here}",
            )
        )
    return tuple((label, text) for label, text in facts if text)

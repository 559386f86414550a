"""Models that come with the package: a card, weights, data and the script that trained them.

Each demo is a package in this folder, named with underscores for dashes. Its `card.json`
says everything a first page shows, so that no page waits for torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any, cast

from ffmerge_core.errors import SourceError
from ffmerge_core.extras import require

if TYPE_CHECKING:
    from torch import nn

    from ffmerge_core.tasks.task import Task

PREFIX = "demo:"
_NAMES = ("vit-digits", "gpt2-code", "marian-en-fr")
# By folder: packages of an extra that its data is made with.
_NEEDS = {"marian_en_fr": ("babel", "num2words")}


@dataclass(frozen=True)
class Part:
    """Parameters of one part of a model; each parameter is in one part only."""

    part: str
    n_parameters: int


@dataclass(frozen=True)
class Card:
    """A demo as its training script described it and `demos.describe` measured it.

    kind, metric: the task's. data_licence, weights_licence: names. splits: how many of
    `unit` ("images") are in each. data_revision: SHA-256 of the data; where the text comes
    with Python, of the Python that trained. training_time: in words, with the clock that
    measured it. kept: which step or epoch. training_note: what else the command does not say.
    weights_sha256: of weights.safetensors. revision: what `LoadedModel.revision` is once they
    are loaded. weight_bytes: memory of the loaded weights.
    anatomy: parts, which add up to n_parameters. sublayers: each as `FFSublayer.to_dict()`.
    validation, test: the untouched model's `Evaluation.summary()` on that split.
    """

    name: str
    title: str
    description: str
    kind: str
    family: str
    data: str
    data_licence: str
    data_revision: str
    weights_licence: str
    splits: Mapping[str, int]
    unit: str
    metric: str
    training_command: str
    training_time: str
    training_note: str
    seed: int
    kept: str
    versions: Mapping[str, str]
    weights_sha256: str
    revision: str
    n_parameters: int
    weight_bytes: int
    d_model: int
    anatomy: tuple[Part, ...]
    sublayers: tuple[Mapping[str, Any], ...]
    validation: Mapping[str, Any]
    test: Mapping[str, Any]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Card:
        """Raises `SourceError` for missing or unknown fields."""
        expected = {field.name for field in fields(cls)}
        if set(data) != expected:
            wrong = ", ".join(sorted(expected ^ set(data)))
            raise SourceError(
                f"A demo's card.json lacks or does not know: {wrong}. Install the package again."
            )
        anatomy = tuple(Part(**part) for part in data["anatomy"])
        return cls(**{**data, "anatomy": anatomy, "sublayers": tuple(data["sublayers"])})


def names() -> tuple[str, ...]:
    """Every demo, without the prefix that makes it a source ("demo:vit-digits")."""
    return _NAMES


@cache
def card(name: str) -> Card:
    """A demo's card; imports no torch. name: with or without its prefix.

    Raises `SourceError` for an unknown demo or a damaged card.
    """
    path = resources.files(__name__) / package(name) / "card.json"
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(
            f"The card of the demo {name} cannot be read ({error}). Install the package again."
        ) from error
    return Card.from_dict(data)


def load(name: str) -> tuple[nn.Module, Task]:
    """A fresh copy of a demo's trained model, in evaluation mode, and its task.

    name: with or without its prefix. Raises `SourceError` for an unknown demo or damaged
    weights, `MissingPackageError` where an extra is not installed that its data needs.
    """
    folder = package(name)
    for needed in _NEEDS.get(folder, ()):
        require(needed, f"The demo {folder.replace('_', '-')}")
    module = import_module(f"{__name__}.{folder}.model")
    return cast("tuple[nn.Module, Task]", module.load())


def package(name: str) -> str:
    """The folder of a demo. Raises `SourceError` for an unknown one."""
    bare = name.removeprefix(PREFIX)
    if bare not in _NAMES:
        known = ", ".join(PREFIX + each for each in _NAMES)
        raise SourceError(f"There is no demo called {bare!r}. The demos are: {known}.")
    return bare.replace("-", "_")

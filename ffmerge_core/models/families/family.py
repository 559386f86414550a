"""What there is to say about one family of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.tasks.batch import Batch

Kind = Literal["image-classification", "language-modeling", "translation"]


@dataclass(frozen=True)
class Family:
    """One family of models.

    kind: what its models are for, as a `Task` says it.
    classes: (root package, class name) pairs that belong to it.
    attention: what its attention modules are called inside a block.
    embeddings, head: path prefixes of those parts; a tied head counts as embeddings.
    depths: stack → what its configuration calls the number of blocks.
    find: the FF sublayers in the order in which the model runs them.
    example: a small batch of noise that the model accepts, for the proof.
    """

    name: str
    kind: Kind
    classes: tuple[tuple[str, str], ...]
    attention: tuple[str, ...]
    embeddings: tuple[str, ...]
    head: tuple[str, ...]
    depths: Mapping[str, str]
    find: Callable[[nn.Module], tuple[FFSublayer, ...]]
    example: Callable[[nn.Module], Batch]

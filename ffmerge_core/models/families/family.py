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
    """One family of models: how to recognise one, and where its FF sublayers live.

    Attributes
    ----------
    name : str
        For reading: "timm ViT".
    kind : {"image-classification", "language-modeling", "translation"}
        What its models are for, as a `Task` says it.
    classes : tuple of (str, str)
        (root package, class name) pairs that belong to it.
    attention : tuple of str
        What its attention modules are called inside a block.
    embeddings, head : tuple of str
        Path prefixes of those parts; a tied head counts as embeddings.
    depths : mapping of str to str
        By stack, what its configuration calls the number of blocks.
    find : callable
        A model → its FF sublayers, in the order in which the model runs them.
    example : callable
        A model → a small batch of noise that it accepts, for the proof.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> model.family.name, model.family.kind
    ('timm ViT', 'image-classification')
    >>> model.family.find(model.model) == model.sublayers
    True
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

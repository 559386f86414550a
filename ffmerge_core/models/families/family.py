"""What there is to say about one family of models. No torch at import: pages list families."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.kinds import Kind
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.tasks.batch import Batch

if TYPE_CHECKING:
    from torch import nn

Settings = Mapping[str, Mapping[str, Any]]


def _no_head(model: nn.Module) -> int | None:
    return None


def _no_names(model: nn.Module, settings: Settings) -> Sequence[str] | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Family(Kind):
    """One family of models: all that the rest of the package asks of it.

    Attributes
    ----------
    name : str
        As errors and cards write it, such as "transformers GPT-2".
    label : str
        For reading, such as "GPT-2".
    help : str
        One sentence.
    source : str
        Its paper.
    kind : str
        What its models are for: the name of a kind of task, such as "language-modeling".
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
        A model → a small batch of noise that it accepts, for the proof; images are its first
        argument.
    kinds : mapping of str to str
        By class, what its models are for where that is not `kind`.
    longest : int, str or callable
        Tokens that the model sees at once, or what its configuration calls that number, or a
        function of its configuration.
    n_classes : callable
        A model → the classes that its head tells apart; None of one without a head.
    class_names : callable
        (model, settings) → what these are called, by the model and the files that go with its
        weights (`LoadedModel.settings`); None where neither says it.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> model.family.name, model.family.kind
    ('timm ViT', 'image-classification')
    >>> model.family.find(model.model) == model.sublayers
    True
    """

    kind: str
    classes: tuple[tuple[str, str], ...]
    attention: tuple[str, ...]
    embeddings: tuple[str, ...]
    head: tuple[str, ...]
    depths: Mapping[str, str]
    find: Callable[[nn.Module], tuple[FFSublayer, ...]]
    example: Callable[[nn.Module], Batch]
    kinds: Mapping[str, str] = field(default_factory=dict)
    longest: int | str | Callable[[Any], int] = "max_position_embeddings"
    n_classes: Callable[[nn.Module], int | None] = _no_head
    class_names: Callable[[nn.Module, Settings], Sequence[str] | None] = _no_names

    def of_class(self, known: str) -> Family:
        """The same for models of one class, with what they are for."""
        return replace(self, kind=self.kinds[known]) if known in self.kinds else self

    def longest_input(self, model: nn.Module) -> int:
        """Tokens that `model` sees at once. Raises `UnsupportedModelError` if nothing says it."""
        if isinstance(self.longest, int):
            return self.longest
        config: Any = getattr(model, "config", None)
        if not isinstance(self.longest, str):
            return self.longest(config)
        found = getattr(config, self.longest, None)
        if not isinstance(found, int):
            raise UnsupportedModelError(
                f"The configuration of a {self.name} has no {self.longest}, so how many tokens it "
                "sees at once is not known. Give its family the number: longest=512."
            )
        return found

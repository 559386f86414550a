"""Reading alone: the windows of a text for an encoder, which says nothing of the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ffmerge_core.tasks.batch import Batch
from ffmerge_core.tasks.language_modeling import STACK, LanguageModeling


@dataclass(frozen=True, eq=False, repr=False)
class TextEncoding(LanguageModeling):
    """The inputs of a model that reads text; by itself it has no score.

    `Fidelity` compares two models on them. Its fields are those of `LanguageModeling`.
    """

    kind = "text"
    metric = "top-1 agreement"

    def _batch(self, windows: Sequence[Tensor]) -> Batch:
        """As for a language model, but that an encoder reads them."""
        batch = super()._batch(windows)
        return replace(batch, masks={"encoder": batch.masks[STACK]})

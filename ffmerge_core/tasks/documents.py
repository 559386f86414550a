"""What tasks share whose examples are cut from documents in three splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, get_args

from ffmerge_core import showing
from ffmerge_core.errors import DataError
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.vocabulary import Vocabulary

if TYPE_CHECKING:
    Tokenizer = Any  # transformers' PreTrainedTokenizerBase, which has no useful annotations


class Documents:
    """Of a frozen dataclass with these fields: its check, its hash and its line.

    known: how many token ids the model has; None if that is not told.
    """

    data: str
    tokenizer: Tokenizer
    texts: Mapping[Split, Sequence[str]]
    context: int
    known: int | None

    def __post_init__(self) -> None:
        for split in get_args(Split):
            if not any(self.texts.get(split, ())):
                raise DataError(f"The {split} split of {self.data} has no text.")
        if self.context < 4:
            raise DataError(f"A context of {self.context} tokens was found; 4 or more are needed.")

    def __repr__(self) -> str:
        sizes = " + ".join(f"{len(self.texts[split]):,}" for split in get_args(Split))
        return showing.line(self, f"{self.data}: {sizes} documents, context {self.context:,}")

    @cached_property
    def revision(self) -> str:
        """SHA-256 of every document, split by split."""
        digest = sha256()
        for split in get_args(Split):
            for text in self.texts[split]:
                digest.update(f"{split} {sha256(text.encode()).hexdigest()}\n".encode())
        return digest.hexdigest()

    def count(self, split: Split) -> int:
        """Documents in a split."""
        return len(self.texts[split])

    @property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.tokenizer, self.known, self.data)

"""A tokenizer beside a model's table of tokens: what of it the model knows, and what fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ffmerge_core.errors import DataError

if TYPE_CHECKING:
    Tokenizer = Any  # transformers' PreTrainedTokenizerBase, which has no useful annotations

# Bounds the memory of a batch: its logits are its largest tensor where the vocabulary is large.
_LOGIT_BYTES = 256_000_000
_BYTES_A_LOGIT = 4


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer, and how many of its ids the model knows.

    A tokenizer may have more tokens than the model has embeddings: someone added "[PAD]" and did
    not resize. Such a token is refused where a text holds it. Where only padding would be it,
    another stands there, since nothing reads what is masked.

    known: ids below it are known; None if that is not told. data: its name, for errors. target:
    whether it reads references, of which some tokenizers have a vocabulary of their own.
    """

    tokenizer: Tokenizer
    known: int | None
    data: str
    target: bool = False

    def knows(self, id: int | None) -> bool:
        return id is not None and (self.known is None or id < self.known)

    @property
    def separator(self) -> int | None:
        """What stands between documents: the end of a text, else its beginning; None if neither."""
        for name in ("eos_token_id", "bos_token_id"):
            id: int | None = getattr(self.tokenizer, name)
            if self.knows(id):
                return id
        return None

    @property
    def padding(self) -> int:
        """What stands in masked positions; any known token will do."""
        own: int | None = self.tokenizer.pad_token_id
        return own if own is not None and self.knows(own) else self.separator or 0

    def encoded(self, *texts: Any, **how: Any) -> Any:
        """What the tokenizer makes of texts; `DataError` if it cannot read them."""
        try:
            found = self.tokenizer(*texts, **how)
        # tokenizers raises a plain Exception where a word is unknown and it has no token for that.
        except Exception as error:
            raise DataError(
                f"The tokenizer cannot read {self.data}: {error} Take text that it knows, or a "
                "tokenizer with an unk_token and a pad_token."
            ) from error
        # A slow tokenizer without an unk_token has no id at all for a word that it does not know.
        if isinstance(found["input_ids"], list) and None in found["input_ids"]:
            raise DataError(
                f"The tokenizer has no id for a part of {self.data}. Take text that it knows, or a "
                "tokenizer with an unk_token."
            )
        return found

    def checked(self, ids: Tensor, real: Tensor | None = None) -> Tensor:
        """The ids with known ones where nothing is real; `DataError` if a real one is unknown.

        ids: int64. real: bool of its shape; all of it by default.
        """
        if self.known is None or not ids.numel():
            return ids
        unknown = ids >= self.known
        if bool((unknown if real is None else unknown & real).any()):
            worst = int((ids if real is None else ids[real]).max())
            raise DataError(
                f"{self.data} holds the token {self._text(worst)!r}, whose id is {worst}, and the "
                f"model knows {self.known:,} tokens. Put the model's own tokenizer beside the "
                "weights, or take this token out of the data. If it was added to the tokenizer, "
                "resize the model's embeddings (resize_token_embeddings)."
            )
        return ids.masked_fill(unknown, self.padding)

    def within_bounds(self, lengths: Iterable[int]) -> Iterator[slice]:
        """Which sequences go together, so that the logits of a batch have room; one at least.

        lengths: of the sequences in their order, in tokens.
        """
        tokens = _LOGIT_BYTES // (_BYTES_A_LOGIT * (self.known or len(self.tokenizer)))
        start = stop = longest = 0
        for stop, length in enumerate(lengths, 1):
            if max(longest, length) * (stop - start) > tokens and stop - start > 1:
                yield slice(start, stop - 1)
                start, longest = stop - 1, 0
            longest = max(longest, length)
        if stop > start:
            yield slice(start, stop)

    def decoded(self, rows: Sequence[Tensor]) -> list[str]:
        """The texts of token ids, special tokens left out.

        A model may write an id that its tokenizer has no token for, where its table is the larger
        one: it stands for no text.
        """
        try:
            texts: list[str] = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        except (IndexError, KeyError, TypeError, ValueError):
            named = [[id for id in row.tolist() if self._has_token(id)] for row in rows]
            texts = self.tokenizer.batch_decode(named, skip_special_tokens=True)
        return texts

    def _has_token(self, id: int) -> bool:
        try:
            return isinstance(self.tokenizer.convert_ids_to_tokens(id), str)
        except (IndexError, KeyError, TypeError, ValueError):
            return False

    def _text(self, id: int) -> str:
        if not self.target:
            named = (token for token, own in self.tokenizer.get_vocab().items() if own == id)
            if (token := next(named, None)) is not None:
                return str(token)
        return str(self.tokenizer.convert_ids_to_tokens(id))

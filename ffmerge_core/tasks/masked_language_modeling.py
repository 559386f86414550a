"""Masked language modelling: documents in three splits, some tokens hidden, pseudo-perplexity.

An example is a piece of a document, as long as the model reads at once. Of its tokens 15 % are
hidden, as in BERT (Devlin et al. 2019, arXiv:1810.04805). Which ones follows from the piece
itself, so every model is asked for the same tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ffmerge_core.errors import DataError
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.batch import IGNORED, Batch, Split, batches, eval_mode
from ffmerge_core.tasks.documents import Documents
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.measures import LOSS, Measure
from ffmerge_core.tasks.outputs import cross_entropy, logits_in, logits_of, token_losses
from ffmerge_core.tasks.windows import padded

if TYPE_CHECKING:
    Tokenizer = Any  # transformers' PreTrainedTokenizerBase, which has no useful annotations

STACK = "encoder"
SHARE = 0.15
# Pieces of the validation split that are scored, evenly spread: choices want an answer soon.
QUICK_PIECES = 256
_PIECES_A_BATCH = 16


@dataclass(frozen=True, eq=False)
class Piece:
    """ids: (tokens,) int64. words: which of them are no special ones. hidden: some of these."""

    ids: Tensor
    words: Tensor
    hidden: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class MaskedLanguageModeling(Documents):
    """A `Task` for encoders that fill in hidden tokens: pseudo-perplexity.

    Parameters
    ----------
    data : str
        The name of the data.
    tokenizer : Any
        transformers', fast, with a mask token.
    texts : mapping of str to sequence of str
        Documents by split. Of validation 256 pieces, evenly spread, are scored.
    context : int
        Tokens that the model reads at once, special ones included.
    notes : mapping of str to str, optional
        How the data was read; every score carries them.

    known : int, optional
        How many token ids the model has; one beyond is refused where a text holds it.

    Raises
    ------
    DataError
        If a split has no text, the context is under 4, or the tokenizer cannot hide a token.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> fm.MaskedLanguageModeling.metric
    'pseudo-perplexity'
    """

    data: str
    tokenizer: Tokenizer
    texts: Mapping[Split, Sequence[str]]
    context: int
    notes: Mapping[str, str] = field(default_factory=dict)
    known: int | None = None
    _pieces: dict[Split, list[Piece]] = field(default_factory=dict, repr=False)

    kind = "masked-language-modeling"
    metric = "pseudo-perplexity"
    examples = "pieces"
    unit = "documents"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tokenizer.is_fast or self.tokenizer.mask_token_id is None:
            raise DataError(
                f"The tokenizer of {self.data} ({type(self.tokenizer).__name__}) has no mask token "
                "or is a slow one; a fast one with a mask token was expected. Put the model's own "
                "tokenizer.json beside the weights."
            )

    def size(self, split: Split) -> int:
        """Pieces that a split is scored by."""
        return len(self.scored(split))

    def pieces(self, split: Split) -> list[Piece]:
        """All pieces of a split, in the order of its documents; encoded once."""
        if split not in self._pieces:
            found = [piece for text in self.texts[split] for piece in self._encode(text)]
            if not found:
                raise DataError(f"The {split} split of {self.data} has no token to hide.")
            self._pieces[split] = found
        return self._pieces[split]

    def scored(self, split: Split) -> list[Piece]:
        """The pieces that `evaluate` scores: QUICK_PIECES of validation, else all."""
        pieces = self.pieces(split)
        if split != "validation" or len(pieces) <= QUICK_PIECES:
            return pieces
        chosen = np.linspace(0, len(pieces) - 1, QUICK_PIECES).round().astype(int)
        return [pieces[index] for index in chosen]

    def calibration(self, seed: int, batch_size: int = _PIECES_A_BATCH) -> Iterator[Batch]:
        """The training split once, in an order drawn from `seed`, tokens hidden as in scoring.

        Documents are encoded when their turn comes, so never all of a large split at once.
        """
        for pieces in batches(self._drawn(seed), batch_size):
            yield self._batch(pieces)

    def training(self, seed: int, batch_size: int) -> Iterator[Batch]:
        """Full batches of the training split, without end; each time other tokens are hidden."""
        generator = torch.Generator().manual_seed(seed)
        rounds = (self._drawn(seed + 1009 * number) for number in count())
        for pieces in batches(chain.from_iterable(rounds), batch_size):
            hidden = [_hide(piece.ids, piece.words, generator) for piece in pieces]
            yield replace(self._batch(hidden), targets=_targets(hidden))

    def loss(self, output: object, batch: Batch) -> Tensor:
        """Mean cross entropy, in nats a hidden token."""
        assert batch.targets is not None
        return cross_entropy(logits_in(output), batch.targets)

    def inputs(self, split: Split) -> Iterator[Batch]:
        """The pieces that `evaluate` scores."""
        for pieces in self._side_by_side(self.scored(split)):
            yield self._batch(pieces)

    def evaluate(self, model: nn.Module, split: Split, report: Report = silent) -> Evaluation:
        """Pseudo-perplexity and loss (nats per hidden token) of `model` on a split.

        Raises `DataError` if it cannot run on these tokens or returns logits that are not finite.
        """
        pieces = self.scored(split)
        losses: list[float] = []
        n_hidden: list[int] = []
        predictions: list[Any] = []
        with eval_mode(model), torch.inference_mode():
            for chosen in self._side_by_side(pieces):
                logits = logits_of(model, self._batch(chosen), self.data)
                targets = _targets(chosen)
                nats = token_losses(logits, targets)
                for row, piece in enumerate(chosen):
                    hidden = targets[row] != IGNORED
                    losses.append(float(nats[row].sum()))
                    n_hidden.append(int(piece.hidden.sum()))
                    predictions.append(logits[row][hidden].argmax(-1).int().numpy())
                message = f"pieces of the {split} split scored"
                now = math.exp(min(sum(losses) / sum(n_hidden), 700))
                report(len(losses), len(pieces), message, {self.metric: now})
        measures = [
            Measure.exponential(self.metric, losses, n_hidden),
            Measure.ratio(LOSS, losses, n_hidden),
        ]
        how = f"{sum(n_hidden):,} hidden tokens in {len(pieces):,} pieces, {SHARE:.0%} of each"
        return Evaluation.of(split, measures, predictions, {"scored": how, **self.notes})

    def _drawn(self, seed: int) -> Iterator[Piece]:
        texts, generator = self.texts["train"], torch.Generator().manual_seed(seed)
        for index in torch.randperm(len(texts), generator=generator).tolist():
            pieces = list(self._encode(texts[index]))
            for place in torch.randperm(len(pieces), generator=generator).tolist():
                yield pieces[place]

    def _encode(self, text: str) -> Iterator[Piece]:
        found = self._vocabulary.encoded(
            text,
            truncation=True,
            max_length=self.context,
            return_overflowing_tokens=True,
            return_special_tokens_mask=True,
            verbose=False,
        )
        for row, special in zip(found["input_ids"], found["special_tokens_mask"], strict=True):
            if not all(special):
                # 31 bits of it: a generator on a CPU hears 32.
                seed = int.from_bytes(sha256(str(row).encode()).digest()[:4], "big") >> 1
                ids = self._vocabulary.checked(torch.tensor(row))
                words = ~torch.tensor(special).bool()
                yield _hide(ids, words, torch.Generator().manual_seed(seed))

    def _side_by_side(self, pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
        for part in self._vocabulary.within_bounds(len(piece.ids) for piece in pieces):
            yield from batches(pieces[part], _PIECES_A_BATCH)

    def _batch(self, pieces: Sequence[Piece]) -> Batch:
        """Pieces side by side with their hidden tokens masked, the shorter ones padded."""
        shown = [
            piece.ids.masked_fill(piece.hidden, self.tokenizer.mask_token_id) for piece in pieces
        ]
        ids = padded(shown, self._vocabulary.padding)
        real = padded([torch.ones_like(piece.ids) for piece in pieces], 0)
        return Batch(kwargs={"input_ids": ids, "attention_mask": real}, masks={STACK: real.bool()})


def _hide(ids: Tensor, words: Tensor, generator: torch.Generator) -> Piece:
    """Hide a drawn SHARE of the words, one at least."""
    places = words.nonzero().flatten()
    n = max(1, round(SHARE * len(places)))
    chosen = places[torch.randperm(len(places), generator=generator)[:n]]
    hidden = torch.zeros_like(words)
    hidden[chosen] = True
    return Piece(ids, words, hidden)


def _targets(pieces: Sequence[Piece]) -> Tensor:
    """(pieces, tokens) int64: the token behind each mask, IGNORED elsewhere."""
    return padded([piece.ids.masked_fill(~piece.hidden, IGNORED) for piece in pieces], IGNORED)

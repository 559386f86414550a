"""Language modelling: documents in three splits, perplexity per token and bits per byte.

A split is one stream of tokens: its documents in order, an end-of-text token before each.
It is scored as transformers' guide to perplexity has it, by a window that moves by half its
length: every token but the first is scored once, with half a window or more before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from ffmerge_core.tasks.token_bytes import bytes_of
from ffmerge_core.tasks.windows import Stream, Window, moving, padded, side_by_side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tokenizer = Any  # transformers' PreTrainedTokenizerBase, which has no useful annotations

STACK = "decoder"
# Windows of the validation split that are scored, evenly spread: choices want an answer soon.
QUICK_WINDOWS = 256
_WINDOWS_A_BATCH = 8


@dataclass(frozen=True, eq=False, repr=False)
class LanguageModeling(Documents):
    """A `Task` for models that take token ids and return `.logits`: perplexity and bits per byte.

    Parameters
    ----------
    data : str
        The name of the data.
    tokenizer : Any
        transformers'; a fast one tells where each token's text is.
    texts : mapping of str to sequence of str
        Documents by split. Of validation 256 windows, evenly spread, are scored.
    context : int
        Tokens that the model sees at once.
    known : int, optional
        Token ids that the model knows: those below. A text with another is refused.
    notes : mapping of str to str, optional
        How the data was read; every score carries them.

    Raises
    ------
    DataError
        If a split has no text, or the context is under 4.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> texts = {"train": ["one", "two"], "validation": ["three"], "test": ["four"]}
    >>> fm.LanguageModeling("numbers", tokenizer=None, texts=texts, context=128)
    LanguageModeling(numbers: 2 + 1 + 1 documents, context 128)
    """

    data: str
    tokenizer: Tokenizer
    texts: Mapping[Split, Sequence[str]]
    context: int
    known: int | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    _streams: dict[Split, Stream] = field(default_factory=dict, repr=False)

    kind = "language-modeling"
    metric = "perplexity"
    examples = "windows"
    unit = "documents"

    def size(self, split: Split) -> int:
        """Windows that a split is scored by."""
        return len(self.windows(split))

    def calibration(self, seed: int, batch_size: int = _WINDOWS_A_BATCH) -> Iterator[Batch]:
        """Windows of the training split, one a document before a second of any, in a drawn order.

        Documents are encoded when their turn comes, so never all of a large split at once.
        """
        for windows in batches(self._training_windows(seed), batch_size):
            for part in self._vocabulary.within_bounds(map(len, windows)):
                yield self._batch(windows[part])

    def training(self, seed: int, batch_size: int) -> Iterator[Batch]:
        """Full batches of windows of the training split, without end; its first token is given."""
        rounds = (self._training_windows(seed + 1009 * number) for number in count())
        for windows in batches(chain.from_iterable(rounds), batch_size):
            batch = self._batch(windows)
            ids, real = batch.kwargs["input_ids"], batch.masks[STACK]
            targets = ids.masked_fill(~real, IGNORED).roll(-1, 1)
            targets[:, -1] = IGNORED
            yield replace(batch, targets=targets)

    def loss(self, output: object, batch: Batch) -> Tensor:
        """Mean cross entropy, in nats a token."""
        assert batch.targets is not None
        return cross_entropy(logits_in(output), batch.targets)

    def inputs(self, split: Split) -> Iterator[Batch]:
        """The windows that `evaluate` scores."""
        ids = self.stream(split).ids
        for windows in self._side_by_side(self.windows(split)):
            yield self._batch([ids[window.start : window.stop] for window in windows])

    def evaluate(self, model: nn.Module, split: Split, report: Report = silent) -> Evaluation:
        """Perplexity, bits per byte and loss (nats per token) of `model` on a split.

        An example is a window; of the validation split QUICK_WINDOWS, evenly spread, are
        scored, of the test split all. Raises `DataError` if it cannot run on these tokens or
        returns logits that are not finite.
        """
        stream, windows = self.stream(split), self.windows(split)
        losses: list[float] = []
        predictions: list[NDArray[np.int32]] = []
        with eval_mode(model):
            for batch in self._side_by_side(windows):
                for window, row, predicted in self._scored(model, stream.ids, batch):
                    losses.append(float(row[-window.n_scored :].sum()))
                    predictions.append(predicted[-window.n_scored :].int().numpy())
                seen = sum(window.n_scored for window in windows[: len(losses)])
                now = math.exp(min(sum(losses) / seen, 700))
                message = f"windows of the {split} split scored"
                report(len(losses), len(windows), message, {self.metric: now})
        n_tokens = [window.n_scored for window in windows]
        n_bytes = [
            stream.n_bytes[window.stop + 1 - window.n_scored : window.stop + 1].sum()
            for window in windows
        ]
        measures = [
            Measure.exponential(self.metric, losses, n_tokens),
            Measure.ratio(LOSS, losses, n_tokens),
            Measure.ratio("bits per byte", np.array(losses) / math.log(2), n_bytes),
        ]
        return Evaluation.of(split, measures, predictions, self._how(windows, n_bytes))

    def continue_text(self, model: nn.Module, prompt: str, max_new_tokens: int = 60) -> str:
        """What the model writes after `prompt` (of a long one, its end), greedily; that only.

        Raises `DataError` if it cannot run on these tokens.
        """
        room = self.context - max_new_tokens
        if room < 1:
            raise DataError(f"The model sees {self.context} tokens; ask for fewer new ones.")
        given = self._encode(prompt).ids[-room:].unsqueeze(0)
        generating: Any = model
        with eval_mode(model), torch.inference_mode():
            try:
                written = generating.generate(
                    input_ids=given,
                    attention_mask=torch.ones_like(given),
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    num_beams=1,
                    use_cache=True,
                    pad_token_id=self._vocabulary.padding,
                )
            except (IndexError, RuntimeError, ValueError) as error:
                raise DataError(
                    f"The model could not continue this text: {error} Use its own tokenizer."
                ) from error
        return self._vocabulary.decoded([written[0, given.shape[1] :]])[0]

    def stream(self, split: Split) -> Stream:
        """A split's tokens; encoded once."""
        if split not in self._streams:
            parts = [self._encode(text) for text in self.texts[split] if text]
            self._streams[split] = Stream(
                torch.cat([part.ids for part in parts]),
                np.concatenate([part.n_bytes for part in parts]),
            )
        return self._streams[split]

    def windows(self, split: Split) -> list[Window]:
        """The windows of a split that are scored."""
        last = len(self.stream(split).ids) - 1  # the last token is predicted only
        if last < 1:
            raise DataError(f"The {split} split of {self.data} has one token; 2 are needed.")
        windows = moving(last, self.context)
        if split == "validation" and len(windows) > QUICK_WINDOWS:
            chosen = np.linspace(0, len(windows) - 1, QUICK_WINDOWS).round().astype(int)
            return [windows[index] for index in chosen]
        return windows

    def _side_by_side(self, windows: Sequence[Window]) -> Iterator[list[Window]]:
        for batch in side_by_side(windows):
            lengths = (window.stop - window.start for window in batch)
            for part in self._vocabulary.within_bounds(lengths):
                yield batch[part]

    def _encode(self, text: str) -> Stream:
        """One document, the separator first."""
        fast = self.tokenizer.is_fast
        # verbose: a document may well be longer than the context; it is cut into windows.
        found = self._vocabulary.encoded(
            text, add_special_tokens=False, return_offsets_mapping=fast, verbose=False
        )
        ids = found["input_ids"]
        n_bytes = bytes_of(text, len(ids), found.get("offset_mapping"))
        if (separator := self._vocabulary.separator) is not None:
            ids, n_bytes = [separator, *ids], np.concatenate([[0.0], n_bytes])
        return Stream(self._vocabulary.checked(torch.tensor(ids, dtype=torch.int64)), n_bytes)

    def _training_windows(self, seed: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        texts = self.texts["train"]
        left: dict[int, list[Tensor]] = {}
        drawn = torch.randperm(len(texts), generator=generator).tolist()
        waiting = [index for index in drawn if texts[index]]
        while waiting:
            for index in waiting:
                if index not in left:
                    windows = torch.split(self._encode(texts[index]).ids, self.context)
                    order = torch.randperm(len(windows), generator=generator).tolist()
                    left[index] = [windows[place] for place in order]
                if left[index]:
                    yield left[index].pop()
            waiting = [index for index in waiting if left[index]]

    def _batch(self, windows: Sequence[Tensor]) -> Batch:
        """Windows side by side, the shorter ones padded at their end."""
        ids = padded(list(windows), self._vocabulary.padding)
        lengths = torch.tensor([len(window) for window in windows])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        return Batch(
            kwargs={"input_ids": ids, "attention_mask": mask.long(), "use_cache": False},
            masks={STACK: mask},
        )

    def _scored(
        self, model: nn.Module, ids: Tensor, windows: Sequence[Window]
    ) -> Iterator[tuple[Window, Tensor, Tensor]]:
        """Each window with its losses and its predictions, (tokens,) both."""
        batch = self._batch([ids[window.start : window.stop] for window in windows])
        following = [ids[window.start + 1 : window.stop + 1] for window in windows]
        targets = padded(following, IGNORED)
        with torch.inference_mode():
            logits = logits_of(model, batch, self.data)
            if int(targets.max()) >= logits.shape[-1]:
                raise DataError(
                    f"The tokenizer makes token {int(targets.max())}, but the model knows "
                    f"{logits.shape[-1]} tokens. Take the tokenizer that belongs to the model."
                )
            scored = zip(windows, token_losses(logits, targets), logits.argmax(-1), strict=True)
            for window, losses, predicted in scored:
                length = window.stop - window.start
                yield window, losses[:length], predicted[:length]

    def _how(self, windows: Sequence[Window], n_bytes: Sequence[float]) -> dict[str, str]:
        tokens, size = sum(window.n_scored for window in windows), sum(n_bytes)
        read = f"{tokens:,} tokens of {size:,.0f} bytes in {len(windows):,} windows of"
        how = f"{read} {self.context} tokens moved by {self.context // 2}"
        return {"scored": how, **self.notes}

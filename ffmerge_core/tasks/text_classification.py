"""Text classification: labelled texts in three splits, and accuracy as the metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ffmerge_core import showing
from ffmerge_core.errors import DataError
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.batch import Batch, Split, batches, endless, eval_mode
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.measures import LOSS, Measure
from ffmerge_core.tasks.outputs import cross_entropy, logits_in, logits_of
from ffmerge_core.tasks.vocabulary import Vocabulary
from ffmerge_core.tasks.windows import padded

if TYPE_CHECKING:
    Tokenizer = Any  # transformers' PreTrainedTokenizerBase, which has no useful annotations

STACK = "encoder"
_TEXTS_A_BATCH = 32


@dataclass(frozen=True, eq=False)
class TextClassification:
    """A `Task` for models that read a text and tell classes apart: accuracy.

    Parameters
    ----------
    data : str
        The name of the data.
    tokenizer : Any
        transformers'.
    classes : tuple of str
        Their names, in the order of the model's outputs.
    examples_of : mapping of str to sequence of (int, str)
        By split, the number of a text's class and the text.
    longest : int, default 512
        Tokens of a text; what is beyond is cut.
    notes : mapping of str to str, optional
        How the data was read; every score carries them.
    known : int, optional
        How many token ids the model has; one beyond is refused where a text holds it.

    Raises
    ------
    DataError
        If a split has no text, or a class that has no name.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> texts = [(0, "dull"), (1, "a delight")]
    >>> splits = {"train": texts, "validation": texts, "test": texts[:1]}
    >>> fm.TextClassification("reviews", None, ("bad", "good"), splits)
    TextClassification(reviews: 2 classes, 2 + 2 + 1 texts)
    """

    data: str
    tokenizer: Tokenizer
    classes: tuple[str, ...]
    examples_of: Mapping[Split, Sequence[tuple[int, str]]]
    longest: int = 512
    notes: Mapping[str, str] = field(default_factory=dict)
    known: int | None = None

    kind = "text-classification"
    metric = "accuracy"
    examples = "texts"
    unit = "texts"

    def __post_init__(self) -> None:
        for split in get_args(Split):
            if not self.examples_of.get(split):
                raise DataError(f"The {split} split of {self.data} has no text.")
            highest = max(label for label, _ in self.examples_of[split])
            if highest >= len(self.classes):
                raise DataError(
                    f"The {split} split has the label {highest}, but there are only "
                    f"{len(self.classes)} classes, numbered from 0."
                )

    def __repr__(self) -> str:
        sizes = " + ".join(f"{self.size(split):,}" for split in get_args(Split))
        return showing.line(self, f"{self.data}: {len(self.classes):,} classes, {sizes} texts")

    @cached_property
    def revision(self) -> str:
        """SHA-256 of every text with its class, split by split."""
        digest = sha256(f"{self.classes}".encode())
        for split in get_args(Split):
            for label, text in self.examples_of[split]:
                digest.update(f"{split} {label} {sha256(text.encode()).hexdigest()}\n".encode())
        return digest.hexdigest()

    def size(self, split: Split) -> int:
        """Texts in a split."""
        return len(self.examples_of[split])

    def count(self, split: Split) -> int:
        """Texts in a split."""
        return len(self.examples_of[split])

    def calibration(self, seed: int, batch_size: int = _TEXTS_A_BATCH) -> Iterator[Batch]:
        """The training split once, in an order drawn from `seed`, a batch at a time."""
        train = self.examples_of["train"]
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).tolist()
        for chosen in batches(order, batch_size):
            yield self._batch([train[index][1] for index in chosen])

    def training(self, seed: int, batch_size: int) -> Iterator[Batch]:
        """Full batches of the training split with their classes, without end."""
        train = self.examples_of["train"]
        for chosen in batches(endless(len(train), seed), batch_size):
            labels = torch.tensor([train[index][0] for index in chosen])
            yield replace(self._batch([train[index][1] for index in chosen]), targets=labels)

    def loss(self, output: object, batch: Batch) -> Tensor:
        """Mean cross entropy, in nats a text."""
        assert batch.targets is not None
        return cross_entropy(logits_in(output), batch.targets)

    def inputs(self, split: Split) -> Iterator[Batch]:
        """Every text of a split, a batch at a time."""
        for chosen in batches(self.examples_of[split], _TEXTS_A_BATCH):
            yield self._batch([text for _, text in chosen])

    def evaluate(self, model: nn.Module, split: Split, report: Report = silent) -> Evaluation:
        """Accuracy and loss (nats per text) of `model` on every text of the split.

        Raises `DataError` if it cannot run on these texts, tells another number of classes apart,
        or returns logits that are not finite.
        """
        labels = torch.tensor([label for label, _ in self.examples_of[split]])
        losses: list[Tensor] = []
        predicted: list[Tensor] = []
        seen = 0
        with eval_mode(model), torch.inference_mode():
            for batch in self.inputs(split):
                logits = logits_of(model, batch, self.data).double()
                n = batch.kwargs["input_ids"].shape[0]
                if logits.shape != (n, len(self.classes)):
                    raise DataError(
                        f"The model returned logits of shape {tuple(logits.shape)} for {n} texts "
                        f"of {len(self.classes)} classes; {(n, len(self.classes))} was expected. "
                        "Take data with the model's own classes."
                    )
                target = labels[seen : seen + n]
                losses.append(functional.cross_entropy(logits, target, reduction="none"))
                predicted.append(logits.argmax(1))
                seen += n
                right = int((torch.cat(predicted) == labels[:seen]).sum())
                message = f"texts of the {split} split classified"
                report(seen, len(labels), message, {self.metric: right / seen})
        choices = torch.cat(predicted)
        return Evaluation.of(
            split,
            [
                Measure.ratio(self.metric, (choices == labels).numpy()),
                Measure.ratio(LOSS, torch.cat(losses).numpy()),
            ],
            choices.tolist(),
            self.notes,
        )

    def _batch(self, texts: Sequence[str]) -> Batch:
        vocabulary = Vocabulary(self.tokenizer, self.known, self.data)
        found = vocabulary.encoded(list(texts), truncation=True, max_length=self.longest)
        rows = [vocabulary.checked(torch.tensor(ids)) for ids in found["input_ids"]]
        ids = padded(rows, vocabulary.padding)
        real = padded([torch.ones_like(row) for row in rows], 0)
        return Batch(kwargs={"input_ids": ids, "attention_mask": real}, masks={STACK: real.bool()})

"""Translation: sentence pairs in three splits; BLEU and chrF by sacrebleu, and the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ffmerge_core import showing
from ffmerge_core.errors import DataError
from ffmerge_core.extras import require
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.batch import IGNORED, Batch, Split, batches, endless, eval_mode
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.measures import LOSS, Measure
from ffmerge_core.tasks.outputs import cross_entropy, logits_in, logits_of

if TYPE_CHECKING:
    from ffmerge_core.tasks.measures import Floats

    Tokenizer = Any  # transformers' PreTrainedTokenizerBase, which has no useful annotations

Pair = tuple[str, str]

# Pairs of the validation split that are scored: choices want an answer soon.
QUICK_PAIRS = 200
_PAIRS_A_BATCH = 50


@dataclass(frozen=True, eq=False)
class Translation:
    """A `Task` for encoder-decoder models of transformers: BLEU and chrF by sacrebleu.

    Parameters
    ----------
    data : str
        The name of the data.
    tokenizer : Any
        transformers'.
    pairs : mapping of str to sequence of (str, str)
        (source, reference) sentences by split. Of validation the first 200 are scored.
    longest : int, default 192
        Tokens of a sentence; what is beyond is cut.
    digest : str, optional
        SHA-256 of the data, where that is known without reading all of it.

    Raises
    ------
    DataError
        If a split has no pair.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> pairs = [("on 3 May", "le 3 mai"), ("on 4 May", "le 4 mai")]
    >>> splits = {"train": pairs, "validation": pairs, "test": pairs[:1]}
    >>> fm.Translation("dates", tokenizer=None, pairs=splits)
    Translation(dates: 2 + 2 + 1 sentence pairs)
    """

    data: str
    tokenizer: Tokenizer
    pairs: Mapping[Split, Sequence[Pair]]
    longest: int = 192
    digest: str | None = None

    kind = "translation"
    metric = "BLEU"
    examples = "sentences"
    unit = "sentence pairs"

    def __post_init__(self) -> None:
        for split in get_args(Split):
            if not self.pairs.get(split):
                raise DataError(f"The {split} split of {self.data} has no sentence pair.")

    def __repr__(self) -> str:
        sizes = " + ".join(f"{len(self.pairs[split]):,}" for split in get_args(Split))
        return showing.line(self, f"{self.data}: {sizes} sentence pairs")

    @cached_property
    def revision(self) -> str:
        """SHA-256 of every pair, split by split."""
        if self.digest is not None:
            return self.digest
        digest = sha256()
        for split in get_args(Split):
            for source, reference in self.pairs[split]:
                digest.update(f"{split}\t{source}\t{reference}\n".encode())
        return digest.hexdigest()

    def size(self, split: Split) -> int:
        """Sentence pairs that a split is scored by."""
        return len(self.scored(split))

    def count(self, split: Split) -> int:
        """Sentence pairs in a split."""
        return len(self.pairs[split])

    def scored(self, split: Split) -> Sequence[Pair]:
        """The pairs that `evaluate` scores: QUICK_PAIRS of validation, else all."""
        return self.pairs[split][: QUICK_PAIRS if split == "validation" else None]

    def calibration(self, seed: int, batch_size: int = 64) -> Iterator[Batch]:
        """The training split once, in an order drawn from `seed`, a batch at a time."""
        pairs = self.pairs["train"]
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed)).tolist()
        for chosen in batches(order, batch_size):
            yield self._batch([pairs[index] for index in chosen])

    def training(self, seed: int, batch_size: int) -> Iterator[Batch]:
        """Full batches of the training split with their references, without end."""
        pairs = self.pairs["train"]
        for chosen in batches(endless(len(pairs), seed), batch_size):
            batch = self._batch([pairs[index] for index in chosen])
            yield replace(batch, targets=batch.kwargs["labels"])

    def loss(self, output: object, batch: Batch) -> Tensor:
        """Mean cross entropy, in nats a token of the references."""
        assert batch.targets is not None
        return cross_entropy(logits_in(output), batch.targets)

    def inputs(self, split: Split) -> Iterator[Batch]:
        """The pairs that `evaluate` scores; the references are the decoder's input."""
        for pairs in batches(self.scored(split), _PAIRS_A_BATCH):
            yield self._batch(pairs)

    def evaluate(self, model: nn.Module, split: Split, report: Report = silent) -> Evaluation:
        """BLEU and chrF of greedy translations, and the loss of the references (nats per token).

        Raises `DataError` if the model cannot run on these sentences or returns logits that
        are not finite.
        """
        require("sacrebleu", "Scoring translations")
        pairs = self.scored(split)
        said = self.translate(model, [source for source, _ in pairs], report)
        losses: list[float] = []
        n_tokens: list[int] = []
        with eval_mode(model), torch.inference_mode():
            for batch in self.inputs(split):
                loss, counted = self._loss(model, batch)
                losses += loss.sum(1).tolist()
                n_tokens += counted.sum(1).tolist()
        measures, notes = _scores(said, [reference for _, reference in pairs])
        measures.insert(1, Measure.ratio(LOSS, losses, n_tokens))
        return Evaluation.of(split, measures, said, {"decoding": "greedy", **notes})

    def translate(
        self, model: nn.Module, sentences: Sequence[str], report: Report = silent
    ) -> list[str]:
        """Greedy translations, in the order of the sentences."""
        # Sentences of like length go together: little padding, and few stragglers.
        order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
        said = [""] * len(sentences)
        done = 0
        with eval_mode(model), torch.inference_mode():
            for chosen in batches(order, _PAIRS_A_BATCH):
                texts = self._translated(model, [sentences[index] for index in chosen])
                for index, text in zip(chosen, texts, strict=True):
                    said[index] = text
                done += len(chosen)
                report(done, len(sentences), "sentences translated")
        return said

    def _translated(self, model: nn.Module, sentences: Sequence[str]) -> list[str]:
        source = self._encoded(sentences)
        # A damaged model need not end a sentence: what is too long is cut, each by its own
        # length, so that it does not matter which sentences go together.
        limits = (2 * source["attention_mask"].sum(1) + 16).clamp(max=self.longest)
        generating: Any = model
        try:
            ids = generating.generate(
                **source,
                max_new_tokens=int(limits.max()),
                num_beams=1,
                do_sample=False,
            )
        except (IndexError, RuntimeError, ValueError) as error:
            raise DataError(
                f"The model could not translate sentences of {self.data}: {error} Take the "
                "tokenizer that belongs to the model."
            ) from error
        # A row begins with the token that the decoder starts from.
        kept = [row[:limit] for row, limit in zip(ids, limits.tolist(), strict=True)]
        texts = self.tokenizer.batch_decode(kept, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _encoded(self, sentences: Sequence[str], **role: Any) -> Mapping[str, Tensor]:
        given: dict[str, Any] = role or {"text": list(sentences)}
        found = self.tokenizer(
            **given,
            padding=True,
            truncation=True,
            max_length=self.longest,
            return_tensors="pt",
        )
        return {name: found[name] for name in ("input_ids", "attention_mask")}

    def _batch(self, pairs: Sequence[Pair]) -> Batch:
        source = self._encoded([source for source, _ in pairs])
        # An OPUS model's tokenizer has another vocabulary for the target language.
        target = self._encoded([], text_target=[reference for _, reference in pairs])
        real = target["attention_mask"].bool()
        labels = target["input_ids"].masked_fill(~real, IGNORED)
        # From the labels the model makes the decoder's input: a start token, then all but the
        # last. Position j thus reads what stands before label j, and is real where that is.
        return Batch(
            kwargs={**source, "labels": labels},
            masks={"encoder": source["attention_mask"].bool(), "decoder": real},
        )

    def _loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Nats of each label and whether it counts, (pairs, tokens) both."""
        labels: Tensor = batch.kwargs["labels"]
        logits = logits_of(model, batch, self.data).double()
        losses = functional.cross_entropy(
            logits.transpose(1, 2), labels, reduction="none", ignore_index=IGNORED
        )
        return losses, labels != IGNORED


def _scores(said: Sequence[str], references: Sequence[str]) -> tuple[list[Measure], dict[str, str]]:
    """BLEU (Papineni et al., 2002) and chrF (Popović, 2015) by sacrebleu, and their signatures."""
    import sacrebleu

    measures, notes = [], {}
    for name, metric in (("BLEU", sacrebleu.BLEU()), ("chrF", sacrebleu.CHRF())):
        # Both are functions of sums over sentences, which sacrebleu's own resampling uses too.
        statistics = metric._extract_corpus_statistics(list(said), [list(references)])
        rows = np.array(statistics, dtype=np.float64)
        measures.append(Measure(name, rows, _formula(metric)))
        notes[name] = str(metric.get_signature())
    return measures, notes


def _formula(metric: Any) -> Callable[[Floats], Floats]:
    def score(sums: Floats) -> Floats:
        rows = sums.reshape(-1, sums.shape[-1])
        values = [metric._compute_score_from_stats(row.astype(int).tolist()).score for row in rows]
        return np.array(values).reshape(sums.shape[:-1])

    return score

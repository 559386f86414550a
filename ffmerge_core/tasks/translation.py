"""Translation: sentence pairs in three splits; BLEU and chrF by sacrebleu, and the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from ffmerge_core import showing
from ffmerge_core.errors import DataError
from ffmerge_core.extras import require
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks import bleu
from ffmerge_core.tasks.batch import IGNORED, Batch, Split, batches, endless, eval_mode
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.measures import LOSS, Measure
from ffmerge_core.tasks.outputs import cross_entropy, logits_in, logits_of, token_losses
from ffmerge_core.tasks.vocabulary import Vocabulary

if TYPE_CHECKING:
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
    tokenize : str, optional
        How BLEU splits sentences into words, as sacrebleu names it: "13a", "zh", "char", ….
        By default what the target language asks for.
    language : str, optional
        The code of the target language, such as "zh"; else the tokenizer or the data tells.
    told_by : str, default "the task"
        Who says what the language is.
    known, known_target : int, optional
        Token ids of sources and of references that the model knows: those below. A text with
        another is refused.
    notes : mapping of str to str, optional
        How the data was read; every score carries them.

    Raises
    ------
    DataError
        If a split has no pair.
    PlanError, MissingPackageError
        If `tokenize` is not one of sacrebleu's, or needs a package that is absent.

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
    tokenize: str | None = None
    language: str | None = None
    told_by: str = "the task"
    known: int | None = None
    known_target: int | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    kind = "translation"
    metric = "BLEU"
    examples = "sentences"
    unit = "sentence pairs"

    def __post_init__(self) -> None:
        for split in get_args(Split):
            if not self.pairs.get(split):
                raise DataError(f"The {split} split of {self.data} has no sentence pair.")
        if self.tokenize is not None:
            bleu.check_installed(self.tokenize)

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

    @cached_property
    def bleu_tokenizer(self) -> bleu.Choice:
        """How BLEU splits sentences, the same on every split, and who chose it."""
        told = bleu.Told(self.language, self.told_by) if self.language else None
        told = told or bleu.said_by_tokenizer(self.tokenizer)
        return bleu.choose(self.tokenize, told, self.scored("validation"))

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
            yield from self._within_bounds([pairs[index] for index in chosen])

    def training(self, seed: int, batch_size: int) -> Iterator[Batch]:
        """Full batches of the training split with their references, without end."""
        pairs = self.pairs["train"]
        for chosen in batches(endless(len(pairs), seed), batch_size):
            batch = self._batch([pairs[index] for index in chosen])
            yield replace(batch, targets=batch.reference)

    def loss(self, output: object, batch: Batch) -> Tensor:
        """Mean cross entropy, in nats a token of the references."""
        assert batch.targets is not None
        return cross_entropy(logits_in(output), batch.targets)

    def inputs(self, split: Split) -> Iterator[Batch]:
        """The pairs that `evaluate` scores; the references are the decoder's input."""
        for pairs in batches(self.scored(split), _PAIRS_A_BATCH):
            yield from self._within_bounds(pairs)

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
                nats, counted = self._losses(model, batch)
                losses += nats.sum(1).tolist()
                n_tokens += counted.sum(1).tolist()
        references = [reference for _, reference in pairs]
        measures, notes = _scores(said, references, self.bleu_tokenizer)
        measures.insert(1, Measure.ratio(LOSS, losses, n_tokens))
        return Evaluation.of(split, measures, said, {"decoding": "greedy", **notes, **self.notes})

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
        source = self._encoded(self.known, text=list(sentences))
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
        texts = Vocabulary(self.tokenizer, self.known_target, self.data).decoded(kept)
        return [text.strip() for text in texts]

    def _encoded(self, known: int | None, **role: Any) -> Mapping[str, Tensor]:
        vocabulary = Vocabulary(self.tokenizer, known, self.data, "text_target" in role)
        found = vocabulary.encoded(
            **role,
            padding=True,
            truncation=True,
            max_length=self.longest,
            return_tensors="pt",
        )
        ids, mask = found["input_ids"], found["attention_mask"]
        return {"input_ids": vocabulary.checked(ids, mask.bool()), "attention_mask": mask}

    def _within_bounds(self, pairs: Sequence[Pair]) -> Iterator[Batch]:
        """One batch, or several where the logits of one would take too much memory."""
        batch = self._batch(pairs)
        lengths = batch.masks["decoder"].sum(1).tolist()
        vocabulary = Vocabulary(self.tokenizer, self.known_target, self.data)
        for part in vocabulary.within_bounds(lengths):
            yield batch if len(pairs[part]) == len(pairs) else self._batch(pairs[part])

    def _batch(self, pairs: Sequence[Pair]) -> Batch:
        source = self._encoded(self.known, text=[source for source, _ in pairs])
        # An OPUS model's tokenizer has another vocabulary for the target language.
        given = [reference for _, reference in pairs]
        target = self._encoded(self.known_target, text_target=given)
        real = target["attention_mask"].bool()
        # Of the reference the model makes the decoder's input: a start token, then all but the
        # last. Position j thus reads what stands before token j, and is real where that is.
        return Batch(
            kwargs={**source, "use_cache": False},
            masks={"encoder": source["attention_mask"].bool(), "decoder": real},
            reference=target["input_ids"].masked_fill(~real, IGNORED),
        )

    def _losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Nats of each token of the references and whether it counts, (pairs, tokens) both."""
        assert batch.reference is not None
        logits = logits_of(model, batch, self.data)
        losses = token_losses(logits, batch.reference, torch.float64)
        return losses, batch.reference != IGNORED


def _scores(
    said: Sequence[str], references: Sequence[str], tokenizer: bleu.Choice | None = None
) -> tuple[list[Measure], dict[str, str]]:
    """BLEU and chrF of translations; without a tokenizer, by what the references show."""
    pairs = [("", reference) for reference in references]
    return bleu.scores(said, references, tokenizer or bleu.choose(None, None, pairs))

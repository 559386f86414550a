"""Fidelity: how near a model stays to the original, on any inputs, without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from ffmerge_core import showing
from ffmerge_core.errors import DataError
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.batch import Batch, Split, eval_mode
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.measures import LOSS, Measure
from ffmerge_core.tasks.outputs import compared, divergence, logits_in, logits_of, output_of
from ffmerge_core.tasks.task import Task, given


@dataclass(frozen=True, eq=False)
class Fidelity:
    """A `Task` that compares with the original model on another task's inputs, without labels.

    A model with logits is scored by "top-1 agreement": the share of positions where both put the
    same class or token first; its loss is KL(original ‖ model) in nats a position. An encoder
    without a head is scored by "cosine", that of both embeddings (the mean over real tokens, if
    there are tokens); its loss is one minus it.

    Parameters
    ----------
    inner : Task
        Whose inputs are read.
    original : nn.Module
        What a model is compared with.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> near = fm.Fidelity(model.task, model.model)
    >>> near.metric
    'top-1 agreement'
    >>> fm.load("demo:vit-digits", fidelity=True).task.metric == near.metric
    True
    """

    inner: Task
    original: nn.Module

    kind = "fidelity"

    def __repr__(self) -> str:
        return showing.line(self, f"to a {type(self.original).__name__} on {self.data}")

    @property
    def data(self) -> str:
        return self.inner.data

    @property
    def revision(self) -> str:
        return self.inner.revision

    @property
    def examples(self) -> str:
        return self.inner.examples

    @property
    def notes(self) -> dict[str, str]:
        """How the inputs were read; of labels there is nothing to say."""
        inner: Mapping[str, str] = getattr(self.inner, "notes", {})
        return {name: note for name, note in inner.items() if name != "classes"}

    @property
    def unit(self) -> str:
        return given(self.inner)[1]

    @cached_property
    def metric(self) -> str:
        """What it is depends on what the original returns for a first batch."""
        with eval_mode(self.original), torch.inference_mode():
            output = output_of(self.original, next(self.inputs("validation")), self.data)
        return "cosine" if _is_embedding(self.original, output) else "top-1 agreement"

    def size(self, split: Split) -> int:
        return self.inner.size(split)

    def count(self, split: Split) -> int:
        """The inner task's."""
        return given(self.inner)[0][split]

    def calibration(self, seed: int, batch_size: int = 64) -> Iterator[Batch]:
        """The inner task's."""
        return self.inner.calibration(seed, batch_size)

    def inputs(self, split: Split) -> Iterator[Batch]:
        """The inner task's."""
        return self.inner.inputs(split)

    def training(self, seed: int, batch_size: int) -> Iterator[Batch]:
        """The inner task's; its targets are not looked at."""
        return self.inner.training(seed, batch_size)

    def loss(self, output: object, batch: Batch) -> Tensor:
        """Mean KL(original ‖ model) in nats a position, or mean one minus cosine."""
        here = batch.to(next(self.original.parameters()).device)
        with eval_mode(self.original), torch.no_grad():
            said = output_of(self.original, here, self.data)
        if self.metric == "cosine":
            after = _embeddings(output, batch)
            before = _embeddings(said, here).to(after.device)
            return 1 - functional.cosine_similarity(before, after).mean()
        after = logits_in(output)
        before = logits_in(said).to(after.device)
        return divergence(before, after, _real(batch, after))

    def evaluate(self, model: nn.Module, split: Split, report: Report = silent) -> Evaluation:
        """Score `model` against the original; the original itself scores 1 with loss 0.

        Raises `DataError` if either cannot run on these inputs.
        """
        compare = self._cosines if self.metric == "cosine" else self._divergences
        rows: list[Tensor] = []
        predictions: list[Tensor] = []
        with eval_mode(model), eval_mode(self.original), torch.inference_mode():
            for batch in self.inputs(split):
                statistics, predicted = compare(model, batch)
                rows.append(statistics)
                predictions += predicted
                seen = torch.cat(rows).sum(0)
                report(
                    len(predictions),
                    self.size(split),
                    f"{self.examples} of the {split} split compared",
                    {self.metric: float(seen[0] / seen[2])},
                )
        agreed, lost, weights = torch.cat(rows).numpy().T
        return Evaluation.of(
            split,
            [Measure.ratio(self.metric, agreed, weights), Measure.ratio(LOSS, lost, weights)],
            [predicted.numpy() for predicted in predictions],
            {"loss": "1 − cosine" if self.metric == "cosine" else "KL divergence, nats"}
            | self.notes,
        )

    def _loss_in_words(self) -> str:
        return "1 − cosine" if self.metric == "cosine" else "KL divergence, nats"

    def _divergences(self, model: nn.Module, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """(agreements, nats, positions) of each example, and its first choices."""
        before = logits_of(self.original, batch, self.data)
        # The original is scored once more beside every merge: to run it once is enough.
        same_model = model is self.original
        after = before if same_model else logits_of(model, batch, self.data)
        if before.shape != after.shape:
            raise DataError(
                f"The original returns logits of shape {tuple(before.shape)} and the model "
                f"{tuple(after.shape)}; fidelity compares models with one output."
            )
        nats, same, first = compared(before, after)
        if nats.ndim == 1:  # one decision an example
            nats, same, first = nats[:, None], same[:, None], first[:, None]
        real = _real(batch, after).reshape(same.shape)
        rows = [(same * real).sum(1), (nats * real).sum(1), real.sum(1)]
        predicted = [choice[mask] for choice, mask in zip(first, real, strict=True)]
        return torch.stack([row.double() for row in rows], 1), predicted

    def _cosines(self, model: nn.Module, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """(cosine, one minus it, 1) of each example; whether the cosine is above one half."""
        before, after = (
            _embeddings(output_of(each, batch, self.data), batch) for each in (self.original, model)
        )
        cosine = functional.cosine_similarity(before.double(), after.double()).clamp(-1, 1)
        return torch.stack([cosine, 1 - cosine, torch.ones_like(cosine)], 1), list(cosine > 0.5)


def _real(batch: Batch, logits: Tensor) -> Tensor:
    """Where there is something to compare: (batch,) or (batch, tokens) bool."""
    whole = torch.ones(logits.shape[:-1], dtype=torch.bool, device=logits.device)
    # An encoder that says something of each token has no other mask.
    masks = (batch.masks.get(stack) for stack in ("decoder", "encoder"))
    return next((mask for mask in masks if mask is not None and mask.shape == whole.shape), whole)


def _is_embedding(model: nn.Module, output: object) -> bool:
    if isinstance(output, Tensor):
        # timm: a model without a head says so by its number of classes.
        return getattr(model, "num_classes", None) == 0
    return not hasattr(output, "logits")


def _embeddings(output: object, batch: Batch) -> Tensor:
    """(examples, d_model)."""
    states = output if isinstance(output, Tensor) else getattr(output, "last_hidden_state", None)
    if not isinstance(states, Tensor):
        raise DataError(
            f"The model returned a {type(output).__name__} with neither logits nor a last hidden "
            "state, so there is nothing to compare."
        )
    if states.ndim == 2:
        return states
    mask = batch.masks.get("encoder")
    real = torch.ones_like(states[..., 0]) if mask is None else mask.to(states.dtype)
    return (states * real.unsqueeze(-1)).sum(1) / real.sum(1, keepdim=True)

"""What a model returned for a batch, checked, and what it loses by it.

Logits are the largest tensor of a model with a large vocabulary. So nothing here copies them
whole: losses are computed a few positions at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ffmerge_core.errors import DataError, FFMergeError
from ffmerge_core.tasks.batch import IGNORED, Batch

# Of the logits that are looked at together, as float32.
_CHUNK_BYTES = 8_000_000


def output_of(model: nn.Module, batch: Batch, data: str) -> object:
    """One forward pass. Raises `DataError`, in a sentence, if the model refuses the batch."""
    try:
        return batch.run(model)
    except FFMergeError:
        raise
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        # How torch, timm and transformers refuse an input of the wrong shape or vocabulary.
        shapes = ", ".join(
            f"{tuple(value.shape)}"
            for value in (*batch.args, *batch.kwargs.values())
            if isinstance(value, Tensor)
        )
        raise DataError(
            f"The model could not run on {data} (inputs of shape {shapes}): {error} Take data, or "
            "a tokenizer, that belongs to the model."
        ) from error


def logits_of(model: nn.Module, batch: Batch, data: str) -> Tensor:
    """Its logits, (batch, …, classes); `DataError` if there are none or they are not finite."""
    logits = logits_in(output_of(model, batch, data))
    # The extremes tell: NaN is carried into them, and `isfinite` would copy all logits.
    if not all(bool(each.isfinite()) for each in logits.aminmax()):
        raise DataError(
            "The model returned logits that are not finite numbers. Check its weights for NaN or "
            "infinity."
        )
    return logits


def logits_in(output: object) -> Tensor:
    """The logits of what a model returned, finite or not; `DataError` if there are none."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise DataError(
            f"The model returned a {type(output).__name__}; a tensor of logits or an object with "
            "`.logits` was expected."
        )
    if type(output).__name__ == "ElectraForPreTrainingOutput":
        # One number a token: how surely it was replaced, against 0.
        return torch.stack([torch.zeros_like(logits), logits], -1)
    return logits


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean nats of the targets that are not IGNORED; 0 if all are.

    logits: (batch, …, classes). targets: (batch, …) int64. Raises `DataError` for targets that
    the model does not know.
    """
    classes = logits.shape[-1]
    if logits.shape[:-1] != targets.shape or int(targets.max()) >= classes:
        raise DataError(
            f"The model returned logits of shape {tuple(logits.shape)} for targets of shape "
            f"{tuple(targets.shape)} up to {int(targets.max())}. Take data, or a tokenizer, that "
            "belongs to the model."
        )
    total = functional.cross_entropy(
        logits.float().reshape(-1, classes),
        targets.reshape(-1),
        ignore_index=IGNORED,
        reduction="sum",
    )
    return total / (targets != IGNORED).sum().clamp(min=1)


def token_losses(logits: Tensor, targets: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Nats of each target, float64 for sums of many; 0 where it is IGNORED. Without a gradient.

    logits: (batch, …, classes). targets: (batch, …) int64, all of them known. dtype: computed
    in; a model that is sure of a token loses less than float32 can tell from 0.
    """
    losses = torch.empty(targets.numel(), dtype=torch.float64, device=targets.device)
    rows, wanted = logits.flatten(0, -2), targets.flatten()
    for part in _parts(rows):
        # Written where it stays: a small tensor made after each large one would keep the memory
        # of that one from being used again.
        losses[part] = functional.cross_entropy(
            rows[part].to(dtype), wanted[part], reduction="none", ignore_index=IGNORED
        )
    return losses.view(targets.shape)


def compared(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nats of KL(before ‖ after), whether both choose the same, and what `after` chooses.

    before, after: logits (batch, …, classes). The three: (batch, …) float64, bool and int64.
    """
    shape = after.shape[:-1]
    before, after = before.flatten(0, -2), after.flatten(0, -2)
    nats = torch.empty(len(after), dtype=torch.float64, device=after.device)
    same = torch.empty_like(nats, dtype=torch.bool)
    chosen = torch.empty_like(nats, dtype=torch.int64)
    for part in _parts(after):
        first = before[part].float().log_softmax(-1)
        second = after[part].float().log_softmax(-1)
        chosen[part] = second.argmax(-1)
        same[part] = chosen[part] == first.argmax(-1)
        nats[part] = _divergences(first, second).double()
    return nats.view(shape), same.view(shape), chosen.view(shape)


def divergence(before: Tensor, after: Tensor, real: Tensor) -> Tensor:
    """Mean nats of KL(before ‖ after) where `real`.

    before, after: logits (batch, …, classes). real: (batch, …) bool.
    """
    both: Any = (before.flatten(0, -2), after.flatten(0, -2))  # torch does not annotate `split`
    nats = [
        # Probabilities are computed again for the gradient, and never kept of all positions.
        checkpoint(_divergences_of_logits, *each, use_reentrant=False, preserve_rng_state=False)
        for each in zip(*(logits.split(_rows(after)) for logits in both), strict=True)
    ]
    return torch.cat(nats).view(real.shape)[real].sum() / real.sum().clamp(min=1)


def _divergences_of_logits(before: Tensor, after: Tensor) -> Tensor:
    return _divergences(before.float().log_softmax(-1), after.float().log_softmax(-1))


def _divergences(before: Tensor, after: Tensor) -> Tensor:
    """Nats of KL(before ‖ after) a row; both are logarithms of probabilities."""
    return functional.kl_div(after, before, reduction="none", log_target=True).sum(-1)


def _parts(rows: Tensor) -> Iterator[slice]:
    """A few rows of logits at a time."""
    size = _rows(rows)
    for start in range(0, len(rows), size):
        yield slice(start, start + size)


def _rows(logits: Tensor) -> int:
    return max(1, _CHUNK_BYTES // (4 * logits.shape[-1]))

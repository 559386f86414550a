"""What a model returned for a batch, checked, and what it loses by it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ffmerge_core.errors import DataError, FFMergeError
from ffmerge_core.tasks.batch import IGNORED, Batch


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
    if not bool(logits.isfinite().all()):
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


def divergence(before: Tensor, after: Tensor, real: Tensor) -> Tensor:
    """Mean nats of KL(before ‖ after) where `real`.

    before, after: logits (batch, …, classes). real: (batch, …) bool.
    """
    nats = functional.kl_div(
        after.float().log_softmax(-1),
        before.float().log_softmax(-1),
        reduction="none",
        log_target=True,
    ).sum(-1)
    return nats[real].sum() / real.sum().clamp(min=1)

"""What a model returned for a batch, checked."""

from __future__ import annotations

from torch import Tensor, nn

from ffmerge_core.errors import DataError, FFMergeError
from ffmerge_core.tasks.task import Batch


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
    output = output_of(model, batch, data)
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise DataError(
            f"The model returned a {type(output).__name__}; a tensor of logits or an object with "
            "`.logits` was expected."
        )
    if not bool(logits.isfinite().all()):
        raise DataError(
            "The model returned logits that are not finite numbers. Check its weights for NaN or "
            "infinity."
        )
    return logits

"""Batches, splits and modes: what every task is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ffmerge_core import showing

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Split = Literal["train", "validation", "test"]
Item = TypeVar("Item")

# A target that no loss counts, as torch and transformers have it.
IGNORED = -100


@dataclass(frozen=True, eq=False)
class Batch:
    """One forward pass's inputs.

    Parameters
    ----------
    args, kwargs : tuple and mapping of Tensor
        What the module is called with.
    masks : mapping of str to Tensor
        By stack, (batch, tokens) bool, True where a token is real; a stack that is absent has no
        padding. Padding never enters a feature, a loss or a score.
    targets : Tensor, optional
        For training, (batch,) or (batch, tokens) int64: the class or token that the logits there
        should name; −100 where there is none.
    reference : Tensor, optional
        For an encoder-decoder model, (batch, tokens) int64: what its decoder reads, each token
        after those before it; −100 where there is none. The model makes its decoder's inputs of
        it, and no loss of its own.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> batch = next(iter(model.task.inputs("validation")))
    >>> batch
    Batch(args[0] 256×1×8×8)
    >>> batch.run(model.model).shape
    torch.Size([256, 10])
    """

    args: tuple[Tensor, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    targets: Tensor | None = None
    reference: Tensor | None = None

    def __repr__(self) -> str:
        given = {f"args[{at}]": value for at, value in enumerate(self.args)} | dict(self.kwargs)
        given |= {
            name: value
            for name in ("targets", "reference")
            if (value := getattr(self, name)) is not None
        }
        shapes = (
            f"{name} {'×'.join(map(str, value.shape)) if hasattr(value, 'shape') else value}"
            for name, value in given.items()
        )
        return showing.line(self, ", ".join(shapes))

    def run(self, model: nn.Module) -> Any:
        read = {} if self.reference is None else _decoder_inputs(model, self.reference)
        return model(*self.args, **self.kwargs, **read)

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""

        def moved(values: Mapping[str, Any]) -> dict[str, Any]:
            return {name: _to(value, device) for name, value in values.items()}

        return Batch(
            tuple(_to(value, device) for value in self.args),
            moved(self.kwargs),
            moved(self.masks),
            _to(self.targets, device),
            _to(self.reference, device),
        )


def _decoder_inputs(model: nn.Module, reference: Tensor) -> dict[str, Tensor]:
    """What the decoder reads of a reference: the model's first token, then all but the last."""
    shift: Any = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    first = getattr(getattr(model, "config", None), "decoder_start_token_id", None)
    if shift is not None:
        ids: Tensor = shift(labels=reference)
    elif isinstance(first, int):
        ids = reference.roll(1, 1)
        ids[:, 0] = first
    else:
        # A wrapper of the model: it makes them itself, and a loss that nobody asked for.
        return {"labels": reference}
    # Behind its end the library pads, perhaps with a token that the model does not know.
    ended = reference.roll(1, 1) == IGNORED
    ended[:, 0] = False
    return {"decoder_input_ids": ids.where(~ended, ids[:, :1])}


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last perhaps shorter."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def endless(n: int, seed: int) -> Iterator[int]:
    """0 to n − 1 in a drawn order, then in another, without end; nothing if n is 0."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    while n:
        yield from torch.randperm(n, generator=generator).tolist()


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every module is left in the mode it came in."""
    # Module by module, since a caller may keep some of them frozen in evaluation mode.
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if hasattr(value, "to") else value

"""What a model is for, as the rest of the package sees it.

Every task has three splits that never mix: "train" (calibration and recovery draw from
it), "validation" (every choice), "test" (reported results only).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from ffmerge_core.progress import Report, silent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ffmerge_core.tasks.evaluation import Evaluation

Split = Literal["train", "validation", "test"]
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Batch:
    """One forward pass's inputs.

    args, kwargs: what the module is called with.
    masks: per stack, (batch, tokens) bool, True where a token is real; a stack that is
        absent has no padding. Padding never enters a feature, a loss or a score.
    """

    args: tuple[Tensor, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)

    def run(self, model: nn.Module) -> Any:
        return model(*self.args, **self.kwargs)


class Task(Protocol):
    """A kind of problem with its data.

    kind: "image-classification", … data: the data's name. metric: "accuracy", …
    revision: SHA-256 of the data. examples: what they are, in the plural: "images".
    """

    @property
    def kind(self) -> str: ...
    @property
    def data(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def examples(self) -> str: ...

    def size(self, split: Split) -> int:
        """Examples that `evaluate` scores of a split."""

    def calibration(self, seed: int, batch_size: int = 64) -> Iterator[Batch]:
        """The training split once, in an order drawn from `seed`, a batch at a time."""

    def inputs(self, split: Split) -> Iterator[Batch]:
        """Every example that `evaluate` scores, without its label, a batch at a time."""

    def evaluate(self, model: nn.Module, split: Split, report: Report = silent) -> Evaluation:
        """Score `model` (left in the mode it came in) on every example of the split."""


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last perhaps shorter."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


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

"""What a model is for, as the rest of the package sees it.

Every task has three splits that never mix: "train" (calibration and recovery draw from
it), "validation" (every choice), "test" (reported results only).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ffmerge_core.progress import Report, silent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ffmerge_core.tasks.evaluation import Evaluation

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, eq=False)
class Batch:
    """One forward pass's inputs.

    args, kwargs: what the module is called with.
    masks: per stack, (batch, tokens) bool, True where a token is real; a stack that is
        absent has no padding. Padding never enters a feature, a loss or a score.
    """

    args: tuple[Tensor, ...]
    kwargs: Mapping[str, Tensor] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)

    def run(self, model: nn.Module) -> Any:
        return model(*self.args, **self.kwargs)


class Task(Protocol):
    """A kind of problem with its data.

    kind: "image-classification", … data: the data's name. metric: "accuracy", …
    """

    @property
    def kind(self) -> str: ...
    @property
    def data(self) -> str: ...
    @property
    def metric(self) -> str: ...

    def size(self, split: Split) -> int:
        """Examples in a split."""

    def calibration(self, seed: int, batch_size: int = 64) -> Iterator[Batch]:
        """The training split once, in an order drawn from `seed`, a batch at a time."""

    def evaluate(self, model: nn.Module, split: Split, report: Report = silent) -> Evaluation:
        """Score `model` (left in the mode it came in) on every example of the split."""

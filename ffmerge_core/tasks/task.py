"""What a model is for, as the rest of the package sees it.

Every task has three splits that never mix: "train" (calibration and recovery draw from
it), "validation" (every choice), "test" (reported results only).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, get_args

from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.batch import Batch, Split

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ffmerge_core.tasks.evaluation import Evaluation


class Task(Protocol):
    """A kind of problem with its data: what `load` takes as `task`.

    Three splits that never mix: "train" (calibration and recovery draw from it), "validation"
    (every choice), "test" (reported results only). Any object with these names will do; without
    `training` and `loss` a model can be merged and scored, but not recovered. It may say two
    things more, which `given` reads: unit, what the data came as, in the plural ("documents",
    where an example is a window of them), and count(split), how many of these.

    Attributes
    ----------
    kind : str
        "image-classification", …
    data : str
        The data's name.
    metric : str
        "accuracy", …
    revision : str
        SHA-256 of the data.
    examples : str
        What they are, in the plural: "images".

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> task = fm.load("demo:vit-digits").task
    >>> task.kind, task.metric, task.examples, task.size("validation")
    ('image-classification', 'accuracy', 'images', 359)
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

    def training(self, seed: int, batch_size: int) -> Iterator[Batch]:
        """Full batches of the training split with their targets, without end.

        All of it in an order drawn from `seed`, then in another.
        """

    def loss(self, output: object, batch: Batch) -> Tensor:
        """What training lowers: mean nats per real target, with a gradient.

        output: what the model returned for a batch of `training`.
        """


def given(task: Task) -> tuple[dict[Split, int], str]:
    """How many of what are in each split, as they came; else what it is scored on."""
    said: Any = task
    count, unit = getattr(said, "count", said.size), getattr(said, "unit", said.examples)
    return {split: count(split) for split in get_args(Split)}, unit


def tokenize_of(task: Task | None) -> str | None:
    """How BLEU was told to split sentences, of a task or of the one that fidelity reads."""
    said: Any = getattr(task, "inner", task)
    found: str | None = getattr(said, "tokenize", None)
    return found

"""A model opened here: the module, what it is for, and where its FF sublayers live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from ffmerge_core import showing
from ffmerge_core.errors import DataError
from ffmerge_core.models.families import Family
from ffmerge_core.models.stored import Types, bytes_by_type
from ffmerge_core.models.structure import count_parameters, weight_bytes
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import Curve, Plan, plan_in_words
from ffmerge_core.tasks.task import Task


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A proven model: the module, what it is for, and where its FF sublayers live.

    Nothing in this package changes one in place: `apply`, `recover` and `quantize` give new ones.

    Attributes
    ----------
    model : nn.Module
        What runs.
    task : Task or None
        What it is measured on; None if it was opened without data.
    sublayers : tuple of FFSublayer
        Those that can be merged, in the order in which the model runs them.
    family : Family
        Which kind of model it is.
    source : str
        What it was loaded from.
    revision : str
        SHA-256 of the weights that it was loaded with.
    plan : MergePlan, DropLayers, DropFF, Factor, Narrow or None
        What was done to it since.
    tokenizer : Any
        A transformers tokenizer, for text; else None.
    data : str or None
        What `load` was told to measure it on, as a recipe writes it; None for the source's own.
    settings : mapping
        JSON files that go with the weights, by name: how to build or feed the model, where the
        module itself does not say.
    curve : Curve or None
        Of its recovery, where it had one.
    quantized : {"int8", "llm.int8"} or None
        How the weights of the blocks are kept, if not as floating-point numbers.
    left_out : tuple of str
        Tensors of its file that the model has no use for, by name: a buffer of an older version,
        another task's head.
    without_power : tuple of str
        FF sublayers that the proof could not tell apart by their own weights, such as a W_out of
        zeros. They were proven with drawn weights in their place.
    stored : mapping
        Tensors that are kept in another type than they compute in, by name: those of a checkpoint
        in bfloat16 or float16. `save` writes them so again.
    taken_off : tuple of str
        What stood before the names in its file and was taken off: torch.compile's `_orig_mod.`,
        DataParallel's `module.`.
    from_bin : bool
        Whether its weights were read from pytorch_model.bin, which somebody allowed.

    See Also
    --------
    load : Makes one.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> model
    LoadedModel(demo:vit-digits: timm ViT, 12 FF sublayers, 602,058 parameters)
    >>> model.n_parameters, model.stacks
    (602058, ('encoder',))
    >>> model.sublayers[3].name
    'encoder.3'
    """

    model: nn.Module
    task: Task | None
    sublayers: tuple[FFSublayer, ...]
    family: Family
    source: str
    revision: str
    plan: Plan | None = None
    tokenizer: Any = None
    data: str | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curve: Curve | None = None
    quantized: str | None = None
    left_out: tuple[str, ...] = ()
    without_power: tuple[str, ...] = ()
    stored: Types = field(default_factory=dict)
    taken_off: tuple[str, ...] = ()
    from_bin: bool = False

    @cached_property
    def n_parameters(self) -> int:
        """Parameters held, a tied one counted once."""
        return count_parameters(self.model)

    @cached_property
    def weight_bytes(self) -> int:
        """Memory that the weights take, in bytes. Tying saves this, not compute."""
        return weight_bytes(self.model)

    @cached_property
    def kept_bytes(self) -> Mapping[str, int]:
        """Bytes that the weights take in a file, by the type that they are kept in, most first."""
        return bytes_by_type(self.model, self.stored)

    @property
    def stacks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(sublayer.stack for sublayer in self.sublayers))

    def __repr__(self) -> str:
        done = [] if self.plan is None else [plan_in_words(self.plan)]
        kept = [] if self.quantized is None else [self.quantized]
        found = (f"{len(self.sublayers)} FF sublayers", f"{self.n_parameters:,} parameters")
        said = ", ".join((self.family.name, *done, *kept, *found))
        return showing.line(self, f"{self.source}: {said}")

    def _repr_html_(self) -> str:
        return showing.table(
            repr(self),
            ("FF sublayer", "d_model", "d_ff", "activation", "parameters"),
            [
                (each.name, each.d_model, each.d_ff, each.activation, f"{each.n_parameters:,}")
                for each in self.sublayers
            ],
        )

    def require_task(self) -> Task:
        """Its task; `DataError` if it was opened without data."""
        if self.task is None:
            raise DataError(
                f"{self.source} was opened without data, so it cannot be measured. Open it with "
                'data: load(source, task="digits"), task="a path to your data", or a task of your '
                "own."
            )
        return self.task


def anatomy(
    model: nn.Module, family: Family, sublayers: Sequence[FFSublayer]
) -> tuple[tuple[str, int], ...]:
    """Parameters by part, each counted once: FF, attention, embeddings, norms, head, other."""
    prefixes = (
        ("FF", tuple(path for sublayer in sublayers for path in sublayer.modules.values())),
        ("embeddings", family.embeddings),
        ("head", family.head),
    )
    totals = dict.fromkeys(("FF", "attention", "embeddings", "norms", "head", "other"), 0)
    for name, parameter in model.named_parameters():
        part = next((part for part, paths in prefixes if _under(name, paths)), None)
        if part is None and not set(name.split(".")).isdisjoint(family.attention):
            part = "attention"
        # What is left is a norm's or a LayerScale's vector, or something unforeseen.
        totals[part or ("norms" if parameter.ndim == 1 else "other")] += parameter.numel()
    return tuple((part, total) for part, total in totals.items() if total)


def _under(name: str, paths: tuple[str, ...]) -> bool:
    return any(name == path or name.startswith(f"{path}.") for path in paths)

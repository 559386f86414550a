"""One calibration pass: what each FF sublayer sees and says, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, get_args

import pandas as pd
import torch
from torch import Tensor, nn

from ffmerge_core.analysis.alignment import Match, correlate, match_neurons, standardised
from ffmerge_core.analysis.views import SIMILARITIES, VIEWS
from ffmerge_core.errors import DataError
from ffmerge_core.kinds import resolve
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.structure import shared_copy
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import in_layer_order
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.batch import Batch

Tap = Literal["pre", "output", "attention"]


@dataclass(frozen=True, eq=False)
class SublayerFeatures:
    """Rows are tokens, the same ones for every sublayer of a stack.

    pre: (n_tokens, d_ff), pre-activations W_in x + b_in (for gated FF the up projection).
    output: (n_tokens, d_model), y before the residual addition.
    attention: (n_tokens, d_model), the same block's attention output, for contrast.
    """

    pre: Tensor
    output: Tensor
    attention: Tensor

    @property
    def hidden(self) -> Tensor:
        """The features that alignment uses: the paper's, `pre`."""
        return self.pre


@dataclass(frozen=True, eq=False)
class Features:
    """Features of every FF sublayer from one pass over calibration data.

    revision: of the weights they were taken from. asked, n_tokens: tokens asked for and
    found. A pair's match is computed once, however many plans use it.
    """

    revision: str
    seed: int
    asked: int
    n_tokens: int
    sublayers: tuple[FFSublayer, ...]
    _by_name: Mapping[str, SublayerFeatures]
    _matches: dict[tuple[str, str], Match] = field(default_factory=dict)

    def __getitem__(self, name: str) -> SublayerFeatures:
        return self._by_name[name]

    @property
    def shortfall(self) -> str | None:
        """A sentence if there were fewer tokens than asked for."""
        if self.n_tokens >= self.asked:
            return None
        return (
            f"{self.asked:,} tokens were asked for; the training split has {self.n_tokens:,}, "
            "and all of them were used."
        )

    def correlation(self, anchor: str, other: str) -> Tensor:
        """Pearson correlations, (d_ff, d_ff), rows = the anchor's neurons."""
        return correlate(standardised(self[anchor].hidden), standardised(self[other].hidden))

    def match(self, anchor: str, other: str) -> Match:
        """The best one-to-one match of `other`'s neurons to `anchor`'s.

        Solved in layer order whichever is the anchor, since with ties (two dead neurons) the
        two directions have several best matches and must not depend on who asked first.
        """
        first, second = in_layer_order((anchor, other), self.sublayers)
        if (first, second) not in self._matches:
            self._matches[first, second] = match_neurons(self.correlation(first, second))
        found = self._matches[first, second]
        return found if anchor == first else found.inverse()


def calibrate(
    model: LoadedModel, tokens: int = 10_000, seed: int = 0, report: Report = silent
) -> Features:
    """Run training data through the model once and keep what the FF sublayers do.

    tokens: how many, per stack; padding never counts. Fewer are used if the training split
    has no more (`Features.shortfall` says so). seed: the order of the training split.
    Raises `DataError` if the model has no data or gives values that are not finite.
    """
    if tokens < 2:
        raise DataError(f"{tokens} calibration tokens were asked for; take 2 or more.")
    if not model.sublayers:
        raise DataError(
            f"No FF sublayer of {model.source} is left to compare: all were dropped, factored or "
            "quantised. Calibrate the original model."
        )
    task = model.require_task()
    # Hooks go on a private copy of the module tree, so that another thread's forward pass
    # through the shared model is never recorded.
    probe = shared_copy(model.model).eval()
    stores = {
        (sublayer.name, tap): _Store(tokens) for sublayer in model.sublayers for tap in _taps()
    }
    with torch.inference_mode():
        for batch in task.calibration(seed):
            with _recording(probe, model.sublayers, batch, stores):
                batch.run(probe)
            least = min(store.filled for store in stores.values())
            report(least, tokens, "Reading calibration tokens")
            if least >= tokens:
                break
    n_tokens = min(store.filled for store in stores.values())
    if n_tokens < 2:
        raise DataError("The training split gave fewer than 2 tokens; there is nothing to compare.")
    by_name = {
        sublayer.name: SublayerFeatures(
            **{tap: stores[sublayer.name, tap].joined() for tap in _taps()}
        )
        for sublayer in model.sublayers
    }
    return Features(model.revision, seed, tokens, n_tokens, model.sublayers, by_name)


def similarity_matrix(
    feats: Features,
    of: str = "output",
    metric: str = "cka",
    stack: str | None = None,
    report: Report = silent,
) -> pd.DataFrame:
    """Layer-by-layer similarity; rows and columns are the sublayer names of one stack.

    of: "output" (FF output before the residual, the paper's), "pre" (pre-activations),
        "attention" (for contrast), or "aligned": the mean matched correlation of neurons
        after alignment, which has no metric.
    metric: linear CKA, "cka" (biased, in [0, 1]) or "unbiased_cka".
    """
    names = _names(feats, stack)
    view, measure = VIEWS.of(of), SIMILARITIES.of(metric)
    if feats.n_tokens < measure.fewest:
        raise DataError(
            f"{measure.label} needs {measure.fewest} tokens or more; there are {feats.n_tokens}."
        )

    def on_pair(done: int, total: int) -> None:
        report(done, total, "Comparing pairs of sublayers")

    if view.tap is None:
        assert view.matrix is not None, "what has no tap has a measure of its own"
        values = resolve(view.matrix)(feats, names, on_pair)
    else:
        readers = [partial(getattr, feats[name], view.tap) for name in names]
        values = resolve(measure.matrix)(readers, on_pair=on_pair)
    return pd.DataFrame(values.numpy(), index=names, columns=names)


def aligned_matrix(
    feats: Features, names: list[str], on_pair: Callable[[int, int], None]
) -> Tensor:
    """Mean matched correlation of each pair's neurons, (n, n); 1 on the diagonal."""
    values = torch.eye(len(names), dtype=torch.float64)
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    for done, (i, j) in enumerate(pairs, start=1):
        values[i, j] = values[j, i] = feats.match(names[i], names[j]).after
        on_pair(done, len(pairs))
    return values


def _names(feats: Features, stack: str | None) -> list[str]:
    stacks = list(dict.fromkeys(sublayer.stack for sublayer in feats.sublayers))
    if stack is None and len(stacks) > 1:
        raise DataError(f"This model has the stacks {', '.join(stacks)}; say which: stack=…")
    wanted = stack or stacks[0]
    names = [sublayer.name for sublayer in feats.sublayers if sublayer.stack == wanted]
    if not names:
        raise DataError(f"There is no stack {wanted!r}; this model has {', '.join(stacks)}.")
    return names


def _taps() -> tuple[Tap, ...]:
    return get_args(Tap)


class _Store:
    """Rows of one tap as they come, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.filled = 0
        self._chunks: list[Tensor] = []

    def append(self, rows: Tensor) -> None:
        kept = rows[: self.limit - self.filled]
        # A copy: a slice would keep its whole batch in memory.
        self._chunks.append(kept.float().clone())
        self.filled += len(kept)

    def joined(self) -> Tensor:
        """All rows, (n_tokens, width); the chunks are given up."""
        rows = torch.cat(self._chunks)
        self._chunks.clear()
        return rows


@contextmanager
def _recording(
    model: nn.Module,
    sublayers: tuple[FFSublayer, ...],
    batch: Batch,
    stores: Mapping[tuple[str, Tap], _Store],
) -> Iterator[None]:
    handles = []
    for sublayer in sublayers:
        mask = batch.masks.get(sublayer.stack)
        taps: tuple[tuple[Tap, str, tuple[int, int] | None], ...] = (
            ("pre", sublayer.w_in.module, sublayer.w_in.rows),
            ("output", sublayer.w_out.module, None),
            ("attention", sublayer.attention, None),
        )
        for tap, path, rows in taps:
            hook = _hook(stores[sublayer.name, tap], sublayer.name, rows, mask)
            handles.append(model.get_submodule(path).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(
    store: _Store, name: str, rows: tuple[int, int] | None, mask: Tensor | None
) -> Callable[[nn.Module, object, Tensor | tuple[Tensor, ...]], None]:
    def hook(_: nn.Module, args: object, output: Tensor | tuple[Tensor, ...]) -> None:
        values = output if isinstance(output, Tensor) else output[0]
        values = values.reshape(-1, values.shape[-1])
        if mask is not None:
            values = values[mask.reshape(-1)]
        if rows is not None:
            values = values[:, rows[0] : rows[1]]
        if not bool(torch.isfinite(values).all()):
            raise DataError(
                f"{name} gave values that are not finite (NaN or infinity) on the calibration "
                "data. Check the weights and the data's normalisation."
            )
        store.append(values)

    return hook

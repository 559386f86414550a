"""One calibration pass: training tokens through the model once, what each FF sublayer does kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ffmerge_core.analysis.features import Features, SublayerFeatures, Tap, taps
from ffmerge_core.checks import expect, whole
from ffmerge_core.errors import DataError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.structure import shared_copy
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.batch import Batch


def calibrate(
    model: LoadedModel, tokens: int = 10_000, seed: int = 0, report: Report = silent
) -> Features:
    """Run training data through the model once and keep what the FF sublayers do.

    The features that a merge aligns neurons by (paper, section 3, "Align"). The model itself is
    not touched: hooks go on a copy of its module tree.

    Parameters
    ----------
    model : LoadedModel
        With a task, whose training split is read.
    tokens : int, default 10_000
        How many, a stack; padding never counts. Fewer are used if the training split has no
        more, and `Features.shortfall` says so. They are kept in memory as float32: a sublayer
        takes 4 × tokens × (d_ff + 2 d_model) bytes.
    seed : int, default 0
        The order of the training split.
    report : Report, optional
        Told how far it is; may raise `Cancelled`.

    Returns
    -------
    Features
        Of every FF sublayer.

    Raises
    ------
    DataError
        If the model has no data, no FF sublayer is left, or values are not finite; for fewer
        than 2 tokens, and arguments of another type.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> feats = fm.calibrate(model, tokens=2_000)
    >>> feats.n_tokens
    2000
    >>> feats["encoder.3"].pre.shape
    torch.Size([2000, 256])
    """
    expect(DataError, model=(model, LoadedModel), report=(report, Callable))
    tokens, seed = whole(DataError, "tokens", tokens, 2), whole(DataError, "seed", seed, 0)
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
        (sublayer.name, tap): _Store(tokens) for sublayer in model.sublayers for tap in taps()
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
        raise DataError(
            "The training split gave fewer than 2 tokens, so nothing can be compared. Use data "
            "with a larger training split."
        )
    by_name = {
        sublayer.name: SublayerFeatures(
            **{tap: stores[sublayer.name, tap].joined() for tap in taps()}
        )
        for sublayer in model.sublayers
    }
    return Features(model.revision, seed, tokens, n_tokens, model.sublayers, by_name)


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

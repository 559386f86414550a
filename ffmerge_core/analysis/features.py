"""What each FF sublayer sees and says, token by token, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from reprlib import repr as clipped
from typing import Literal, get_args

import pandas as pd
import torch
from torch import Tensor

from ffmerge_core import showing
from ffmerge_core.analysis.alignment import Match, correlate, match_neurons, standardised
from ffmerge_core.analysis.views import SIMILARITIES, VIEWS
from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError
from ffmerge_core.kinds import resolve
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import in_layer_order, short, stack_of
from ffmerge_core.progress import Report, silent

Tap = Literal["pre", "output", "attention"]


@dataclass(frozen=True, eq=False)
class SublayerFeatures:
    """What one FF sublayer sees and says; rows are tokens, the same ones for a whole stack.

    Attributes
    ----------
    pre : Tensor
        (n_tokens, d_ff) float32, pre-activations W_in x + b_in. Of a gated sublayer the up
        projection.
    output : Tensor
        (n_tokens, d_model) float32, y before the residual addition.
    attention : Tensor
        (n_tokens, d_model) float32, the same block's attention output, for contrast.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> feats = fm.calibrate(model, tokens=2_000)
    >>> feats["encoder.3"]
    SublayerFeatures(2,000 tokens: pre 256, output 64, attention 64 wide)
    >>> feats["encoder.3"].output.shape
    torch.Size([2000, 64])
    """

    pre: Tensor
    output: Tensor
    attention: Tensor

    def __repr__(self) -> str:
        widths = ", ".join(f"{tap} {getattr(self, tap).shape[1]}" for tap in taps())
        return showing.line(self, f"{len(self.pre):,} tokens: {widths} wide")

    @property
    def hidden(self) -> Tensor:
        """The features that alignment uses: the paper's, `pre`."""
        return self.pre


@dataclass(frozen=True, eq=False)
class Features:
    """Features of every FF sublayer from one pass over calibration data.

    `feats["encoder.3"]` are those of one sublayer. A pair's match is computed once, however many
    plans use it.

    Attributes
    ----------
    revision : str
        Of the weights that they were taken from; `apply` refuses those of others.
    seed : int
        The order of the training split.
    asked, n_tokens : int
        Tokens asked for and found, a stack.
    sublayers : tuple of FFSublayer
        Whose features these are, in the order in which the model runs them.

    See Also
    --------
    calibrate : Makes them.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> feats = fm.calibrate(model, tokens=2_000)
    >>> feats
    Features(12 FF sublayers, 2,000 tokens, seed 0)
    >>> feats.correlation("encoder.4", "encoder.5").shape
    torch.Size([256, 256])
    """

    revision: str
    seed: int
    asked: int
    n_tokens: int
    sublayers: tuple[FFSublayer, ...]
    _by_name: Mapping[str, SublayerFeatures]
    _matches: dict[tuple[str, str], Match] = field(default_factory=dict)

    def __getitem__(self, name: str) -> SublayerFeatures:
        if not isinstance(name, str) or name not in self._by_name:
            known = short(list(self._by_name))
            raise DataError(
                f"There are no features of {clipped(name)}. There are those of {known}; a name is "
                f'such as "{next(iter(self._by_name))}".'
            )
        return self._by_name[name]

    def __repr__(self) -> str:
        found = f"{len(self.sublayers)} FF sublayers, {self.n_tokens:,} tokens"
        return showing.line(self, f"{found}, seed {self.seed}")

    def _repr_html_(self) -> str:
        return showing.table(
            repr(self),
            ("FF sublayer", "tokens", "d_ff", "d_model"),
            [(each.name, f"{self.n_tokens:,}", each.d_ff, each.d_model) for each in self.sublayers],
        )

    @property
    def shortfall(self) -> str | None:
        """A sentence if there were fewer tokens than asked for."""
        if self.n_tokens >= self.asked:
            return None
        return (
            f"{self.asked:,} tokens were asked for. The training split has only {self.n_tokens:,}, "
            "and all of them were used."
        )

    def correlation(self, anchor: str, other: str) -> Tensor:
        """Pearson correlations of two sublayers' neurons (paper, "Align").

        Parameters
        ----------
        anchor, other : str
            Names of sublayers of one stack, such as "encoder.4".

        Returns
        -------
        Tensor
            (d_ff, d_ff), rows = the anchor's neurons. A dead neuron correlates 0 with everything.
        """
        one, two = self[anchor].hidden, self[other].hidden
        if stack_of(anchor) != stack_of(other) or one.shape != two.shape:
            raise DataError(
                f"{anchor} and {other} are of different stacks or widths, so their neurons cannot "
                "be matched. Name two FF sublayers of one stack and width."
            )
        return correlate(standardised(one), standardised(two))

    def match(self, anchor: str, other: str) -> Match:
        """The best one-to-one match of `other`'s neurons to `anchor`'s (paper, "Align").

        Solved in layer order whichever is the anchor, since with ties (two dead neurons) the
        two directions have several best matches and must not depend on who asked first.

        Parameters
        ----------
        anchor, other : str
            Names of sublayers of one stack, such as "encoder.4".

        Returns
        -------
        Match
            Of the largest total correlation, exactly.
        """
        if self[anchor] is self[other]:
            raise DataError(f"{anchor} was named twice. Name two FF sublayers of one stack.")
        first, second = in_layer_order((anchor, other), self.sublayers)
        if (first, second) not in self._matches:
            self._matches[first, second] = match_neurons(self.correlation(first, second))
        found = self._matches[first, second]
        return found if anchor == first else found.inverse()


def similarity_matrix(
    feats: Features,
    of: str = "output",
    metric: str = "cka",
    stack: str | None = None,
    report: Report = silent,
) -> pd.DataFrame:
    """How alike the sublayers of one stack are, pair by pair (paper, section 2).

    Parameters
    ----------
    feats : Features
        From `calibrate`.
    of : {"output", "pre", "attention", "aligned"}, default "output"
        What is compared: FF outputs before the residual addition (the paper's), pre-activations,
        attention outputs for contrast, or neurons after alignment: the mean correlation of
        matched neurons, which has no metric.
    metric : {"cka", "unbiased_cka"}, default "cka"
        Linear CKA (Kornblith et al., 2019), biased, in [0, 1]; or by the unbiased HSIC of Song et
        al. (2012), which can be slightly negative and needs 4 tokens.
    stack : str, optional
        "encoder" or "decoder", where a model has both.
    report : Report, optional
        Told after every pair; may raise `Cancelled`.

    Returns
    -------
    DataFrame
        (n, n), rows = columns = the names of the stack's sublayers.

    Raises
    ------
    DataError
        For an unknown `of`, `metric` or `stack`, too few tokens, and arguments of another type.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> feats = fm.calibrate(model, tokens=2_000)
    >>> alike = fm.similarity_matrix(feats)
    >>> alike.shape
    (12, 12)
    >>> print(f"{alike.loc['encoder.4', 'encoder.6']:.1f}")
    0.8
    """
    expect(DataError, feats=(feats, Features), stack=(stack, str | None), report=(report, Callable))
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
        readers = [partial(_tapped, feats, name, view.tap) for name in names]
        values = resolve(measure.matrix)(readers, on_pair=on_pair)
    return pd.DataFrame(values.numpy(), index=names, columns=names)


def _tapped(feats: Features, name: str, tap: str) -> Tensor:
    """Read when it is needed: not all sublayers' features need be in memory at once."""
    values: Tensor = getattr(feats[name], tap)
    return values


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


def taps() -> tuple[Tap, ...]:
    """Where a calibration listens."""
    return get_args(Tap)

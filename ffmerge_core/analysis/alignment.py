"""Which neuron of one FF sublayer plays the part of which neuron of another.

Pure numerics of the paper's "Align" step (Verma et al., arXiv 2501.06126).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ffmerge_core import showing

# Below this share of a neuron's own magnitude its spread is rounding, and it counts as dead.
_DEAD = 1e-6


@dataclass(frozen=True, eq=False)
class Match:
    """The neurons of a sublayer matched to an anchor's.

    Attributes
    ----------
    permutation : Tensor
        (d_ff,) int64. Entry j is the sublayer's neuron that is matched to anchor neuron j.
    before : float
        Mean correlation of neuron j with neuron j, in [-1, 1].
    after : float
        Mean correlation of neuron j with its match, in [-1, 1].

    See Also
    --------
    Features.match : Where one comes from.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> feats = fm.calibrate(model, tokens=2_000)
    >>> match = feats.match("encoder.4", "encoder.5")
    >>> match.permutation.shape
    torch.Size([256])
    >>> match.after > match.before
    True
    """

    permutation: Tensor
    before: float
    after: float

    def __repr__(self) -> str:
        correlations = f"mean correlation {self.before:.2f} → {self.after:.2f}"
        return showing.line(self, f"{len(self.permutation):,} neurons: {correlations}")

    def inverse(self) -> Match:
        """The same match seen from the other sublayer."""
        return Match(torch.argsort(self.permutation), self.before, self.after)


def standardised(hidden: Tensor) -> Tensor:
    """Columns of zero mean and unit norm, so that aᵀb holds Pearson correlations.

    hidden: (n_tokens, d_ff). A dead neuron (zero variance) becomes a column of zeros: its
    correlation with everything is defined as 0.
    """
    mean = hidden.mean(0, dtype=torch.float64)
    columns = hidden - mean.to(hidden.dtype)
    norm = torch.linalg.vector_norm(columns, dim=0, dtype=torch.float64)
    magnitude = mean.abs() * hidden.shape[0] ** 0.5
    scale = torch.where(norm > _DEAD * magnitude, 1 / norm, 0.0)
    return columns * scale.to(hidden.dtype)


def correlate(anchor: Tensor, other: Tensor) -> Tensor:
    """Pearson correlations of standardised features, (d_ff, d_ff), rows = anchor neurons."""
    return anchor.T @ other


def match_neurons(correlation: Tensor) -> Match:
    """The one-to-one match of largest total correlation: Σ_j C[j, π(j)] (paper, "Align").

    correlation: (d_ff, d_ff), rows = anchor neurons. Exact: SciPy's linear assignment
    (Jonker-Volgenant).
    """
    from scipy.optimize import linear_sum_assignment

    table = correlation.double().numpy()
    rows, columns = linear_sum_assignment(table, maximize=True)
    return Match(
        permutation=torch.from_numpy(columns).long(),
        before=float(table.diagonal().mean()),
        after=float(table[rows, columns].mean()),
    )

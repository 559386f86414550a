"""How similar two sublayers' activations are: linear centred kernel alignment (CKA).

Pure numerics. Kornblith et al., "Similarity of Neural Network Representations Revisited"
(2019), for the biased estimate; Song et al. (2012) for the unbiased HSIC used in the other.
Both are computed from features, (n, d), without any (n, n) Gram matrix.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def linear_cka(x: Tensor, y: Tensor, *, unbiased: bool = False) -> float:
    """CKA of x: (n, d1) and y: (n, d2), rows = the same n tokens.

    1 for features equal up to rotation and isotropic scaling; 0 for a constant feature.
    The biased estimate lies in [0, 1]; the unbiased one can be slightly negative and needs
    n of 4 or more.
    """
    a, b = centred(x), centred(y)
    hsic = _hsic_unbiased if unbiased else _hsic
    own = (hsic(a, a), hsic(b, b))
    return _ratio(hsic(a, b), *own)


def cka_matrix(
    features: list[Callable[[], Tensor]],
    *,
    unbiased: bool = False,
    on_pair: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """All pairs: (k, k), symmetric, float64. Each feature is read when it is needed.

    on_pair(done, total) is called after every pair and may raise to stop.
    """
    k = len(features)
    hsic = _hsic_unbiased if unbiased else _hsic
    raw = torch.zeros(k, k, dtype=torch.float64)
    done, total = 0, k * (k + 1) // 2
    for i in range(k):
        a = centred(features[i]())
        for j in range(i, k):
            raw[i, j] = raw[j, i] = hsic(a, a if i == j else centred(features[j]()))
            done += 1
            on_pair(done, total)
    own = [float(value) for value in raw.diagonal()]
    values = [[_ratio(float(raw[i, j]), own[i], own[j]) for j in range(k)] for i in range(k)]
    return torch.tensor(values, dtype=torch.float64)


def unbiased_cka_matrix(
    features: list[Callable[[], Tensor]],
    *,
    on_pair: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """As `cka_matrix`, by the unbiased estimate."""
    return cka_matrix(features, unbiased=True, on_pair=on_pair)


def centred(x: Tensor) -> Tensor:
    """Column means removed and scaled to unit Frobenius norm (CKA ignores the scale)."""
    x = x - x.mean(0, dtype=torch.float64).to(x.dtype)
    norm = torch.linalg.vector_norm(x, dtype=torch.float64)
    return x / norm.to(x.dtype) if norm > 0 else x


def _hsic(a: Tensor, b: Tensor) -> float:
    """‖aᵀb‖²_F: the biased HSIC of centred features, up to a factor that CKA cancels."""
    return float((a.T @ b).double().square().sum())


def _hsic_unbiased(a: Tensor, b: Tensor) -> float:
    """Song et al. 2012, eq. 5, up to the factor n(n − 3), from features alone.

    With K = a aᵀ and L = b bᵀ and zeroed diagonals K̃, L̃:
    tr(K̃L̃) + 1ᵀK̃1 · 1ᵀL̃1 / ((n−1)(n−2)) − 2 · 1ᵀK̃L̃1 / (n−2).
    """
    n = a.shape[0]
    if n < 4:
        raise ValueError(f"unbiased CKA needs 4 tokens or more; {n} were given.")
    diagonal_a, diagonal_b = a.double().square().sum(1), b.double().square().sum(1)
    # Row sums of K and L without their diagonals.
    rows_a = (a.double() @ a.double().sum(0)) - diagonal_a
    rows_b = (b.double() @ b.double().sum(0)) - diagonal_b
    trace = (a.T @ b).double().square().sum() - diagonal_a @ diagonal_b
    return float(
        trace + rows_a.sum() * rows_b.sum() / ((n - 1) * (n - 2)) - 2 * (rows_a @ rows_b) / (n - 2)
    )


def _ratio(cross: float, own_a: float, own_b: float) -> float:
    return cross / (own_a * own_b) ** 0.5 if own_a > 0 and own_b > 0 else 0.0

"""CKA against an independent textbook implementation in fp64, and known values."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from ffmerge_core.analysis.similarity import cka_matrix, linear_cka, unbiased_cka_matrix


def textbook_cka(x: np.ndarray, y: np.ndarray, unbiased: bool) -> float:
    """From (n, n) Gram matrices, in fp64, as the definitions are printed."""
    k, l = x.astype(np.float64) @ x.T.astype(np.float64), y.astype(np.float64) @ y.T.astype(float)  # noqa: E741

    def hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
        n = len(k)
        if not unbiased:
            h = np.eye(n) - np.ones((n, n)) / n
            return float(np.trace(k @ h @ l @ h)) / (n - 1) ** 2
        k, l, one = k - np.diag(np.diag(k)), l - np.diag(np.diag(l)), np.ones(n)  # noqa: E741
        return float(
            np.trace(k @ l)
            + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (one @ k @ l @ one)
        ) / (n * (n - 3))

    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


def pair(n: int, d1: int, d2: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d1, generator=generator) + 3
    y = x @ torch.randn(d1, d2, generator=generator) + torch.randn(n, d2, generator=generator)
    return x, y


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize(("n", "d1", "d2"), [(50, 8, 8), (40, 64, 16), (300, 5, 30), (4, 3, 3)])
def test_it_agrees_with_the_textbook(n: int, d1: int, d2: int, unbiased: bool) -> None:
    x, y = pair(n, d1, d2)
    expected = textbook_cka(x.numpy(), y.numpy(), unbiased)
    assert linear_cka(x, y, unbiased=unbiased) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("unbiased", [False, True])
def test_known_values(unbiased: bool) -> None:
    x, y = pair(200, 12, 12)
    rotation, _ = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(3)))
    stretch = torch.diag(torch.linspace(0.1, 10, 12))

    def cka(a: torch.Tensor, b: torch.Tensor) -> float:
        return linear_cka(a, b, unbiased=unbiased)

    assert cka(x, x) == pytest.approx(1, abs=1e-6)
    assert cka(x, y) == pytest.approx(cka(y, x), abs=1e-6)
    assert cka(x @ rotation, y) == pytest.approx(cka(x, y), abs=1e-5)
    assert cka(x * 1e4 - 7, y * 1e-4) == pytest.approx(cka(x, y), abs=1e-4)
    assert abs(cka(x @ stretch, y) - cka(x, y)) > 0.01
    # Their squares are beyond fp32.
    assert cka(x * 1e25, y * 1e-25) == pytest.approx(cka(x, y), abs=1e-5)


def test_unbiased_is_near_zero_for_independent_features_and_biased_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(100, 80, generator=generator), torch.randn(100, 80, generator=generator)
    assert linear_cka(x, y) > 0.3
    assert abs(linear_cka(x, y, unbiased=True)) < 0.05


def test_a_constant_feature_is_similar_to_nothing() -> None:
    x, _ = pair(50, 4, 4)
    assert linear_cka(x, torch.ones(50, 3)) == linear_cka(torch.ones(50, 3), x) == 0
    assert linear_cka(torch.ones(50, 3), torch.ones(50, 3), unbiased=True) == 0


def test_too_few_tokens_for_the_unbiased_estimate() -> None:
    x, y = pair(3, 2, 2)
    with pytest.raises(ValueError, match="4 tokens"):
        linear_cka(x, y, unbiased=True)


@pytest.mark.parametrize(("matrix", "unbiased"), [(cka_matrix, False), (unbiased_cka_matrix, True)])
def test_the_matrix_holds_the_pairs(matrix: Callable[..., torch.Tensor], unbiased: bool) -> None:
    features = [pair(60, 6, 6, seed)[1].double() for seed in range(4)]
    read: list[int] = []

    def reader(index: int) -> torch.Tensor:
        read.append(index)
        return features[index]

    seen: list[tuple[int, int]] = []
    found = matrix(
        [partial(reader, index) for index in range(4)],
        on_pair=lambda done, total: seen.append((done, total)),
    )
    assert repr(seen) == repr([(done, 10) for done in range(1, 11)])
    assert sorted(read) == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3], "once a pair, and its own once"
    expected = [[linear_cka(x, y, unbiased=unbiased) for y in features] for x in features]
    wanted = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)

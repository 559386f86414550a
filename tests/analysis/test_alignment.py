"""Correlation and matching against brute force and plain definitions."""

from itertools import permutations

import numpy as np
import pytest
import torch

from ffmerge_core.analysis.alignment import correlate, match_neurons, standardised


@pytest.mark.parametrize("seed", range(5))
def test_the_assignment_is_optimal_against_brute_force(seed: int) -> None:
    table = torch.randn(7, 7, generator=torch.Generator().manual_seed(seed))
    best = max(
        sum(float(table[j, k]) for j, k in enumerate(order)) for order in permutations(range(7))
    )
    match = match_neurons(table)
    assert match.after * 7 == pytest.approx(best, abs=1e-5)
    assert sorted(match.permutation.tolist()) == list(range(7))
    chosen = table[torch.arange(7), match.permutation].mean()
    assert match.after == pytest.approx(float(chosen), abs=1e-6)
    assert match.before == pytest.approx(float(table.diagonal().mean()), abs=1e-6)


def test_a_known_permutation_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    anchor = torch.randn(400, 32, generator=generator)
    shuffle = torch.randperm(32, generator=generator)
    other = torch.empty_like(anchor)
    other[:, shuffle] = anchor * 5 - 2  # neuron shuffle[j] of `other` is neuron j of `anchor`
    match = match_neurons(correlate(standardised(anchor), standardised(other)))
    assert torch.equal(match.permutation, shuffle)
    assert match.after == pytest.approx(1, abs=1e-5)
    back = match.inverse()
    assert torch.equal(back.permutation, torch.argsort(shuffle))
    assert (back.before, back.after) == (match.before, match.after)


def test_correlations_are_pearsons() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(90, 5, generator=generator) + 100, torch.randn(90, 5, generator=generator)
    expected = np.corrcoef(a.double().numpy().T, b.double().numpy().T)[:5, 5:]
    found = correlate(standardised(a), standardised(b))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0, 12345.678, -1e-20])
def test_a_dead_neurons_correlation_is_zero(value: float) -> None:
    a = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    a[:, 1] = value
    table = correlate(standardised(a), standardised(a))
    assert torch.equal(table[1], torch.zeros(3))
    assert torch.equal(table[:, 1], torch.zeros(3))
    torch.testing.assert_close(table.diagonal()[[0, 2]], torch.ones(2))
    assert sorted(match_neurons(table).permutation.tolist()) == [0, 1, 2]


def test_small_and_large_scales_are_alive() -> None:
    a = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    for scale in (1e-25, 1e-12, 1e12, 1e25):
        z = standardised(a * scale)
        torch.testing.assert_close(z.square().sum(0), torch.ones(2))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("steps", "alive"), [(8, False), (9, True)])
def test_a_spread_below_a_millionth_of_the_magnitude_is_dead(
    steps: int, alive: bool, sign: int
) -> None:
    """A mean of 64 and steps of 2^-17, its fp32 rounding: 8 are 0.95e-6 of it, 9 are 1.07e-6."""
    spread = torch.tensor([1.0, -1.0]).repeat(500) * steps * 2**-17
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    columns = torch.stack([sign * 64 + spread, noise, sign * 64e-9 + spread * 1e-9], dim=1)
    assert columns.dtype == torch.float32
    found = standardised(columns)
    assert found.any(0).tolist() == [alive, True, alive]
    torch.testing.assert_close(found.square().sum(0), torch.tensor([alive, True, alive]).float())

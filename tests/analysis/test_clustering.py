"""Clusters against a plain average linkage, and what cutting the tree removes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ffmerge_core.analysis.clustering import cluster, clusters_of
from ffmerge_core.errors import PlanError


def similarity(n: int, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed).uniform(0.1, 0.9, (n, n))
    values = (draw + draw.T) / 2
    np.fill_diagonal(values, 1)
    names = [f"encoder.{index}" for index in range(n)]
    return pd.DataFrame(values, index=names, columns=names)


def by_hand(matrix: pd.DataFrame, remove: int) -> set[frozenset[str]]:
    """Join the two clusters that are nearest on average, `remove` times."""
    clusters = [frozenset([name]) for name in matrix.index]
    for _ in range(remove):
        one, other = min(
            ((a, b) for a in clusters for b in clusters if a is not b),
            key=lambda pair: np.mean([1 - matrix.loc[x, y] for x in pair[0] for y in pair[1]]),
        )
        clusters = [each for each in clusters if each not in (one, other)] + [one | other]
    return {each for each in clusters if len(each) > 1}


@pytest.mark.parametrize("remove", [1, 4, 7, 11])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_groups_are_those_of_average_linkage(remove: int, seed: int) -> None:
    matrix = similarity(12, seed)
    found = cluster(matrix, remove)
    assert {frozenset(group) for group in found.groups} == by_hand(matrix, remove)
    assert sum(len(group) - 1 for group in found.groups) == remove
    order = list(matrix.index)
    assert all(list(group) == sorted(group, key=order.index) for group in found.groups)
    firsts = [order.index(group[0]) for group in found.groups]
    assert firsts == sorted(firsts)


def test_the_cut_lies_between_the_last_join_and_the_next() -> None:
    matrix = similarity(8)
    for remove in range(1, 8):
        found = cluster(matrix, remove)
        heights = found.linkage[:, 2]
        assert (heights < found.cut).sum() == remove


def test_heights_and_cut_are_distances() -> None:
    alike = pd.DataFrame([[1, 0.2, 0.9], [0.2, 1, 0.3], [0.9, 0.3, 1]], list("abc"), list("abc"))
    one, both = cluster(alike, 1), cluster(alike, 2)
    assert one.names == ("a", "b", "c")
    assert one.linkage[:, 2] == pytest.approx([0.1, 0.75])
    assert one.cut == pytest.approx((0.1 + 0.75) / 2)
    assert both.cut == pytest.approx(0.75 * 1.05), "a little above the last join"


def test_twins_apart_are_found_and_ties_still_remove_the_number_asked_for() -> None:
    names = [f"decoder.{index}" for index in range(6)]
    kind = np.array([0, 1, 0, 2, 1, 0])
    matrix = pd.DataFrame((kind[:, None] == kind).astype(float), index=names, columns=names)
    assert cluster(matrix, 3).groups == (
        ("decoder.0", "decoder.2", "decoder.5"),
        ("decoder.1", "decoder.4"),
    )
    for remove in range(1, 6):
        assert sum(len(group) - 1 for group in cluster(matrix, remove).groups) == remove


def test_rounding_above_one_and_an_uneven_matrix_do_no_harm() -> None:
    matrix = similarity(5) + np.triu(np.full((5, 5), 1e-7)) - 2e-7 * np.eye(5)
    assert cluster(matrix, 2).groups == cluster(similarity(5), 2).groups
    twins = pd.DataFrame(np.full((3, 3), 1 + 1e-9), list("abc"), list("abc"))
    assert cluster(twins, 1).linkage[:, 2].tolist() == [0, 0]


@pytest.mark.parametrize("remove", [0, 5, -1])
def test_what_cannot_be_removed_is_said(remove: int) -> None:
    with pytest.raises(PlanError, match=rf"{remove} FF sublayers .* from 5; 1 to 4 can be"):
        cluster(similarity(5), remove)


def test_clusters_of_no_joins_are_the_leaves() -> None:
    tree = cluster(similarity(4), 1).linkage
    assert clusters_of(tree, 0) == [(0,), (1,), (2,), (3,)]
    assert clusters_of(tree, 3) == [(0, 1, 2, 3)]

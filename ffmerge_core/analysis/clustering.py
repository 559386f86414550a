"""Groups of alike FF sublayers that need not be adjacent: hierarchical clustering.

Pure. Average linkage on 1 − similarity (SciPy). Every join makes one group fewer, so cutting
the tree after m joins removes exactly m sublayers, whatever the tree looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ffmerge_core.errors import PlanError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Clustering:
    """The tree of one stack's sublayers, and where it was cut.

    linkage: (n − 1, 4), SciPy's: the two that are joined, their distance, the size. names: of
    the n leaves. groups: those of two or more, in layer order. cut: the distance between the
    last join that was made and the first that was not.
    """

    names: tuple[str, ...]
    linkage: np.ndarray
    groups: tuple[tuple[str, ...], ...]
    cut: float


def cluster(similarity: pd.DataFrame, remove: int) -> Clustering:
    """Group the most alike until merging each group into one removes `remove` sublayers.

    similarity: (n, n) of one stack, rows = columns = names in layer order; 1 = alike.
    Raises `PlanError`, saying what can be removed, for any but 1 to n − 1.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    names = tuple(str(name) for name in similarity.index)
    if not 1 <= remove <= len(names) - 1:
        raise PlanError(
            f"{remove} FF sublayers cannot be removed from {len(names)}; "
            f"1 to {len(names) - 1} can be."
        )
    distance = 1 - similarity.to_numpy(dtype=float)
    # Rounding leaves neither exact zeros on the diagonal nor exact symmetry.
    distance = np.clip((distance + distance.T) / 2, 0, None)
    tree = linkage(squareform(distance, checks=False), "average")
    members = clusters_of(tree, remove)
    groups = tuple(tuple(names[at] for at in group) for group in members if len(group) > 1)
    heights = tree[:, 2]
    above = heights[remove] if remove < len(heights) else heights[-1] * 1.1
    return Clustering(names, tree, groups, float(heights[remove - 1] + above) / 2)


def clusters_of(linkage: np.ndarray, joins: int) -> list[tuple[int, ...]]:
    """The leaves of each cluster after the first `joins` rows, single ones too, by first leaf."""
    n = len(linkage) + 1
    clusters: dict[int, tuple[int, ...]] = {leaf: (leaf,) for leaf in range(n)}
    for number, (one, other) in enumerate(linkage[:joins, :2].astype(int), start=n):
        clusters[number] = tuple(sorted((*clusters.pop(one), *clusters.pop(other))))
    return sorted(clusters.values())

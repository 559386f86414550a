"""Groups of alike FF sublayers that need not be adjacent: hierarchical clustering.

Pure. Average linkage on 1 − similarity (SciPy). Every join makes one group fewer, so cutting
the tree after m joins removes exactly m sublayers, whatever the tree looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ffmerge_core import showing
from ffmerge_core.checks import expect
from ffmerge_core.errors import PlanError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Clustering:
    """The tree of one stack's sublayers, and where it was cut.

    Attributes
    ----------
    names : tuple of str
        Of the n leaves, in layer order.
    linkage : ndarray
        (n − 1, 4), as SciPy has it: the two that are joined, their distance, the size.
    groups : tuple of tuple of str
        Those of two or more sublayers, in layer order.
    cut : float
        The distance halfway between the last join that was made and the first that was not.

    See Also
    --------
    cluster : Makes one.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> import pandas as pd
    >>> names = ["encoder.0", "encoder.1", "encoder.2"]
    >>> alike = pd.DataFrame([[1, 0.2, 0.9], [0.2, 1, 0.3], [0.9, 0.3, 1]], names, names)
    >>> fm.cluster(alike, remove=1)
    Clustering(3 FF sublayers, cut at 0.425: encoder.0 + encoder.2)
    """

    names: tuple[str, ...]
    linkage: np.ndarray
    groups: tuple[tuple[str, ...], ...]
    cut: float

    def __repr__(self) -> str:
        joined = ", ".join(" + ".join(group) for group in self.groups)
        cut = showing.rounded(self.cut)
        return showing.line(self, f"{len(self.names)} FF sublayers, cut at {cut}: {joined}")


def cluster(similarity: pd.DataFrame, remove: int) -> Clustering:
    """Group the most alike until merging each group into one removes `remove` sublayers.

    Average linkage on 1 − similarity. The groups need not be adjacent.

    Parameters
    ----------
    similarity : DataFrame
        (n, n) of one stack, rows = columns = names in layer order; 1 = alike.
    remove : int
        FF sublayers to remove, from 1 to n − 1.

    Returns
    -------
    Clustering
        Its `groups` are those of a `MergePlan`.

    Raises
    ------
    PlanError
        If so many cannot be removed; it says what can be. For arguments of another type.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> feats = fm.calibrate(model, tokens=2_000)
    >>> found = fm.cluster(fm.similarity_matrix(feats), remove=3)
    >>> fm.MergePlan(groups=found.groups).n_removed
    3
    """
    import pandas as pd
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    expect(
        PlanError, "fm.similarity_matrix(feats) gives one.", similarity=(similarity, pd.DataFrame)
    )
    expect(PlanError, remove=(remove, int))
    names = tuple(str(name) for name in similarity.index)
    if not 1 <= remove <= len(names) - 1:
        raise PlanError(
            f"{remove} FF sublayers cannot be removed from {len(names)}; "
            f"1 to {len(names) - 1} can be."
        )
    distance = 1 - _finite(similarity)
    # Rounding leaves neither exact zeros on the diagonal nor exact symmetry.
    distance = np.clip((distance + distance.T) / 2, 0, None)
    tree = linkage(squareform(distance, checks=False), "average")
    members = clusters_of(tree, remove)
    groups = tuple(tuple(names[at] for at in group) for group in members if len(group) > 1)
    heights = tree[:, 2]
    above = heights[remove] if remove < len(heights) else heights[-1] * 1.1
    return Clustering(names, tree, groups, float(heights[remove - 1] + above) / 2)


def _finite(similarity: pd.DataFrame) -> np.ndarray:
    """Its values; `PlanError` if they are not finite numbers, (n, n)."""
    import pandas as pd

    rows, columns = similarity.shape
    values: np.ndarray = similarity.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    if rows != columns or not np.isfinite(values).all():
        raise PlanError(
            f"The similarity is a table of {rows} × {columns}; a square one of finite numbers was "
            "expected. fm.similarity_matrix(feats) gives one."
        )
    return values


def clusters_of(linkage: np.ndarray, joins: int) -> list[tuple[int, ...]]:
    """The leaves of each cluster after the first `joins` rows, single ones too, by first leaf."""
    n = len(linkage) + 1
    clusters: dict[int, tuple[int, ...]] = {leaf: (leaf,) for leaf in range(n)}
    for number, (one, other) in enumerate(linkage[:joins, :2].astype(int), start=n):
        clusters[number] = tuple(sorted((*clusters.pop(one), *clusters.pop(other))))
    return sorted(clusters.values())

"""What is compared of two FF sublayers, and how alike it is: a record each. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ffmerge_core.errors import DataError
from ffmerge_core.kinds import Kind, Kinds, Work


@dataclass(frozen=True, kw_only=True)
class View(Kind):
    """What of the sublayers is compared.

    tap: a field of `SublayerFeatures`, compared by a metric; None where `matrix`, (features,
    names, on_pair) → (n, n), has a measure of its own.
    """

    tap: str | None = None
    matrix: Work | None = None


@dataclass(frozen=True, kw_only=True)
class Similarity(Kind):
    """How alike two taps are. matrix: (readers, on_pair) → (n, n). fewest: tokens that it needs."""

    matrix: Work
    fewest: int = 2


VIEWS: Kinds[View] = Kinds(
    "of",
    DataError,
    (
        View(
            name="output",
            label="FF output",
            help="Compares the outputs of the FF (feed-forward) sublayers, before the residual "
            "addition (the paper's view).",
            tap="output",
        ),
        View(
            name="pre",
            label="FF pre-activations",
            help="Compares the values before the activation functions of the FF sublayers.",
            tap="pre",
        ),
        View(
            name="attention",
            label="Attention output",
            help="Compares the attention outputs of the same blocks, for contrast.",
            tap="attention",
        ),
        View(
            name="aligned",
            label="Aligned neurons",
            help="Compares neurons after matching them one to one, by their mean correlation.",
            matrix="ffmerge_core.analysis.features:aligned_matrix",
        ),
    ),
)

SIMILARITIES: Kinds[Similarity] = Kinds(
    "metric",
    DataError,
    (
        Similarity(
            name="cka",
            label="Linear CKA",
            help="Measures similarity (centred kernel alignment) from 0 (nothing in common) to 1 "
            "(equal up to rotation and scale).",
            source="Kornblith et al., 2019",
            matrix="ffmerge_core.analysis.similarity:cka_matrix",
        ),
        Similarity(
            name="unbiased_cka",
            label="Linear CKA, unbiased",
            help="Does not grow when there are few tokens; it can be slightly negative and is then "
            "drawn as 0.",
            source="Song et al., 2012",
            matrix="ffmerge_core.analysis.similarity:unbiased_cka_matrix",
            fewest=4,
        ),
    ),
)

"""The kinds of plans that make FF sublayers smaller, each as much as the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ffmerge_core.errors import PlanError
from ffmerge_core.palette import BROWN, OLIVE
from ffmerge_core.plan.mergeable import Mergeable
from ffmerge_core.plan.methods import METHODS, Mark, Owned, Reduce
from ffmerge_core.plan.reduction import Sized, named, unshared
from ffmerge_core.plan.values import keep_whole


@dataclass(frozen=True)
class Factor(Sized):
    """Each stored matrix (W_in, W_out, a gate) replaced by its best product of rank `rank`.

    Truncated SVD (Eckart & Young, 1936); biases stay. A gate packed with W_in is factored with it,
    as one matrix.

    Parameters
    ----------
    sublayers : tuple of str
        Their names, such as "encoder.3".
    rank : int
        1 or more; so low that every matrix gets smaller.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> fm.Factor.most(model.sublayers[3])
    51
    >>> fm.apply(model, fm.Factor(("encoder.3",), rank=16)).n_parameters
    579530
    """

    sublayers: tuple[str, ...]
    rank: int
    kind = "factor"
    method = "SVD"
    unfit = "the matrices are so small that no product of two saves anything"

    def __post_init__(self) -> None:
        super().__post_init__()
        keep_whole(self, "rank", 1)

    @property
    def detail(self) -> str:
        return f", rank {self.rank}"

    def check(self, sublayers: Sequence[Mergeable]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        for sublayer in unshared(self.sublayers, sublayers):
            if self.rank > (most := self.most(sublayer)):
                shapes = " and ".join(f"{rows} × {columns}" for rows, columns in sublayer.matrices)
                raise PlanError(
                    f"Rank {self.rank} saves nothing in {sublayer.name}, whose matrices are "
                    f"{shapes}: a product of that rank is as big. Rank {most} is the highest that "
                    "saves something."
                )

    def parameters_removed(self, sublayers: Sequence[Mergeable], owned: Owned | None = None) -> int:
        """rows × columns − rank × (rows + columns), summed over the matrices."""
        return sum(
            rows * columns - self.rank * (rows + columns)
            for each in named(self.sublayers, sublayers)
            for rows, columns in each.matrices
        )

    @classmethod
    def sizes(cls, sublayers: Sequence[Mergeable]) -> range:
        """Ranks."""
        return range(1, min(map(cls.most, sublayers)) + 1)

    @staticmethod
    def most(sublayer: Mergeable) -> int:
        """The highest rank at which every matrix of a sublayer gets smaller; 0 if none is."""
        return min((rows * columns - 1) // (rows + columns) for rows, columns in sublayer.matrices)


METHODS.register(
    Reduce(
        name=Factor.method,
        label="SVD",
        help="Replaces every FF matrix by its best low-rank approximation, a product of two thin "
        "matrices.",
        source="Eckart & Young, 1936",
        plan=Factor,
        mark=Mark(OLIVE, "pentagon"),
        portable=False,
        lay_out="ffmerge_core.models.reductions:factor",
        fill="ffmerge_core.models.reductions:fill_factors",
    )
)


@dataclass(frozen=True)
class Narrow(Sized):
    """Each sublayer keeps its `width` neurons of the largest share in the output.

    A neuron's share is the norm of its activation over the calibration tokens times the
    norm of its column of W_out. Only plain sublayers: with a gate or an inner norm, what W_out
    receives is not among the features.

    Parameters
    ----------
    sublayers : tuple of str
        Their names, such as "encoder.3".
    width : int
        Neurons that stay, from 1 to d_ff − 1.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> feats = fm.calibrate(model, tokens=2_000)
    >>> fm.apply(model, fm.Narrow(("encoder.3",), width=200), feats).sublayers[3].d_ff
    200
    """

    sublayers: tuple[str, ...]
    width: int
    kind = "narrow"
    method = "narrow"
    unfit = "it needs FF sublayers without a gate or an inner norm"

    def __post_init__(self) -> None:
        super().__post_init__()
        keep_whole(self, "width", 1)

    @property
    def detail(self) -> str:
        return f" to {self.width} neurons"

    def check(self, sublayers: Sequence[Mergeable]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        for sublayer in unshared(self.sublayers, sublayers):
            if not self.suits(sublayer):
                raise PlanError(
                    f"{sublayer.name} has a gate or an inner norm, so the features do not tell "
                    "which of its neurons matter. Narrow plain sublayers only."
                )
            if self.width >= sublayer.d_ff:
                raise PlanError(
                    f"{sublayer.name} has {sublayer.d_ff} neurons, so keeping {self.width} saves "
                    f"nothing. Keep {sublayer.d_ff - 1} or fewer."
                )

    def parameters_removed(self, sublayers: Sequence[Mergeable], owned: Owned | None = None) -> int:
        """A row of W_in, an entry of b_in and a column of W_out for every neuron that goes."""
        return sum(
            each.n_parameters - self.parameters_left(each)
            for each in named(self.sublayers, sublayers)
        )

    def parameters_left(self, sublayer: Mergeable) -> int:
        """Those of one sublayer. b_out belongs to no neuron."""
        shared = sublayer.d_model if sublayer.biases[1] else 0
        return shared + (sublayer.n_parameters - shared) // sublayer.d_ff * self.width

    @classmethod
    def sizes(cls, sublayers: Sequence[Mergeable]) -> range:
        """Widths."""
        if not all(map(cls.suits, sublayers)):
            return range(0)
        return range(1, min(each.d_ff for each in sublayers))

    @staticmethod
    def suits(sublayer: Mergeable) -> bool:
        """Whether its features tell what W_out receives."""
        return not sublayer.gated and sublayer.norm is None


METHODS.register(
    Reduce(
        name=Narrow.method,
        label="Narrow",
        help="Keeps only the neurons that contribute most to the output.",
        plan=Narrow,
        mark=Mark(BROWN, "hourglass"),
        needs=frozenset({"features"}),
        portable=False,
        lay_out="ffmerge_core.models.reductions:narrow",
        fill="ffmerge_core.models.reductions:fill_narrowed",
    )
)

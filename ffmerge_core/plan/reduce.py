"""The kinds of plans that make a model smaller without sharing: what merging is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ffmerge_core.errors import PlanError
from ffmerge_core.palette import BROWN, OLIVE, SKY_BLUE, VIOLET
from ffmerge_core.plan.mergeable import Mergeable
from ffmerge_core.plan.methods import METHODS, Mark, Owned, Reduce
from ffmerge_core.plan.reduction import Sized, Windowed, named
from ffmerge_core.plan.values import whole


@dataclass(frozen=True)
class DropLayers(Windowed):
    """Whole blocks left out, attention included; those that stay are numbered anew.

    Parameters
    ----------
    layers : tuple of str
        Named by their FF sublayers, such as "encoder.3". A stack keeps one at least.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> left = fm.apply(model, fm.DropLayers(("encoder.3", "encoder.4")))
    >>> len(left.sublayers), left.n_parameters
    (10, 502090)
    """

    layers: tuple[str, ...]
    kind = "drop-layers"
    method = "layer drop"
    spared = 1
    unfit = "a stack keeps one layer, and there is no other"

    @property
    def n_removed(self) -> int:
        """All of the dropped layers'."""
        return len(self.layers)

    def check(self, sublayers: Sequence[Mergeable]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        for each in named(self.layers, sublayers):
            if each.alone is not None:
                raise PlanError(
                    f"The layer of {each.name} cannot be dropped: it alone holds {each.alone}, "
                    f"which the other layers of {each.stack} may need. Drop other layers."
                )
        for stack in dict.fromkeys(sublayer.stack for sublayer in sublayers):
            if all(each.name in self.layers for each in sublayers if each.stack == stack):
                raise PlanError(
                    f"Every layer of {stack} would be dropped, and it must keep one. Drop fewer "
                    "layers."
                )

    def parameters_removed(self, sublayers: Sequence[Mergeable], owned: Owned) -> int:
        """All that these blocks hold."""
        return sum(owned(each.block) for each in named(self.layers, sublayers))


METHODS.register(
    Reduce(
        name=DropLayers.method,
        label="Layer drop",
        help="Removes whole layers, attention included.",
        source="The paper's baseline",
        plan=DropLayers,
        mark=Mark(SKY_BLUE, "triangle-down"),
        searched=True,
        usual=True,
        lay_out="ffmerge_core.models.reductions:drop_layers",
    )
)


@dataclass(frozen=True)
class DropFF(Windowed):
    """FF sublayers deleted: nothing is added to the residual where they stood.

    Parameters
    ----------
    sublayers : tuple of str
        Their names, such as "encoder.3".

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> left = fm.apply(model, fm.DropFF(("encoder.3",)))
    >>> model.n_parameters - left.n_parameters == model.sublayers[3].n_parameters
    True
    """

    sublayers: tuple[str, ...]
    kind = "drop-ff"
    method = "FF drop"
    unfit = "it needs an FF sublayer in every stack"

    @property
    def n_removed(self) -> int:
        """All that are named."""
        return len(self.sublayers)

    def parameters_removed(self, sublayers: Sequence[Mergeable], owned: Owned | None = None) -> int:
        """All that these sublayers hold."""
        return sum(each.n_parameters for each in named(self.sublayers, sublayers))


METHODS.register(
    Reduce(
        name=DropFF.method,
        label="FF drop",
        help="Removes whole FF sublayers.",
        plan=DropFF,
        mark=Mark(VIOLET, "triangle-up"),
        portable=False,
        lay_out="ffmerge_core.models.reductions:drop_ff",
    )
)


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
        whole("rank", self.rank, 1)

    @property
    def detail(self) -> str:
        return f", rank {self.rank}"

    def check(self, sublayers: Sequence[Mergeable]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        for sublayer in named(self.sublayers, sublayers):
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
        whole("width", self.width, 1)

    @property
    def detail(self) -> str:
        return f" to {self.width} neurons"

    def check(self, sublayers: Sequence[Mergeable]) -> None:
        """Raise `PlanError`, with the reason in a sentence, if it cannot be applied."""
        for sublayer in named(self.sublayers, sublayers):
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

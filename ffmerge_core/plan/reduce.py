"""The kinds of plans that leave whole layers or FF sublayers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ffmerge_core.errors import PlanError
from ffmerge_core.palette import SKY_BLUE, VIOLET
from ffmerge_core.plan.mergeable import Mergeable
from ffmerge_core.plan.methods import METHODS, Mark, Owned, Reduce
from ffmerge_core.plan.reduction import Windowed, named


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
            if each.stays:
                raise PlanError(
                    f"The layer of {each.name} cannot be dropped: {each.stays}. Drop FF sublayers "
                    "instead."
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

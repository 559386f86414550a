"""The methods that merge: each gives the one sublayer that stands in the place of a group.

A method is a function `Group` → weights by role, new tensors; its record is in `plan.merge`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from reprlib import repr as clipped

import torch
from torch import nn

from ffmerge_core.analysis.features import Features
from ffmerge_core.errors import PlanError
from ffmerge_core.kinds import resolve
from ffmerge_core.models.structure import Weights, permute_neurons, weights_by_role
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import Merge

# Between two stacks' draws. Less than 2^32: torch's generator hears the lowest 32 bits of a seed.
_APART = 2_654_435_761


@dataclass(frozen=True, eq=False)
class Group:
    """What a method of merging is given; it gives back the shared sublayer's weights, by role.

    Attributes
    ----------
    model : nn.Module
        The original.
    members : tuple of FFSublayer
        Two or more, in layer order.
    anchor : FFSublayer
        One of them.
    stack : int
        The number of theirs among the model's stacks, from 0.
    seed : int
        Of a random draw.
    feats : Features or None
        There if the method's record says that it needs them.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> members = model.sublayers[4:6]
    >>> group = fm.Group(model.model, members, members[0], stack=0, seed=0, feats=None)
    >>> {role: tuple(tensor.shape) for role, tensor in group.weights(group.anchor).items()}
    {'in.weight': (256, 64), 'in.bias': (256,), 'out.weight': (64, 256), 'out.bias': (64,)}
    """

    model: nn.Module
    members: tuple[FFSublayer, ...]
    anchor: FFSublayer
    stack: int
    seed: int
    feats: Features | None

    def weights(self, sublayer: FFSublayer) -> Weights:
        """A member's own, by role; not copied."""
        return weights_by_role(self.model, sublayer)

    def aligned(self, sublayer: FFSublayer) -> Weights:
        """A member's with its neurons in the order of the anchor's (paper, "Align")."""
        if sublayer is self.anchor:
            return self.weights(sublayer)
        assert self.feats is not None, "its method needs features, which was checked"
        match = self.feats.match(self.anchor.name, sublayer.name)
        return permute_neurons(self.weights(sublayer), match.permutation, sublayer.transposed)


def shared_weights(method: Merge, group: Group) -> Weights:
    """What a method gives for a group. Raises `PlanError` if that is not one sublayer's weights.

    A method may be anybody's: what it forgot would be filled with a member's weights, and what it
    changed in place would be the original's.
    """
    owned = [group.weights(sublayer) for sublayer in group.members]
    before = _versions(owned)
    found = resolve(method.merge)(group)
    if before != _versions(owned):
        raise PlanError(
            f"Method {method.name!r} changed the original's weights in place. Let it work on "
            "copies: tensor.detach().clone(). Load the model again."
        )
    expected = group.weights(group.anchor)
    if not isinstance(found, dict) or found.keys() != expected.keys():
        what = ", ".join(map(str, found)) if isinstance(found, dict) else clipped(found)
        raise PlanError(
            f"Method {method.name!r} gave {what or 'nothing'}; the weights of one sublayer were "
            f"expected, by role: {', '.join(expected)}."
        )
    for role, tensor in expected.items():
        _check_like(method, role, found[role], tensor)
    own = {tensor.data_ptr() for weights in owned for tensor in weights.values()}
    if same := [role for role, tensor in found.items() if tensor.data_ptr() in own]:
        raise PlanError(
            f"Method {method.name!r} gave the original's own tensor as {', '.join(same)}. Let it "
            "give a copy: tensor.detach().clone()."
        )
    return found


def _versions(owned: Iterable[Weights]) -> list[int]:
    """How often each was changed in place, which tensors of inference mode do not count."""
    every = (tensor for weights in owned for tensor in weights.values())
    return [0 if tensor.is_inference() else tensor._version for tensor in every]


def _check_like(method: Merge, role: str, found: object, expected: torch.Tensor) -> None:
    said = tuple(expected.shape), expected.dtype, expected.device
    if not isinstance(found, torch.Tensor):
        what = clipped(found)
    elif (tuple(found.shape), found.dtype, found.device) != said:
        what = f"{tuple(found.shape)} in {found.dtype} on {found.device}"
    else:
        return
    raise PlanError(
        f"Method {method.name!r} gave {what} as {role}; a tensor of {said[0]} in {said[1]} on "
        f"{said[2]} was expected."
    )


def permuted_average(group: Group) -> Weights:
    """The mean of all, neurons aligned to the anchor's (Verma et al., arXiv 2501.06126)."""
    return _mean(group.aligned(sublayer) for sublayer in group.members)


def average(group: Group) -> Weights:
    """The mean of all as they are: the paper's vanilla baseline."""
    return _mean(group.weights(sublayer) for sublayer in group.members)


def copy_of_anchor(group: Group) -> Weights:
    """The anchor's own."""
    own = group.weights(group.anchor)
    return {role: tensor.detach().clone() for role, tensor in own.items()}


def random_draw(group: Group) -> Weights:
    """Normal values with each role's mean and deviation over the members."""
    # Another draw for another group, in whatever stack; the same one however groups are ordered.
    number = 1009 * group.seed + group.members[0].index + group.stack * _APART
    generator = torch.Generator().manual_seed(number % 2**63)
    owned = [group.weights(sublayer) for sublayer in group.members]
    drawn: Weights = {}
    with torch.no_grad():
        for role, tensor in owned[0].items():
            every = torch.stack([weights[role] for weights in owned]).double()
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            drawn[role] = (every.mean() + every.std() * noise).to(tensor.dtype)
    return drawn


def _mean(members: Iterable[Weights]) -> Weights:
    total: Weights = {}
    dtypes: dict[str, torch.dtype] = {}
    n = 0
    with torch.no_grad():
        for weights in members:
            n += 1
            for role, tensor in weights.items():
                # fp64 sums: averaging identical sublayers must give them back exactly.
                total[role] = total.get(role, 0) + tensor.double()
                dtypes[role] = tensor.dtype
        return {role: (tensor / n).to(dtypes[role]) for role, tensor in total.items()}

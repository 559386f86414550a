"""Parameters that are one object at several places of a model: found, set, and what FF share.

A library ties a head to its embeddings; a merge ties FF sublayers; and whoever builds a model in
memory may tie anything. Ties are written as groups of parameters' names, in the model's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.models.structure import names_by_role
from ffmerge_core.models.sublayers import FFSublayer

Ties = tuple[tuple[str, ...], ...]


def ties(model: nn.Module) -> Ties:
    """The names of each parameter that has more than one."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return tuple(tuple(each) for each in names.values() if len(each) > 1)


def set_ties(model: nn.Module, groups: Sequence[Sequence[str]]) -> None:
    """Make the parameters of each group one object and every other one its own, in place.

    The first of a group is kept. Raises `KeyError` with a name that the model does not have, and
    `ValueError` for parameters of several shapes.
    """
    found = dict(model.named_parameters(remove_duplicate=False))
    first = {name: group[0] for group in groups for name in group}
    if unknown := first.keys() - found.keys():
        raise KeyError(min(unknown))
    owner: dict[int, str] = {}
    made: dict[str, nn.Parameter] = {}
    for name, parameter in found.items():
        kept = first.get(name, name)
        if found[kept].shape != parameter.shape:
            raise ValueError(f"{kept} and {name} have different shapes")
        if kept not in made:
            one = found[kept]
            if owner.setdefault(id(one), kept) != kept:
                # The library tied what was apart.
                one = nn.Parameter(one.detach().clone(), one.requires_grad)
            made[kept] = one
        if made[kept] is not parameter:
            path, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(path), leaf, made[kept])


def with_ties(model: nn.Module, sublayers: Sequence[FFSublayer]) -> tuple[FFSublayer, ...]:
    """The FF sublayers, each with those it shares parameters with already.

    Raises `UnsupportedModelError` for what no merge could keep apart: a weight that is something
    else's too, or one module that runs at several places.
    """
    _refuse_shared_modules(model, sublayers)
    holders = _holders(model, sublayers)
    sizes = dict(model.named_parameters(remove_duplicate=False))
    order = {sublayer.name: place for place, sublayer in enumerate(sublayers)}
    result = []
    for sublayer in sublayers:
        tied: set[str] = set()
        n_shared = 0
        for name in names_by_role(model, sublayer).values():
            others = holders[name] - {sublayer.name}
            tied |= others
            if any(order[other] < order[sublayer.name] for other in others):
                n_shared += sizes[name].numel()
        names = tuple(sorted(tied, key=order.__getitem__))
        result.append(replace(sublayer, tied=names, n_shared=n_shared))
    return tuple(result)


def _holders(model: nn.Module, sublayers: Sequence[FFSublayer]) -> Mapping[str, set[str]]:
    """Parameter's name → the FF sublayers that hold that parameter, by whatever name."""
    owner = {
        name: sublayer.name
        for sublayer in sublayers
        for name in names_by_role(model, sublayer).values()
    }
    holders = {name: {holder} for name, holder in owner.items()}
    for group in ties(model):
        held = [owner[name] for name in group if name in owner]
        if not held:
            continue
        if len(held) < len(group) or len(set(held)) < len(held):
            inside = next(name for name in group if name in owner)
            other = next(
                (name for name in group if name not in owner),
                next(name for name in group if name != inside),
            )
            raise UnsupportedModelError(
                f"{inside} and {other} are one parameter, and only FF sublayers of several blocks "
                "can share one: a merge would part it. Give each its own before opening the model."
            )
        for name in group:
            holders[name] = set(held)
    return holders


def _refuse_shared_modules(model: nn.Module, sublayers: Sequence[FFSublayer]) -> None:
    """Hooks see a module, not a place: features of two places could not be told apart."""
    places: dict[int, tuple[str, str]] = {}
    for sublayer in sublayers:
        for path in sublayer.modules.values():
            module = model.get_submodule(path)
            name, other = places.setdefault(id(module), (sublayer.name, path))
            if name != sublayer.name:
                raise UnsupportedModelError(
                    f"{name} and {sublayer.name} are one module ({other} and {path}), so all that "
                    "a merge of them could save is saved already. Give each block modules of its "
                    "own to merge others; their parameters may be tied."
                )

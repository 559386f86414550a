"""What a record says of a module that is opened: its FF sublayers, and which of them are one."""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

from torch import nn

from ffmerge_core.errors import SourceError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.models.structure import names_by_role, tie
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.models.ties import Ties, set_ties, ties
from ffmerge_core.plan import MergePlan, Plan, Reduce, in_layer_order
from ffmerge_core.storage.record import RECORD, Record


def checked_sublayers(folder: Path, module: nn.Module, record: Record) -> tuple[FFSublayer, ...]:
    """Those of the module as config.json describes it; `SourceError` if the plan has others."""
    sublayers = family_of(module).find(module)
    if record.plan is not None and not in_config(record.plan):
        try:
            record.plan.check(sublayers)
        except (TypeError, ValueError) as error:
            raise SourceError(
                f"The plan in {folder / RECORD} does not suit the model beside it: {error}"
            ) from None
    return sublayers


def groups(record: Record, sublayers: tuple[FFSublayer, ...]) -> list[list[FFSublayer]]:
    """The plan's groups, in layer order; none for a plan that ties nothing."""
    if not isinstance(record.plan, MergePlan):
        return []
    by_name = {sublayer.name: sublayer for sublayer in sublayers}
    return [
        [by_name[name] for name in in_layer_order(group, sublayers)] for group in record.plan.groups
    ]


def other_ties(model: LoadedModel) -> Ties:
    """The ties of a model but for those of its plan, of whose groups the first alone counts."""
    by_name = {sublayer.name: sublayer for sublayer in model.sublayers}
    planned = {
        name
        for group in (model.plan.groups if isinstance(model.plan, MergePlan) else ())
        for member in in_layer_order(group, model.sublayers)[1:]
        for name in names_by_role(model.model, by_name[member]).values()
    }
    left = (tuple(name for name in group if name not in planned) for group in ties(model.model))
    return tuple(group for group in left if len(group) > 1)


def tie_again(
    folder: Path, module: nn.Module, record: Record, planned: list[list[FFSublayer]]
) -> None:
    """Tie a module as its record says, that and nothing else. planned: the plan's groups."""
    for members in planned:
        tie(module, members)
    if record.ties is None:
        return
    roles = [[names_by_role(module, member) for member in members] for members in planned]
    by_plan = [tuple(names[role] for names in each) for each in roles for role in each[0]]
    try:
        set_ties(module, [*record.ties, *by_plan])
    except (KeyError, ValueError) as error:
        raise SourceError(
            f"The ties in {folder / RECORD} do not suit the model beside it ({error}). Save the "
            "model again."
        ) from None


def is_reduced(plan: Plan | None) -> TypeGuard[Plan]:
    return plan is not None and isinstance(plan.record, Reduce)


def in_config(plan: Plan | None) -> bool:
    """Whether config.json describes what a plan left: dropped layers are not in it any more."""
    return is_reduced(plan) and plan.record.portable

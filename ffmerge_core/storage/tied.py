"""What a record says of a module that is opened: its FF sublayers, and which of them are one."""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

from torch import nn

from ffmerge_core.errors import SourceError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.sublayers import FFSublayer
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


def is_reduced(plan: Plan | None) -> TypeGuard[Plan]:
    return plan is not None and isinstance(plan.record, Reduce)


def in_config(plan: Plan | None) -> bool:
    """Whether config.json describes what a plan left: dropped layers are not in it any more."""
    return is_reduced(plan) and plan.record.portable

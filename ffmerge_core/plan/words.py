"""Plans of every kind: read back, and said in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from reprlib import repr as clipped
from typing import Any

from ffmerge_core.errors import PlanError
from ffmerge_core.plan.merge import MergePlan
from ffmerge_core.plan.reduce import DropFF, DropLayers, Factor, Narrow

Plan = MergePlan | DropLayers | DropFF | Factor | Narrow

_KINDS: dict[str, type[Plan]] = {
    kind.kind: kind for kind in (MergePlan, DropLayers, DropFF, Factor, Narrow)
}


def plan_from_dict(data: Mapping[str, Any]) -> Plan:
    """Inverse of any plan's `to_dict`; refuses unknown kinds and fields."""
    kind = data.get("kind", MergePlan.kind)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise PlanError(
            f"A plan of kind {clipped(kind)} was found; this version reads {', '.join(_KINDS)}."
        )
    return _KINDS[kind].from_dict(data)


def plan_in_words(plan: Plan) -> str:
    """What a run is called at first: "Permute encoder 3–4, anchor first"."""
    match plan:
        case MergePlan() if not plan.groups:
            return "Original, nothing merged"
        case MergePlan() if plan.uses_anchor:
            after = f", anchor {plan.anchor}"
        case Factor():
            after = f", rank {plan.rank}"
        case Narrow():
            after = f" to {plan.width} neurons"
        case _:
            after = ""
    return f"{plan.method[:1].upper()}{plan.method[1:]} {layers_in_words(plan)}{after}"


def layers_in_words(plan: Plan) -> str:
    """Where a plan changes something: "encoder 3–4", one group after another; or "none"."""
    match plan:
        case MergePlan():
            return " and ".join(short(group) for group in plan.groups) or "none"
        case DropLayers():
            return short(plan.layers)
        case _:
            return short(plan.sublayers)


def short(names: Sequence[str]) -> str:
    """("encoder.3", "encoder.4", "decoder.7") -> "encoder 3–4 and decoder 7"."""
    by_stack: dict[str, list[int]] = {}
    for name in names:
        stack, index = name.rsplit(".", 1)
        by_stack.setdefault(stack, []).append(int(index))
    return " and ".join(f"{stack} {_ranges(indices)}" for stack, indices in by_stack.items())


def stack_of(name: str) -> str:
    """ "encoder" of "encoder.3"."""
    return name.rpartition(".")[0]


def _ranges(indices: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)

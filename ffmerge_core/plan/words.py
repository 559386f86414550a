"""Plans of every kind, said in words."""

from __future__ import annotations

from collections.abc import Sequence

from ffmerge_core.plan.merge import MergePlan
from ffmerge_core.plan.methods import Plan


def plan_in_words(plan: Plan) -> str:
    """What a run is called at first: "Permute encoder 3–4, anchor first"."""
    if not plan.names:
        return "Original, nothing merged"
    return f"{plan.record.label} {layers_in_words(plan)}{plan.detail}"


def layers_in_words(plan: Plan) -> str:
    """Where a plan changes something: "encoder 3–4", one group after another; or "none"."""
    if isinstance(plan, MergePlan):
        return " and ".join(short(group) for group in plan.groups) or "none"
    return short(plan.names)


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

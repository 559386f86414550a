"""What is tried on a demo, as values: every experiment is a recipe with a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from ffmerge_core.plan import (
    ANCHORS,
    NOTHING_MERGED,
    Anchor,
    MergePlan,
    Plan,
    Recipe,
    Recovery,
)

Share = Literal["third", "half", "all-but-one"]
# main: the best window by each method. window, anchor: others, permuted, at a third. control:
# the original, tuned or not. int8: both with quantised weights.
Part = Literal["main", "window", "anchor", "control", "int8"]

SHARES: tuple[Share, ...] = get_args(Share)
# What the paper compares; a record's `usual` is another matter, and may change.
TRIED = ("permute", "vanilla", "copy", "layer drop")
TOKENS = 10_000

# One budget a demo, whatever the method. Chosen for the time: about two hours for all three, two
# at a time.
RECOVERIES: Mapping[str, Recovery] = {
    "vit-digits": Recovery(steps=200),
    "gpt2-code": Recovery(steps=50, batch_size=16),
    "marian-en-fr": Recovery(steps=100),
}


@dataclass(frozen=True)
class Scope:
    """How much is tried of a demo. seeds: of calibration and of tuning, at a third; elsewhere
    the first of them alone."""

    demo: str
    recovery: Recovery
    shares: tuple[Share, ...] = SHARES
    seeds: tuple[int, ...] = (0, 1, 2)
    others: bool = True
    tokens: int = TOKENS

    @property
    def source(self) -> str:
        return f"demo:{self.demo}"

    def seeds_at(self, share: Share) -> tuple[int, ...]:
        return self.seeds if share == "third" else self.seeds[:1]


def full(demo: str) -> Scope:
    return Scope(demo, RECOVERIES[demo])


def quick(demo: str) -> Scope:
    """Enough to see that every part works, and too little to conclude from."""
    return Scope(
        demo,
        Recovery(steps=10, batch_size=RECOVERIES[demo].batch_size),
        shares=("third",),
        seeds=(0,),
        others=False,
        tokens=2_000,
    )


@dataclass(frozen=True)
class Experiment:
    """One recipe, and what it is for.

    share: None for the control. variant: which window or anchor, where that is what is tried.
    """

    part: Part
    method: str
    share: Share | None
    variant: str | None
    recipe: Recipe = field(repr=False)

    @property
    def tuned(self) -> bool:
        return self.recipe.recovery is not None

    @property
    def name(self) -> str:
        """Of its file: "third-permute-tuned-1"; the same for the same trial of a demo."""
        parts = (self.share, self.method, self.variant, "tuned" if self.tuned else "untuned")
        said = "-".join(part for part in parts if part).replace(" ", "-").replace("–", "-")
        return f"{said}-{self.recipe.seed}"

    def to_dict(self) -> dict[str, Any]:
        """Without the recipe, which a result holds with its revisions."""
        names = (each.name for each in fields(self) if each.name != "recipe")
        values = {name: getattr(self, name) for name in names}
        return {**values, "tuned": self.tuned, "seed": self.recipe.seed}


def to_remove(share: Share, stacks: Mapping[str, Sequence[object]]) -> int:
    """FF sublayers to remove, equally many of each stack. stacks: name → its sublayers."""
    shortest = min(len(each) for each in stacks.values())
    each = {"third": shortest // 3, "half": shortest // 2, "all-but-one": shortest - 1}[share]
    return each * len(stacks)


def best_plan(rows: Sequence[Mapping[str, Any]], method: str) -> Mapping[str, Any]:
    """The row of the lowest validation loss. rows: of a search, the best first."""
    return next(row for row in rows if row["method"] == method)


def other_windows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Two windows by permute beside the best: the first and the last, or the middle for either."""
    mine = sorted((row for row in rows if row["method"] == "permute"), key=lambda row: row["start"])
    best = best_plan(rows, "permute")
    wanted = (mine[0], mine[-1], mine[len(mine) // 2])
    return [row for row in wanted if row is not best][:2]


def control(scope: Scope) -> Iterator[Experiment]:
    """The original as it is, and tuned as long as the others are: what tuning alone gains."""
    yield _experiment(scope, NOTHING_MERGED, "control", "original", tuned=False)
    for seed in scope.seeds:
        yield _experiment(scope, NOTHING_MERGED, "control", "original", seed=seed)


def by_method(
    scope: Scope, share: Share, plans: Mapping[str, Plan], *, tuned: bool
) -> Iterator[Experiment]:
    """Each method's best window. plans: method → its plan. Without a draw, one seed says all."""
    for method, plan in plans.items():
        drawn = tuned or plan.needs_features
        for seed in scope.seeds_at(share) if drawn else scope.seeds[:1]:
            yield _experiment(scope, plan, "main", method, share, seed=seed, tuned=tuned)


def by_choice(
    scope: Scope, windows: Sequence[tuple[str, MergePlan]], best: MergePlan
) -> Iterator[Experiment]:
    """At a third: other windows, then the best window's other anchors, before and after tuning."""
    anchors = [anchor for anchor in ANCHORS if anchor != best.anchor]
    tried: list[tuple[Part, str, MergePlan]] = [
        *(("window", f"window {layers}", plan) for layers, plan in windows),
        *(("anchor", f"anchor {anchor}", _anchored(best, anchor)) for anchor in anchors),
    ]
    for part, variant, plan in tried:
        for tuned in (False, True):
            yield _experiment(scope, plan, part, "permute", "third", variant, tuned=tuned)


def rounded(scope: Scope, best: MergePlan) -> Iterator[Experiment]:
    """int8 on top of the original and of a third merged and tuned: beside the same without."""
    sides: list[tuple[MergePlan, str, Share | None]] = [
        (NOTHING_MERGED, "original", None),
        (best, "permute", "third"),
    ]
    for plan, method, share in sides:
        for tuned in (False, True):
            one = _experiment(scope, plan, "int8", method, share, "int8", tuned=tuned)
            yield replace(one, recipe=replace(one.recipe, quantize="int8"))


def _anchored(plan: MergePlan, anchor: Anchor) -> MergePlan:
    return MergePlan(plan.groups, plan.method, anchor)


def _experiment(
    scope: Scope,
    plan: Plan,
    part: Part,
    method: str,
    share: Share | None = None,
    variant: str | None = None,
    *,
    seed: int = 0,
    tuned: bool = True,
) -> Experiment:
    recovery = scope.recovery if tuned else None
    recipe = Recipe(scope.source, plan, tokens=scope.tokens, seed=seed, recovery=recovery)
    return Experiment(part, method, share, variant, recipe)

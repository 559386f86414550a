"""A tab's state as a recipe, and a recipe put back into a tab.

Both ways stand here, so that no field is lost on one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard, cast

from ffmerge_core.errors import PlanError
from ffmerge_core.plan import Anchor, MergePlan, Plan, Recipe
from pages._ui.state.subject import Subject
from pages._ui.state.workspace import Workspace

if TYPE_CHECKING:
    from pages._ui.state.workspace_state import State

# The largest that a number on a page can be.
LARGEST_SEED = 2**53 - 1


def can_restore(plan: Plan) -> TypeGuard[MergePlan]:
    """Whether the Merge page can make this plan: one that merges groups."""
    return isinstance(plan, MergePlan) and bool(plan.groups)


def check_restorable(recipe: Recipe) -> MergePlan:
    """The plan of a recipe that a tab can take; `PlanError` for another."""
    plan = recipe.plan
    if not can_restore(plan):
        raise PlanError(
            "This recipe's plan does not merge groups, and the pages can show only plans that do. "
            "Carry it out on the command line: ffmerge run."
        )
    for what, seed in (("seed", recipe.seed), ("plan's seed", plan.seed)):
        if seed > LARGEST_SEED:
            raise PlanError(
                f"This recipe's {what} is {seed}, and the pages can show seeds below 2^53 only. "
                "Carry it out on the command line: ffmerge run."
            )
    return plan


def restore(workspace: Workspace, recipe: Recipe, subject: Subject) -> None:
    """Turn a tab to a recipe's model, with its groups and choices; `PlanError` if it cannot be.

    Revisions are not checked here, and a recovery is the Recover page's.
    """
    plan = check_restorable(recipe)
    plan.check(subject.sublayers)
    workspace.open(subject.opened)
    restore_plan(workspace, plan, subject)
    workspace.choose(tokens=recipe.tokens, seed=recipe.seed, quantize=recipe.quantize or "")


def restore_plan(workspace: Workspace, plan: MergePlan, subject: Subject) -> None:
    """Make a plan of the model that is open the one of this tab, its other choices left."""
    workspace.set_groups(plan.groups, subject.sublayers)
    workspace.choose(
        method=plan.method, anchor=plan.anchor, plan_seed=plan.seed, repair=plan.repair or ""
    )


def recipe_of(state: State) -> Recipe:
    """What the Merge page runs: the picked groups by the tab's choices, on what is open."""
    opened, chosen = state.opened, state.settings
    assert opened is not None, "a page opens a model before it offers a merge"
    plan = MergePlan(
        state.picked.groups,
        method=chosen.method,
        anchor=cast(Anchor, chosen.anchor),
        seed=chosen.plan_seed,
        repair=chosen.repair or None,
    )
    return Recipe(
        source=opened.source,
        plan=plan,
        data=opened.data,
        fidelity=opened.fidelity,
        tokenize=opened.tokenize,
        allow_bin=opened.allow_bin,
        tokens=chosen.tokens,
        seed=chosen.seed,
        quantize=chosen.quantize or None,
    )

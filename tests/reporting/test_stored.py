"""What a stored recipe is of, whatever version stored it."""

from __future__ import annotations

import pytest

from ffmerge_core.plan import (
    NOTHING_MERGED,
    DropFF,
    MergePlan,
    Plan,
    Quantization,
    Recipe,
    Recovery,
)
from ffmerge_core.reporting.stored import (
    is_merge,
    is_original,
    made,
    method_of,
    recovery_steps,
    ties_only,
)

MERGE = MergePlan((("encoder.0", "encoder.1"),), method="copy")
DROP = DropFF(("encoder.0",))
TUNED = Recovery(200)


@pytest.mark.parametrize(
    ("plan", "recovery", "quantize", "method", "name", "same_work"),
    [
        (MERGE, None, None, "copy", "Merged", True),
        (MERGE, TUNED, "int8", "copy", "Merged", False),
        (DROP, None, None, "FF drop", "Reduced", False),
        (DROP, TUNED, None, "FF drop", "Reduced", False),
        (NOTHING_MERGED, TUNED, "int8", "original", "Fine-tuned", False),
        (NOTHING_MERGED, None, "llm.int8", "original", "Quantised", False),
        (NOTHING_MERGED, None, None, "original", "Unchanged", True),
    ],
)
def test_a_recipe_is_asked_what_it_made_and_how(
    plan: Plan,
    recovery: Recovery | None,
    quantize: Quantization | None,
    method: str,
    name: str,
    same_work: bool,
) -> None:
    recipe = Recipe("a model", plan, recovery=recovery, quantize=quantize).to_dict()
    assert (method_of(recipe), made(recipe), ties_only(recipe)) == (method, name, same_work)
    assert is_merge(recipe) == isinstance(plan, MergePlan)
    assert is_original(recipe) == (plan == NOTHING_MERGED)


def test_what_the_first_version_stored_is_a_merge() -> None:
    recipe = {"plan": {"groups": [["encoder.0", "encoder.1"]], "method": "permute"}}
    assert is_merge(recipe)
    assert not is_original(recipe)
    assert (method_of(recipe), made(recipe), recovery_steps(recipe)) == ("permute", "Merged", None)


def test_a_plan_of_another_version_has_no_method_that_is_known() -> None:
    assert method_of({"plan": {"kind": "fold"}}) is None
    assert method_of({}) is None


def test_a_recovery_that_was_cancelled_had_as_many_steps_as_it_came_to() -> None:
    recipe = Recipe("a model", MERGE, recovery=TUNED).to_dict()
    assert recovery_steps(recipe) == 200
    stopped = Recipe("a model", MERGE, recovery=Recovery(200, until=0)).to_dict()
    assert recovery_steps(stopped) == 0

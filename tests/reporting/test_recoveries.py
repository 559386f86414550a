"""What runs are called at first."""

from __future__ import annotations

import pytest

from ffmerge_core.plan import NOTHING_MERGED, DropLayers, MergePlan, Plan, Recipe, Recovery
from ffmerge_core.reporting.recoveries import name_of
from ffmerge_core.reporting.runs import LONGEST_NAME


@pytest.mark.parametrize(
    ("plan", "recovery", "quantize", "name"),
    [
        (MergePlan((("a.1", "a.2"),)), None, None, "Permute a 1–2, anchor first"),
        (DropLayers(("a.1",)), Recovery(), None, "Layer drop a 1, recovered"),
        (NOTHING_MERGED, Recovery(), None, "Original, nothing merged, recovered"),
        (NOTHING_MERGED, Recovery(), "int8", "Original, nothing merged, recovered, int8"),
        (NOTHING_MERGED, None, "int8", "Original, nothing merged, int8"),
    ],
)
def test_a_name_says_the_plan_and_what_came_after_it(
    plan: Plan, recovery: Recovery | None, quantize: str | None, name: str
) -> None:
    recipe = Recipe("a model", plan, recovery=recovery, quantize=quantize)  # type: ignore[arg-type]
    assert name_of(recipe) == name


def test_a_long_plan_is_cut_and_what_came_after_it_stays() -> None:
    pairs = tuple((f"decoder.{i}", f"decoder.{i + 1}") for i in range(0, 36, 2))
    recipe = Recipe("a model", MergePlan(pairs), recovery=Recovery(), quantize="int8")
    assert len(name_of(recipe)) == LONGEST_NAME
    assert name_of(recipe).endswith(", recovered, int8")

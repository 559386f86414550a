"""What is tried, as values: no model is needed to say it."""

from dataclasses import replace

import pytest

from ffmerge_core import demos
from ffmerge_core.plan import DropLayers, MergePlan, Recipe
from ffmerge_core.reproduction.experiments import (
    RECOVERIES,
    SHARES,
    TRIED,
    Experiment,
    by_choice,
    by_method,
    control,
    full,
    other_windows,
    rounded,
    to_remove,
)

BEST = MergePlan((("encoder.4", "encoder.5", "encoder.6"),))
PLANS = {
    method: DropLayers(("encoder.1",)) if method == "layer drop" else replace(BEST, method=method)
    for method in TRIED
}
OTHERS = [
    ("encoder 0–2", MergePlan((("encoder.0", "encoder.1", "encoder.2"),))),
    ("encoder 9–11", MergePlan((("encoder.9", "encoder.10", "encoder.11"),))),
]


def everything(demo: str = "vit-digits") -> list[Experiment]:
    scope = full(demo)
    return [
        *control(scope),
        *(
            each
            for share in SHARES
            for tuned in (False, True)
            for each in by_method(scope, share, PLANS, tuned=tuned)
        ),
        *rounded(scope, BEST),
        *by_choice(scope, OTHERS, BEST),
    ]


def test_every_demo_has_a_budget() -> None:
    assert set(RECOVERIES) == set(demos.names())


def test_the_budget_is_the_same_for_all() -> None:
    for demo in RECOVERIES:
        tuned = [each for each in everything(demo) if each.tuned]
        assert {each.recipe.recovery for each in tuned} == {RECOVERIES[demo]}


def test_each_has_a_file_of_its_own() -> None:
    tried = everything()
    assert len({each.name for each in tried}) == len(tried)


def test_recipes_can_be_stored() -> None:
    for each in everything():
        assert Recipe.from_dict(each.recipe.to_dict()) == each.recipe


def test_three_seeds_at_a_third_and_one_elsewhere() -> None:
    tuned = [each for each in everything() if each.part == "main" and each.tuned]
    for method in TRIED:
        for share, seeds in (("third", [0, 1, 2]), ("half", [0]), ("all-but-one", [0])):
            mine = [e for e in tuned if (e.method, e.share) == (method, share)]
            assert [each.recipe.seed for each in mine] == seeds


def test_what_draws_nothing_is_tried_once() -> None:
    plain = [
        each for each in everything()
        if (each.part, each.share, each.tuned) == ("main", "third", False)
    ]  # fmt: skip
    seeds = {m: [e.recipe.seed for e in plain if e.method == m] for m in TRIED}
    assert seeds == {"permute": [0, 1, 2], "vanilla": [0], "copy": [0], "layer drop": [0]}


@pytest.mark.parametrize(
    ("depths", "removed"),
    [({"encoder": 12}, (4, 6, 11)), ({"encoder": 6, "decoder": 6}, (4, 6, 10))],
)
def test_stacks_give_equal_shares(depths: dict[str, int], removed: tuple[int, ...]) -> None:
    stacks = {name: range(depth) for name, depth in depths.items()}
    assert tuple(to_remove(share, stacks) for share in SHARES) == removed


@pytest.mark.parametrize(("best", "others"), [(0, [7, 4]), (3, [0, 7]), (7, [0, 4])])
def test_the_other_windows_are_far_from_one_another(best: int, others: list[int]) -> None:
    rows = [{"method": "permute", "start": start, "loss": start != best} for start in range(8)]
    rows.sort(key=lambda row: row["loss"])
    assert [row["start"] for row in other_windows(rows)] == others

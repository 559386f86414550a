"""Other plans at the parameter count that a merge leaves, their windows chosen on validation."""

from collections.abc import Callable
from itertools import pairwise

import pytest

import ffmerge_core as fm
from ffmerge_core.compression.budget import candidates, unmet
from ffmerge_core.compression.reducing import parameters_left
from ffmerge_core.errors import Cancelled, PlanError
from ffmerge_core.plan import (
    METHODS,
    NOTHING_MERGED,
    DropFF,
    DropLayers,
    Factor,
    MergePlan,
    Narrow,
    plan_in_words,
    rivals,
)
from tests.conftest import noise_task, timm_vit
from tests.models.tiny import marian

PLAN = MergePlan((("encoder.1", "encoder.2", "encoder.3"),))


@pytest.fixture(scope="module")
def model() -> fm.LoadedModel:
    return fm.load(timm_vit(depth=6), task=noise_task())


@pytest.fixture(scope="module")
def left(model: fm.LoadedModel) -> int:
    """What the merge leaves."""
    return fm.apply(model, PLAN, fm.calibrate(model, 30)).n_parameters


def test_every_other_kind_is_there_and_nearest_to_what_the_merge_leaves(
    model: fm.LoadedModel, left: int
) -> None:
    found = candidates(model, PLAN)
    assert tuple(found) == tuple(METHODS)[1:]
    for method in ("vanilla", "copy", "random"):
        assert found[method] == (MergePlan(PLAN.groups, method),)
    assert found["FF drop"] == tuple(
        DropFF((f"encoder.{start}", f"encoder.{start + 1}")) for start in range(5)
    )
    # A layer holds an FF sublayer and attention of nearly as much: one comes nearer than two.
    assert found["layer drop"] == tuple(DropLayers((f"encoder.{start}",)) for start in range(6))
    for kind, step in (("SVD", 6 * 2 * (32 + 128)), ("narrow", 6 * (32 + 32 + 1))):
        (each,) = found[kind]
        assert isinstance(each, Factor | Narrow)
        assert each.sublayers == tuple(sublayer.name for sublayer in model.sublayers)
        # The next rank or width is further off.
        assert abs(parameters_left(model, each) - left) <= step / 2
    assert all(parameters_left(model, each) == left for each in found["FF drop"])


def test_the_window_of_the_lowest_validation_loss_is_chosen(
    model: fm.LoadedModel, left: int
) -> None:
    several = 0
    for budget in (PLAN, left):
        tried, chosen = candidates(model, budget), fm.baselines(model, budget)
        assert chosen.keys() == tried.keys()
        for kind, plans in tried.items():
            if len(plans) == 1:
                assert chosen[kind] == plans[0]
                continue
            several += 1
            losses = {plan: fm.evaluate(fm.apply(model, plan)).loss for plan in plans}
            assert len(set(losses.values())) == len(plans), "a choice between different windows"
            assert losses[chosen[kind]] == min(losses.values())
    assert several == 2 + 5


def test_the_test_split_is_never_read(
    model: fm.LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = []
    evaluate = fm.ImageClassification.evaluate

    def noting(self, model, split, report):
        splits.append(split)
        return evaluate(self, model, split, report)

    monkeypatch.setattr(fm.ImageClassification, "evaluate", noting)
    fm.baselines(model, PLAN)
    assert set(splits) == {"validation"}


def test_a_number_has_merges_of_adjacent_layers_too(model: fm.LoadedModel, left: int) -> None:
    found = candidates(model, left)
    assert tuple(found) == rivals(left) == tuple(METHODS)[1:]
    for method in ("vanilla", "copy", "random"):
        groups = [tuple(f"encoder.{at + i}" for i in range(3)) for at in range(4)]
        assert found[method] == tuple(MergePlan((group,), method) for group in groups)


def test_a_reduction_is_a_budget_as_well(model: fm.LoadedModel) -> None:
    dropped = DropFF(("encoder.0", "encoder.4"))
    assert rivals(dropped) == ("vanilla", "copy", "random", "layer drop", "SVD", "narrow")
    found = candidates(model, dropped, ["vanilla"])
    assert {parameters_left(model, plan) for plan in found["vanilla"]} == {
        parameters_left(model, dropped)
    }


def test_what_is_counted_is_what_is_left(model: fm.LoadedModel) -> None:
    feats = fm.calibrate(model, tokens=30)
    for plan in fm.baselines(model, model.n_parameters - 4_000).values():
        small = fm.apply(model, plan, feats)
        assert small.n_parameters == parameters_left(model, plan), plan_in_words(plan)
        assert small.n_parameters < model.n_parameters


def test_a_smaller_budget_never_takes_less(model: fm.LoadedModel) -> None:
    budgets = range(model.n_parameters - 1, model.n_parameters - 30_000, -3_000)
    found = [candidates(model, budget) for budget in budgets]
    for kind in tuple(METHODS)[1:]:
        counts = [[parameters_left(model, plan) for plan in each.get(kind, ())] for each in found]
        # A kind that cannot go so low is left out, and stays out.
        assert all(not later or max(later) <= min(one) for one, later in pairwise(counts))
        assert counts[0]


def test_a_kind_that_cannot_go_so_low_is_left_out_and_named(model: fm.LoadedModel) -> None:
    every = sum(sublayer.n_parameters for sublayer in model.sublayers)
    budget = model.n_parameters - every - 1
    assert set(fm.baselines(model, budget)) == {"layer drop"}
    said = unmet(model, budget)
    assert set(said) == set(rivals(budget)) - {"layer drop"}
    assert said["FF drop"] == (
        f"FF drop is left out: it leaves at least {budget + 1:,} parameters, and {budget:,} "
        "were asked for."
    )
    assert unmet(model, PLAN) == {}


def test_kinds_can_be_chosen(model: fm.LoadedModel) -> None:
    assert list(fm.baselines(model, PLAN, ["SVD", "copy"])) == ["copy", "SVD"]
    with pytest.raises(PlanError, match=r"'permute', and so is .* Name one or more of vanilla"):
        fm.baselines(model, PLAN, ["permute"])


def test_both_stacks_give_the_same_windows() -> None:
    model = fm.load(marian())
    groups = (("encoder.0", "encoder.1"), ("decoder.0", "decoder.1"))
    found = candidates(model, MergePlan(groups, "copy"))
    assert DropFF(("encoder.2", "decoder.2")) in found["FF drop"]
    alone = candidates(model, MergePlan(groups[1:], "copy"))
    assert {name for plan in alone["FF drop"] for name in plan.sublayers} == {
        "decoder.0", "decoder.1", "decoder.2",
    }  # fmt: skip
    left = model.n_parameters - MergePlan(groups).parameters_removed(model.sublayers)
    by_number = candidates(model, left, ["vanilla"])["vanilla"]
    assert by_number[0] == MergePlan(groups, "vanilla")
    assert len(by_number) == 2


def test_gated_sublayers_are_factored_but_not_narrowed() -> None:
    from timm.layers import SwiGLU

    model = fm.load(timm_vit(mlp_layer=SwiGLU))
    budget = model.n_parameters - 9_000
    assert set(candidates(model, budget)) == set(rivals(budget)) - {"narrow"}
    assert unmet(model, budget) == {
        "narrow": "Narrow is left out: it needs FF sublayers without a gate or an inner norm."
    }
    with pytest.raises(PlanError, match=r"cannot be reached by narrow.*Ask for another kind"):
        fm.baselines(model, budget, ["narrow"])


def test_sublayers_of_several_widths_are_merged_only_where_they_are_alike() -> None:
    from torch import nn

    module = timm_vit(depth=4)
    wide = module.blocks[3].mlp
    wide.fc1, wide.fc2 = nn.Linear(32, 64), nn.Linear(64, 32)
    model = fm.load(module)
    budget = model.n_parameters - model.sublayers[0].n_parameters
    assert candidates(model, budget, ["copy"])["copy"] == (
        MergePlan((("encoder.0", "encoder.1"),), "copy"),
        MergePlan((("encoder.1", "encoder.2"),), "copy"),
    )


def test_a_single_layer_can_neither_be_merged_nor_left_out() -> None:
    model = fm.load(timm_vit(depth=1))
    budget = model.n_parameters - 1_000
    said = unmet(model, budget)
    assert said["vanilla"].endswith("it needs two FF sublayers of one shape in every stack.")
    assert said["layer drop"].endswith("a stack keeps one layer, and there is no other.")
    assert {"FF drop", "SVD", "narrow"}.isdisjoint(said)


@pytest.mark.parametrize(
    "budget", [lambda model: 10, lambda model: model.n_parameters], ids=["few", "all"]
)
def test_a_budget_that_cannot_be_met_says_what_can(
    model: fm.LoadedModel, budget: Callable[[fm.LoadedModel], int]
) -> None:
    all_but_one = DropLayers(tuple(f"encoder.{index}" for index in range(5)))
    least = fm.apply(model, all_but_one).n_parameters
    asked = budget(model)
    with pytest.raises(PlanError, match=rf"{asked:,} .*{model.n_parameters:,}.*and {least:,}"):
        fm.baselines(model, asked)


def test_what_has_no_baselines_is_refused(model: fm.LoadedModel) -> None:
    with pytest.raises(PlanError, match="already merged or reduced"):
        fm.baselines(fm.apply(model, DropFF(("encoder.0",))), 20_000)
    with pytest.raises(PlanError, match="cannot be reached"):
        fm.baselines(model, NOTHING_MERGED)
    with pytest.raises(PlanError, match=r"encoder\.9 is not an FF sublayer"):
        fm.baselines(model, MergePlan((("encoder.0", "encoder.9"),)))


def test_progress_rises_to_the_end_and_cancel_stops(model: fm.LoadedModel) -> None:
    told: list[tuple[int, str]] = []

    def report(step, total, message, values=None):
        told.append((step, message))
        if len(told) == 8 and stopping:
            raise Cancelled

    stopping = False
    fm.baselines(model, PLAN, report=report)
    steps = [step for step, _ in told]
    assert steps == sorted(steps)
    assert steps[-1] == 1000
    assert told[0][1].startswith("Choosing the window, layer drop encoder 0: ")
    told.clear()
    stopping = True
    with pytest.raises(Cancelled):
        fm.baselines(model, PLAN, report=report)
    assert len(told) == 8


def test_one_name_where_several_may_stand_is_told(model: fm.LoadedModel) -> None:
    with pytest.raises(fm.PlanError, match=r"kinds is 'SVD'; it must be a list.* \['SVD'\]"):
        fm.baselines(model, 1, "SVD")

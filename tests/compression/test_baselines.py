"""Other plans at the parameter count that a merge leaves."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from torch import nn

import ffmerge_core as fm
from ffmerge_core.compression.baselines import at_budget, baselines
from ffmerge_core.compression.reducing import parameters_left
from ffmerge_core.errors import PlanError
from ffmerge_core.plan import DropFF, DropLayers, Factor, MergePlan, Narrow, plan_in_words
from tests.conftest import timm_vit
from tests.models.tiny import NoiseTask, gpt2, marian


def six_layers() -> nn.Module:
    return gpt2(depth=6)


GROUPS = {"decoder": (("decoder.1", "decoder.2", "decoder.3"),)}


@pytest.fixture
def model() -> fm.LoadedModel:
    module = six_layers()
    return fm.load(module, task=NoiseTask(module))


def test_every_kind_is_there_and_nearest_to_what_the_merge_leaves(model: fm.LoadedModel) -> None:
    plan = MergePlan(GROUPS["decoder"])
    left, one = fm.apply(model, plan, fm.calibrate(model, 30)).n_parameters, model.sublayers[0]
    found = baselines(model, plan)
    assert [each.method for each in found[:3]] == ["vanilla", "copy", "random"]
    assert [each for each in found if isinstance(each, DropFF)] == [
        DropFF((f"decoder.{start}", f"decoder.{start + 1}")) for start in range(5)
    ]
    # A layer holds an FF sublayer and attention of nearly as much: one comes nearer than two.
    assert [each for each in found if isinstance(each, DropLayers)] == [
        DropLayers((f"decoder.{start}",)) for start in range(6)
    ]
    for kind, step in ((Factor, 6 * 2 * (32 + 48)), (Narrow, 6 * (32 + 32 + 1))):
        (each,) = (each for each in found if isinstance(each, kind))
        assert each.sublayers == tuple(sublayer.name for sublayer in model.sublayers)
        # The next rank or width is further off.
        assert abs(parameters_left(model, each) - left) <= step / 2
    assert all(
        parameters_left(model, each) == model.n_parameters - 2 * one.n_parameters
        for each in found
        if isinstance(each, DropFF)
    )


def test_what_is_counted_is_what_is_left(model: fm.LoadedModel) -> None:
    feats = fm.calibrate(model, tokens=30)
    for plan in at_budget(model, model.n_parameters - 4_000):
        small = fm.apply(model, plan, feats)
        assert small.n_parameters == parameters_left(model, plan), plan_in_words(plan)
        assert small.n_parameters < model.n_parameters


def test_a_smaller_budget_never_takes_less(model: fm.LoadedModel) -> None:
    budgets = range(model.n_parameters - 1, model.n_parameters - 30_000, -3_000)
    for kind in (DropLayers, DropFF, Factor, Narrow):
        counts = [
            [parameters_left(model, plan) for plan in at_budget(model, n) if type(plan) is kind]
            for n in budgets
        ]
        # A kind that cannot go so low is left out, and stays out.
        assert all(not later or max(later) <= min(one) for one, later in pairwise(counts))
        assert counts[0]


def test_a_kind_that_cannot_go_so_low_is_left_out(model: fm.LoadedModel) -> None:
    every = sum(sublayer.n_parameters for sublayer in model.sublayers)
    found = {type(plan) for plan in at_budget(model, model.n_parameters - every - 1)}
    assert found == {DropLayers}


def test_both_stacks_give_the_same_windows() -> None:
    model = fm.load(marian())
    groups = (("encoder.0", "encoder.1"), ("decoder.0", "decoder.1"))
    found = baselines(model, MergePlan(groups, "copy"))
    assert DropFF(("encoder.2", "decoder.2")) in found
    alone = baselines(model, MergePlan(groups[1:], "copy"))
    named = {name for plan in alone if isinstance(plan, DropFF) for name in plan.sublayers}
    assert named == {"decoder.0", "decoder.1", "decoder.2"}


def test_gated_sublayers_are_factored_but_not_narrowed() -> None:
    from timm.layers import SwiGLU

    model = fm.load(timm_vit(mlp_layer=SwiGLU))
    kinds = {type(plan) for plan in at_budget(model, model.n_parameters - 9_000)}
    assert kinds == {DropLayers, DropFF, Factor}


@pytest.mark.parametrize(
    "budget", [lambda model: 10, lambda model: model.n_parameters], ids=["few", "all"]
)
def test_a_budget_that_cannot_be_met_says_what_can(
    model: fm.LoadedModel, budget: Callable[[fm.LoadedModel], int]
) -> None:
    all_but_one = DropLayers(tuple(f"decoder.{index}" for index in range(5)))
    least = fm.apply(model, all_but_one).n_parameters
    with pytest.raises(PlanError, match=rf"has {model.n_parameters:,}.*leaves {least:,}"):
        at_budget(model, budget(model))


def test_what_has_no_baselines_is_refused(model: fm.LoadedModel) -> None:
    with pytest.raises(PlanError, match="no stack 'encoder'; this model has decoder"):
        at_budget(model, 20_000, ("encoder",))
    with pytest.raises(PlanError, match="already merged or reduced"):
        at_budget(fm.apply(model, DropFF(("decoder.0",))), 20_000)

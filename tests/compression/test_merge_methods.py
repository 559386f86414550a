"""What each method puts in the place of a group, to the last digit."""

from __future__ import annotations

import pytest
import torch

import ffmerge_core as fm
from ffmerge_core.models.structure import weights_by_role
from tests.conftest import noise_task, timm_vit
from tests.models.tiny import marian


def shared(model: fm.LoadedModel, plan: fm.MergePlan, name: str) -> dict[str, torch.Tensor]:
    by_name = {sublayer.name: sublayer for sublayer in model.sublayers}
    return weights_by_role(fm.apply(model, plan).model, by_name[name])


@pytest.fixture
def translator() -> fm.LoadedModel:
    return fm.load(marian())


def test_groups_of_one_index_in_two_stacks_are_drawn_apart(translator: fm.LoadedModel) -> None:
    groups = (("encoder.0", "encoder.1"), ("decoder.0", "decoder.1"))
    plan = fm.MergePlan(groups, method="random")
    for role in ("in.weight", "out.weight"):
        one, other = (shared(translator, plan, group[0])[role] for group in groups)
        noise = [(each - each.mean()) / each.std() for each in (one, other)]
        assert not torch.allclose(*noise, atol=0.1)


def test_a_draw_does_not_depend_on_the_order_of_groups(translator: fm.LoadedModel) -> None:
    groups = (("encoder.0", "encoder.1"), ("decoder.0", "decoder.1"))
    for group in groups:
        one, other = (
            shared(translator, fm.MergePlan(each, method="random", seed=5), group[0])
            for each in (groups, groups[::-1])
        )
        assert all(torch.equal(one[role], other[role]) for role in one)


@pytest.mark.parametrize("start", [0, 1])
def test_a_draw_of_the_first_stack_is_as_it_was_in_older_recipes(start: int) -> None:
    model = fm.load(timm_vit(), task=noise_task())
    members = [weights_by_role(model.model, each) for each in model.sublayers[start : start + 2]]
    group = (f"encoder.{start}", f"encoder.{start + 1}")
    found = shared(model, fm.MergePlan((group,), method="random", seed=3), group[0])
    generator = torch.Generator().manual_seed(1009 * 3 + start)
    for role, tensor in members[0].items():
        every = torch.stack([weights[role] for weights in members]).double()
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        assert torch.equal(found[role], (every.mean() + every.std() * noise).float())


def test_a_forgotten_bracket_is_told_with_what_was_meant() -> None:
    with pytest.raises(fm.PlanError) as refused:
        fm.MergePlan(groups=("encoder.1", "encoder.2"))  # type: ignore[arg-type]
    assert str(refused.value) == (
        "groups holds the names encoder.1, encoder.2, where groups of names were expected. "
        'Put each group in brackets of its own: groups=(("encoder.1", "encoder.2"),).'
    )
    with pytest.raises(fm.PlanError, match="a list of groups of names was expected"):
        fm.MergePlan(groups="encoder.1")  # type: ignore[arg-type]


def test_the_middle_of_an_even_group_is_the_earlier_one() -> None:
    plan = fm.MergePlan((("encoder.0", "encoder.1"),), method="copy", anchor="middle")
    assert plan.anchor_of(("encoder.0", "encoder.1")) == "encoder.0"
    assert plan.anchor_of(("encoder.0", "encoder.1", "encoder.2")) == "encoder.1"
    assert plan.anchor_of(tuple("abcd")) == "b"

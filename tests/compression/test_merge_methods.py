"""What each method puts in the place of a group, to the last digit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import nn

import ffmerge_core as fm
from ffmerge_core.compression.merge_methods import average, random_draw
from ffmerge_core.models.structure import set_weights, weights_by_role
from tests.conftest import noise_task, timm_vit
from tests.models.tiny import NoiseTask, gpt2, marian


def shared(model: fm.LoadedModel, plan: fm.MergePlan, name: str) -> dict[str, torch.Tensor]:
    by_name = {sublayer.name: sublayer for sublayer in model.sublayers}
    return weights_by_role(fm.apply(model, plan).model, by_name[name])


@pytest.fixture
def translator() -> fm.LoadedModel:
    return fm.load(marian())


THREE = (3.3, 1.0, 1.5)
MEAN = 1.9333333


def group_of(k: int, dtype: torch.dtype = torch.float32) -> fm.Group:
    model = fm.load(timm_vit(depth=k))
    members = model.sublayers
    return fm.Group(model.model.to(dtype), members, members[0], stack=0, seed=0, feats=None)


def test_the_average_is_taken_in_fp64() -> None:
    """In fp32 the mean of these three is another number, in whichever order they are summed."""
    for one, two, three in permutations(torch.tensor(THREE)):
        assert (one + two + three) / 3 != torch.tensor(MEAN)
        assert one / 3 + two / 3 + three / 3 != torch.tensor(MEAN)
    group = group_of(3)
    with torch.no_grad():
        for member, value in zip(group.members, THREE, strict=True):
            for tensor in group.weights(member).values():
                tensor.fill_(value)
    for tensor in average(group).values():
        assert torch.equal(tensor, torch.full_like(tensor, MEAN))


@pytest.mark.parametrize("k", [3, 5, 7])
def test_the_average_of_equal_sublayers_is_each_of_them_bit_for_bit(k: int) -> None:
    group = group_of(k)
    first = group.weights(group.anchor)
    for member in group.members[1:]:
        set_weights(group.model, member, {r: first[r].detach().clone() for r in first})
    found = average(group)
    assert all(torch.equal(found[role], first[role]) for role in first)


@pytest.mark.parametrize("build", [timm_vit, gpt2])
def test_neurons_are_aligned_whichever_way_the_matrices_lie(build: Callable[[], nn.Module]) -> None:
    module = build()
    model = fm.load(module, task=NoiseTask(module))  # type: ignore[arg-type]
    anchor, member = model.sublayers[:2]
    feats = fm.calibrate(model, tokens=100)
    group = fm.Group(model.model, (anchor, member), anchor, stack=0, seed=0, feats=feats)
    order = feats.match(anchor.name, member.name).permutation
    own, found = group.weights(member), group.aligned(member)
    # Of GPT-2 they are (inputs, outputs).
    neurons = {"in.weight": int(member.transposed), "out.weight": 1 - int(member.transposed)}
    for role, axis in neurons.items():
        assert torch.equal(found[role], own[role].index_select(axis, order))
    assert torch.equal(found["in.bias"], own["in.bias"][order])
    assert torch.equal(found["out.bias"], own["out.bias"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_group_becomes_has_the_precision_of_its_members(dtype: torch.dtype) -> None:
    group = group_of(2, dtype)
    for method in (average, random_draw):
        assert {tensor.dtype for tensor in method(group).values()} == {dtype}


@pytest.mark.parametrize(
    "groups",
    [
        (("encoder.0", "encoder.1"), ("decoder.0", "decoder.1")),
        (("encoder.0", "encoder.1"), ("encoder.1", "encoder.2")),
    ],
)
def test_groups_of_another_stack_or_first_index_are_drawn_apart(
    translator: fm.LoadedModel, groups: tuple[tuple[str, str], ...]
) -> None:
    plans = [fm.MergePlan((group,), method="random") for group in groups]
    for role in ("in.weight", "out.weight"):
        one, other = (shared(translator, plan, plan.names[0])[role] for plan in plans)
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


@pytest.mark.parametrize("seed", [0, 3, 2**63 - 1])
def test_a_draw_of_the_second_stack_is_as_it_was_in_older_recipes(
    translator: fm.LoadedModel, seed: int
) -> None:
    group = ("decoder.1", "decoder.2")
    found = shared(translator, fm.MergePlan((group,), method="random", seed=seed), group[0])
    # torch's generator hears the lowest 32 bits.
    generator = torch.Generator().manual_seed((1009 * seed + 1 + 2_654_435_761) % 2**32)
    own = found["in.weight"].double()
    noise = torch.randn(own.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close((own - own.mean()) / own.std(), (noise - noise.mean()) / noise.std())


def test_a_forgotten_bracket_is_told_with_what_was_meant() -> None:
    with pytest.raises(fm.PlanError) as refused:
        fm.MergePlan(groups=("encoder.1", "encoder.2"))  # type: ignore[arg-type]
    assert str(refused.value) == (
        "groups holds the names encoder.1, encoder.2, where groups of names were expected. "
        'Put each group in brackets of its own: groups=(("encoder.1", "encoder.2"),).'
    )
    for lone in ((("encoder.1", "encoder.2"), "encoder.3"), ("encoder.3",)):
        with pytest.raises(fm.PlanError, match="A group of one has a comma"):
            fm.MergePlan(groups=lone)  # type: ignore[arg-type]
    with pytest.raises(fm.PlanError, match="a list of groups of names was expected"):
        fm.MergePlan(groups="encoder.1")  # type: ignore[arg-type]


def test_what_is_reduced_already_is_said_so_whatever_the_plan_names() -> None:
    model = fm.load(timm_vit(), task=noise_task())
    reduced = fm.apply(model, fm.DropLayers(("encoder.2",)))
    with pytest.raises(fm.PlanError, match="already merged or reduced"):
        fm.apply(reduced, fm.MergePlan((("encoder.1", "encoder.2"),), method="vanilla"))


def test_the_middle_of_an_even_group_is_the_earlier_one() -> None:
    plan = fm.MergePlan((("encoder.0", "encoder.1"),), method="copy", anchor="middle")
    assert plan.anchor_of(("encoder.0", "encoder.1")) == "encoder.0"
    assert plan.anchor_of(("encoder.0", "encoder.1", "encoder.2")) == "encoder.1"
    assert plan.anchor_of(tuple("abcd")) == "b"

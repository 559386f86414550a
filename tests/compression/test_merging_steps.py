"""What a merge is told, tells and checks on its way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import ffmerge_core as fm
from ffmerge_core.compression.merging import AlignedPair, align, aligned_pairs
from ffmerge_core.errors import PlanError, ProofError
from ffmerge_core.models.structure import set_weights, shared_copy, weights_by_role
from ffmerge_core.plan import METHODS, REPAIRS, DropFF, Merge, MergePlan, Narrow, Repair
from tests.conftest import noise_task, timm_vit
from tests.models.tiny import NoiseTask, marian

GROUPS = (("encoder.1", "encoder.0", "encoder.2"), ("encoder.4", "encoder.3"))
MIDDLE = MergePlan(GROUPS, anchor="middle")
# The middle of two is the earlier one.
PAIRS = [("encoder.1", "encoder.0"), ("encoder.1", "encoder.2"), ("encoder.3", "encoder.4")]


class Told(list[tuple[Any, ...]]):
    """A report that keeps what it is told."""

    def __call__(self, *said: Any) -> None:
        self.append(said)


@pytest.fixture(scope="module")
def five() -> fm.LoadedModel:
    return fm.load(timm_vit(depth=5), task=noise_task())


@pytest.fixture(scope="module")
def feats(five: fm.LoadedModel) -> fm.Features:
    return fm.calibrate(five, tokens=200)


MATCHING = [
    (done, 3, f"Matching the neurons of {name}") for done, (_, name) in enumerate(PAIRS)
] + [(3, 3, "Matched")]


def test_matching_is_told_pair_by_pair_and_done_once(five: fm.LoadedModel) -> None:
    feats, told = fm.calibrate(five, tokens=200), Told()
    align(MIDDLE, feats, told)
    assert told == MATCHING
    assert set(feats._matches) == {tuple(sorted(pair)) for pair in PAIRS}
    told = Told()
    fm.apply(five, MIDDLE, feats, told)
    assert told == [*MATCHING, (1, 1, "Merged")]


@pytest.mark.parametrize("plan", [MergePlan(GROUPS, "vanilla"), DropFF(("encoder.1",))])
def test_a_plan_that_does_not_align_matches_nothing(plan: fm.Plan, feats: fm.Features) -> None:
    told = Told()
    align(plan, feats, told)
    assert not told
    assert aligned_pairs(plan, feats) == ()


def test_pairs_are_those_of_every_anchor_in_layer_order(feats: fm.Features) -> None:
    expected = []
    for anchor, name in PAIRS:
        match = feats.match(anchor, name)
        expected.append(AlignedPair(anchor, name, match.before, match.after))
    assert aligned_pairs(MIDDLE, feats) == tuple(expected)
    assert all(pair.before < pair.after for pair in expected)


def test_a_method_is_given_its_group_in_layer_order_and_its_stack() -> None:
    given: list[fm.Group] = []

    def noted(group: fm.Group) -> dict[str, torch.Tensor]:
        given.append(group)
        return {role: each.clone() for role, each in group.weights(group.anchor).items()}

    module = marian()
    model = fm.load(module, task=NoiseTask(module))  # type: ignore[arg-type]
    feats = fm.calibrate(model, tokens=10)
    record = Merge(name="note", label="Note", help="Notes.", plan=MergePlan, merge=noted)
    with METHODS.registered(record):
        groups = (("decoder.2", "decoder.0", "decoder.1"), ("encoder.1", "encoder.2"))
        plan = MergePlan(groups, method="note", anchor="last", seed=7)
        fm.apply(model, plan)
        fm.apply(model, plan, feats)
    stacks = list(model.stacks)
    for group, (stack, first, n) in zip(
        given, [("decoder", 0, 3), ("encoder", 1, 2)] * 2, strict=True
    ):
        names = [f"{stack}.{index}" for index in range(first, first + n)]
        assert [member.name for member in group.members] == names
        assert group.anchor is group.members[-1]
        assert (group.model, group.stack, group.seed) == (model.model, stacks.index(stack), 7)
    assert [group.feats for group in given] == [None, None, feats, feats]


def test_a_reduction_is_told_as_well_and_takes_the_features(
    five: fm.LoadedModel, feats: fm.Features
) -> None:
    told = Told()
    left = fm.apply(five, Narrow(("encoder.1",), width=7), feats, told)
    assert left.sublayers[1].d_ff == 7
    assert told[-1][:2] == (1, 1)


def test_a_plan_that_does_not_fit_is_refused(five: fm.LoadedModel) -> None:
    with pytest.raises(PlanError, match=r"encoder\.9 is not an FF sublayer"):
        fm.apply(five, MergePlan((("encoder.0", "encoder.9"),), method="vanilla"))


def test_sublayers_that_were_tied_before_save_less(five: fm.LoadedModel) -> None:
    module = shared_copy(five.model)
    size = five.sublayers[0].n_parameters
    three = MergePlan((("encoder.0", "encoder.1", "encoder.2"),), method="vanilla")
    late = fm.load(module)
    set_weights(module, five.sublayers[1], weights_by_role(module, five.sublayers[0]))
    tied = fm.load(module)
    assert tied.n_parameters == five.n_parameters - size
    assert fm.apply(tied, three).n_parameters == tied.n_parameters - size
    # Tied after it was opened, which nobody is told of.
    said = f"holds {tied.n_parameters - size:,} .* {tied.n_parameters - 2 * size:,} were .*tied"
    with pytest.raises(ProofError, match=said):
        fm.apply(late, three)


@pytest.fixture
def repaired() -> Iterator[list[tuple[Any, ...]]]:
    """A repair that keeps what it is given, adds three parameters and says how many it should."""
    given: list[tuple[Any, ...]] = []

    def add(original: fm.LoadedModel, merged: nn.Module, *others: Any) -> int:
        given.append((original, *others))
        merged.register_parameter("scale", nn.Parameter(torch.ones(3)))
        return 3 if others[0].seed == 0 else 4

    record = Repair(
        name="scale", label="Scale", help="Adds.", work=add, needs=frozenset({"features"})
    )
    with REPAIRS.registered(record):
        yield given


def test_what_a_repair_adds_is_counted(
    five: fm.LoadedModel, feats: fm.Features, repaired: list[tuple[Any, ...]]
) -> None:
    plan, told = MergePlan(GROUPS, method="vanilla", repair="scale"), Told()
    assert MergePlan.from_dict(plan.to_dict()) == plan
    assert "repair" not in MergePlan(GROUPS).to_dict()
    merged = fm.apply(five, plan, feats, told)
    assert repaired == [(five, plan, feats, told)]
    assert merged.n_parameters == five.n_parameters - 3 * five.sublayers[0].n_parameters + 3
    with pytest.raises(PlanError, match="needs features"):
        fm.apply(five, plan)
    with pytest.raises(ProofError, match="parameters where"):
        fm.apply(five, MergePlan(GROUPS, method="vanilla", seed=1, repair="scale"), feats)

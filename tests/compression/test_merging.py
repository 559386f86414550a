"""The invariants of merging."""

import pytest
import torch

import ffmerge_core as fm
from ffmerge_core.errors import PlanError
from ffmerge_core.models.structure import (
    fingerprint,
    permute_neurons,
    set_weights,
    shared_copy,
    weights_by_role,
)
from tests.conftest import timm_vit
from tests.models.test_structure import logits

GROUP = ("encoder.0", "encoder.1", "encoder.2")


def images(model: fm.LoadedModel) -> torch.Tensor:
    return model.family.example(model.model).args[0]


@pytest.mark.parametrize("method", ["permute", "vanilla", "copy"])
@pytest.mark.parametrize("anchor", ["first", "middle", "last"])
def test_parameters_are_tied_and_counted(model: fm.LoadedModel, method: str, anchor: str) -> None:
    before = fingerprint(model.model)
    plan = fm.MergePlan((GROUP[:2],), method=method, anchor=anchor)  # type: ignore[arg-type]
    merged = fm.apply(model, plan, fm.calibrate(model, tokens=200))
    first, second, third = (weights_by_role(merged.model, s) for s in model.sublayers)
    assert all(first[role] is second[role] for role in first)
    original = weights_by_role(model.model, model.sublayers[2])
    assert all(third[role] is original[role] for role in third), "untouched tensors are shared"
    assert merged.n_parameters == model.n_parameters - model.sublayers[0].n_parameters
    assert merged.weight_bytes == model.weight_bytes - 4 * model.sublayers[0].n_parameters
    assert merged.plan == plan
    assert fingerprint(model.model) == before, "the original is untouched"


@pytest.mark.parametrize("method", ["vanilla", "copy"])
def test_merging_identical_sublayers_changes_nothing(model: fm.LoadedModel, method: str) -> None:
    module = shared_copy(model.model)
    weights = weights_by_role(module, model.sublayers[0])
    for sublayer in model.sublayers:
        own = {role: tensor.detach().clone() for role, tensor in weights.items()}
        set_weights(module, sublayer, own)
    same = fm.load(module, task=model.task)
    merged = fm.apply(same, fm.MergePlan((GROUP,), method=method))  # type: ignore[arg-type]
    torch.testing.assert_close(logits(merged.model, images(same)), logits(same.model, images(same)))


def still_twins(task: fm.ImageClassification, shuffle: torch.Tensor | None) -> fm.LoadedModel:
    """Three equal blocks that add almost nothing, so that each sees the same tokens.

    shuffle: reorders the second block's neurons, which does not change its function.
    """
    module = timm_vit()
    with torch.no_grad():
        for name, parameter in module.get_submodule("blocks.0").named_parameters():
            if name.startswith(("attn.proj", "mlp.fc2")):
                parameter.mul_(0 if name.endswith("bias") else 1e-4)
            for block in ("blocks.1", "blocks.2"):
                module.get_submodule(block).get_parameter(name).copy_(parameter)
    if shuffle is not None:
        second = fm.load(module).sublayers[1]
        set_weights(module, second, permute_neurons(weights_by_role(module, second), shuffle))
    return fm.load(module, task=task)


def test_permuting_identical_sublayers_changes_nothing(task: fm.ImageClassification) -> None:
    same = still_twins(task, shuffle=None)
    feats = fm.calibrate(same, tokens=1000)
    merged = fm.apply(same, fm.MergePlan((GROUP,)), feats)
    assert torch.equal(
        feats.match("encoder.0", "encoder.2").permutation, torch.arange(same.sublayers[0].d_ff)
    )
    torch.testing.assert_close(logits(merged.model, images(same)), logits(same.model, images(same)))


def test_weights_are_the_mean_of_the_permuted(model: fm.LoadedModel) -> None:
    """Paper: W_in* = mean(W_in_a, P W_in_i), W_out* = mean(W_out_a, W_out_i Pᵀ), b_out plain."""
    feats = fm.calibrate(model, tokens=500)
    merged = fm.apply(model, fm.MergePlan((GROUP,), anchor="middle"), feats)
    own = [weights_by_role(model.model, sublayer) for sublayer in model.sublayers]
    p = [
        torch.eye(model.sublayers[0].d_ff)[feats.match("encoder.1", name).permutation]
        if name != "encoder.1"
        else torch.eye(model.sublayers[0].d_ff)
        for name in GROUP
    ]
    expected = {
        "in.weight": sum(p[i] @ own[i]["in.weight"] for i in range(3)) / 3,
        "in.bias": sum(p[i] @ own[i]["in.bias"] for i in range(3)) / 3,
        "out.weight": sum(own[i]["out.weight"] @ p[i].T for i in range(3)) / 3,
        "out.bias": sum(own[i]["out.bias"] for i in range(3)) / 3,
    }
    found = weights_by_role(merged.model, model.sublayers[0])
    assert found.keys() == expected.keys()
    for role, tensor in expected.items():
        torch.testing.assert_close(found[role], tensor, msg=role)


def test_copy_takes_the_anchor_whole(model: fm.LoadedModel) -> None:
    merged = fm.apply(model, fm.MergePlan((GROUP,), method="copy", anchor="last"))
    last = weights_by_role(model.model, model.sublayers[2])
    found = weights_by_role(merged.model, model.sublayers[0])
    assert all(torch.equal(found[role], last[role]) for role in last)
    assert all(found[role] is not last[role] for role in last)


def test_permuting_undoes_a_shuffle_that_vanilla_cannot(task: fm.ImageClassification) -> None:
    shuffle = torch.randperm(128, generator=torch.Generator().manual_seed(0))
    model = still_twins(task, shuffle)
    feats = fm.calibrate(model, tokens=1000)
    assert torch.equal(feats.match("encoder.0", "encoder.1").permutation, torch.argsort(shuffle))
    original = weights_by_role(model.model, model.sublayers[0])["in.weight"].detach()

    def distance(method: str) -> float:
        plan = fm.MergePlan((GROUP[:2],), method=method)  # type: ignore[arg-type]
        found = weights_by_role(fm.apply(model, plan, feats).model, model.sublayers[0])
        return float((found["in.weight"].detach() - original).norm() / original.norm())

    assert distance("permute") < 1e-6
    assert distance("vanilla") > 0.3


def test_the_order_of_names_in_a_group_does_not_matter(model: fm.LoadedModel) -> None:
    feats = fm.calibrate(model, tokens=300)
    merged = [
        fm.apply(model, fm.MergePlan((group,), anchor="first"), feats)
        for group in (GROUP, GROUP[::-1])
    ]
    assert fingerprint(merged[0].model) == fingerprint(merged[1].model)


def test_what_cannot_be_applied_is_refused(model: fm.LoadedModel) -> None:
    plan = fm.MergePlan((GROUP[:2],))
    with pytest.raises(PlanError, match="needs features"):
        fm.apply(model, plan)
    feats = fm.calibrate(model, tokens=50)
    with pytest.raises(PlanError, match=r"^This model is already merged .* to the original model"):
        fm.apply(fm.apply(model, plan, feats), plan, feats)
    with torch.no_grad():
        weights_by_role(model.model, model.sublayers[0])["in.bias"].add_(1)
    with pytest.raises(PlanError, match=r"^The features .* other weights .* Calibrate the model"):
        fm.apply(fm.load(model.model), plan, feats)


def test_the_tied_gradient_is_the_sum_over_positions(model: fm.LoadedModel) -> None:
    merged = fm.apply(model, fm.MergePlan((GROUP,), method="vanilla"))
    output = merged.model(images(model))
    (output if isinstance(output, torch.Tensor) else output.logits).sum().backward()
    shared = weights_by_role(merged.model, model.sublayers[1])
    # The same function with its three positions untied: the tied gradient is their sum.
    untied = shared_copy(merged.model)
    for sublayer in model.sublayers:
        own = {role: tensor.detach().clone() for role, tensor in shared.items()}
        set_weights(untied, sublayer, {role: torch.nn.Parameter(own[role]) for role in own})
    output = untied(images(model))
    (output if isinstance(output, torch.Tensor) else output.logits).sum().backward()
    for role, parameter in shared.items():
        each = [weights_by_role(untied, sublayer)[role].grad for sublayer in model.sublayers]
        torch.testing.assert_close(parameter.grad, sum(each), rtol=1e-3, atol=1e-3)


def test_random_weights_are_tied_drawn_by_the_seed_and_of_the_members_spread(
    model: fm.LoadedModel,
) -> None:
    plan = fm.MergePlan((GROUP[:2],), method="random", seed=3)
    once, again = (fm.apply(model, plan) for _ in range(2))
    assert fingerprint(once.model) == fingerprint(again.model)
    other = fm.apply(model, fm.MergePlan((GROUP[:2],), method="random", seed=4))
    assert fingerprint(other.model) != fingerprint(once.model)
    first, second, _ = (weights_by_role(once.model, s) for s in model.sublayers)
    own = weights_by_role(model.model, model.sublayers[0])
    for role, tensor in first.items():
        assert second[role] is tensor
        assert not torch.equal(tensor, own[role])
    spread = own["in.weight"].std()
    assert first["in.weight"].std().item() == pytest.approx(spread.item(), rel=0.2)

"""Weights on which the proof has no power, and models on which it cannot run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import ProofError, UnsupportedModelError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.proof import find_and_prove, prove
from ffmerge_core.models.structure import permute_neurons, set_weights, weights_by_role
from ffmerge_core.models.sublayers import Slot
from tests.conftest import timm_vit
from tests.models.tiny import MODELS, NoiseTask, logits

FILLS: dict[str, dict[str, float]] = {
    "W_out of zeros": {"out": 0.0},
    "all of zeros": {"in": 0.0, "out": 0.0},
    "W_in of zeros": {"in": 0.0},
    "neurons that are equal": {"in": 0.1},
}


def filled(module: nn.Module, fill: dict[str, float]) -> tuple[nn.Module, str]:
    """The model with the second FF sublayer's weights so, biases too, and that one's name."""
    sublayer = family_of(module).find(module)[1]
    with torch.no_grad():
        for role, tensor in weights_by_role(module, sublayer).items():
            if (slot := role.split(".")[0]) in fill:
                tensor.fill_(fill[slot])
    return module, sublayer.name


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_weights_without_power_are_proven_by_drawn_ones(
    build: Callable[[], nn.Module], fill: dict[str, float]
) -> None:
    module, name = filled(build(), fill)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    model = fm.load(module)
    assert model.without_power == (name,)
    assert all(torch.equal(before[key], each) for key, each in module.state_dict().items())
    # What the proof says of such neurons: their order does not matter.
    batch, sublayer = model.family.example(module), model.sublayers[1]
    weights = weights_by_role(module, sublayer)
    moved = permute_neurons(weights, torch.randperm(sublayer.d_ff), sublayer.transposed)
    expected = logits(module, batch)
    set_weights(module, sublayer, {role: moved[role] for role in moved if role[:2] == "in"})
    torch.testing.assert_close(logits(module, batch), expected, rtol=1e-4, atol=1e-4)


def test_a_model_with_power_everywhere_says_so() -> None:
    for build in MODELS.values():
        assert fm.load(build()).without_power == ()


@pytest.mark.parametrize("mistake", ["W_in", "W_out", "activation", "norm"])
def test_a_wrong_declaration_of_weights_without_power_is_found(mistake: str) -> None:
    """Zeros look alike wherever they stand; drawn weights do not."""
    module = timm_vit(scale_mlp_norm=True)
    for index in range(3):
        with torch.no_grad():
            for parameter in module.get_submodule(f"blocks.{index}.mlp.fc2").parameters():
                parameter.zero_()
    module.another = nn.ReLU()
    sublayers = list(family_of(module).find(module))
    second = sublayers[1]
    wrong = {
        "W_in": replace(second, w_in=sublayers[2].w_in),
        "W_out": replace(second, w_out=Slot("blocks.2.mlp.fc2")),
        "activation": replace(second, act="torch.nn.functional.relu"),
        "norm": replace(second, norm=None),
    }
    sublayers[1] = wrong[mistake]
    with pytest.raises(ProofError, match=r"encoder\.[12]"):
        prove(module, sublayers, family_of(module).example(module))


@pytest.mark.parametrize("method", ["permute", "vanilla", "copy"])
def test_a_sublayer_of_zeros_merges_with_another(method: str, tmp_path: Path) -> None:
    module, name = filled(MODELS["GPT-2"](), FILLS["W_out of zeros"])
    model = fm.load(module, task=NoiseTask(module))
    feats = fm.calibrate(model, tokens=30)
    plan = fm.MergePlan(((name, "decoder.2"),), method=method)
    merged = fm.apply(model, plan, feats)
    assert merged.n_parameters == model.n_parameters - model.sublayers[1].n_parameters
    assert torch.isfinite(logits(merged.model, model.family.example(module))).all()
    again = fm.load(fm.save(merged, tmp_path / method).folder)
    assert again.n_parameters == merged.n_parameters


def test_an_example_that_cannot_be_made_is_a_sentence() -> None:
    module = timm_vit()
    module.patch_embed = nn.Identity()
    with pytest.raises(UnsupportedModelError, match="VisionTransformer has no convolution"):
        fm.load(module)


def test_a_model_that_does_not_run_is_a_sentence() -> None:
    module = timm_vit()
    module.blocks[1].norm1 = nn.LayerNorm(7)
    with pytest.raises(
        ProofError, match=r"The VisionTransformer cannot be checked: it does not run.*\(Given norm"
    ):
        fm.load(module)


def test_whatever_a_declaration_raises_is_a_sentence() -> None:
    module = timm_vit()
    family = family_of(module)

    def broken(_: nn.Module) -> None:
        raise KeyError("no such part")

    for change, kind, step in (
        ({"find": broken}, UnsupportedModelError, "its FF sublayers could not be listed"),
        ({"example": broken}, ProofError, "no example for it could be made"),
    ):
        with pytest.raises(kind, match=f"VisionTransformer.*{step}.*no such part"):
            find_and_prove(module, replace(family, **change))

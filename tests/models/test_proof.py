"""The proof passes what is declared rightly and fails, by name, what is not."""

from dataclasses import replace

import pytest
import torch
from timm.layers import GluMlp, SwiGLU, SwiGLUPacked

from ffmerge_core.errors import ProofError, UnsupportedModelError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.proof import prove
from ffmerge_core.models.structure import count_parameters
from ffmerge_core.models.sublayers import FFSublayer, Slot
from tests.conftest import timm_vit, transformers_vit

VARIANTS = {
    "plain": {},
    "gated": {"mlp_layer": SwiGLU},
    "gate packed first": {"mlp_layer": SwiGLUPacked},
    "gate packed last": {"mlp_layer": GluMlp},
    "inner norm": {"scale_mlp_norm": True},
    "tiny LayerScale": {"init_values": 1e-5},
    "no biases": {"proj_bias": False},
    "relu": {"act_layer": torch.nn.ReLU},
}


def found(model: torch.nn.Module) -> tuple[FFSublayer, ...]:
    return family_of(model).find(model)


def check(model: torch.nn.Module, sublayers: tuple[FFSublayer, ...]) -> None:
    prove(model, sublayers, family_of(model).example(model))


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_of_timm_vit_is_proven(options: dict[str, object]) -> None:
    model = timm_vit(**options)
    check(model, found(model))


def test_transformers_vit_is_proven() -> None:
    model = transformers_vit()
    check(model, found(model))


def test_the_declared_parameters_are_the_ff_modules_own() -> None:
    model = timm_vit(scale_mlp_norm=True)
    for sublayer in found(model):
        ff = model.get_submodule(f"blocks.{sublayer.index}.mlp")
        assert sublayer.n_parameters == count_parameters(ff)


def wrong_declarations(sublayer: FFSublayer) -> dict[str, FFSublayer]:
    block = f"blocks.{sublayer.index}"
    return {
        "W_in of another block": replace(sublayer, w_in=Slot("blocks.0.mlp.fc1")),
        "attention's matrix as W_out": replace(sublayer, w_out=Slot(f"{block}.attn.proj")),
        "attention's matrix as W_in": replace(sublayer, w_in=Slot(f"{block}.attn.qkv")),
        "another activation": replace(sublayer, activation="relu"),
    }


@pytest.mark.parametrize("mistake", wrong_declarations(found(timm_vit())[1]).keys())
def test_a_wrong_matrix_is_an_error_naming_the_sublayer(mistake: str) -> None:
    model = timm_vit()
    first, second, third = found(model)
    wrong = wrong_declarations(second)[mistake]
    with pytest.raises(ProofError, match=r"encoder\.1"):
        check(model, (first, wrong, third))


def test_a_gate_declared_as_w_in_is_caught() -> None:
    model = timm_vit(mlp_layer=SwiGLUPacked)
    sublayers = list(found(model))
    second = sublayers[1]
    sublayers[1] = replace(second, w_in=second.w_gate, w_gate=second.w_in)
    with pytest.raises(ProofError, match=r"encoder\.1"):
        check(model, tuple(sublayers))


def test_an_inner_norm_left_out_is_caught() -> None:
    model = timm_vit(scale_mlp_norm=True)
    sublayers = list(found(model))
    sublayers[2] = replace(sublayers[2], norm=None)
    with pytest.raises(ProofError, match=r"encoder\.2"):
        check(model, tuple(sublayers))


def test_nan_weights_are_said_to_be_damaged() -> None:
    model = timm_vit()
    with torch.no_grad():
        model.get_submodule("blocks.2.mlp.fc2").weight[0, 0] = float("nan")
    with pytest.raises(ProofError, match=r"encoder\.2.*not finite"):
        check(model, found(model))


def test_the_proof_leaves_no_hook_behind_and_keeps_the_mode() -> None:
    model = timm_vit().train()
    check(model, found(model))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("module", [torch.nn.Linear(2, 2), torch.nn.TransformerDecoderLayer(8, 2)])
def test_an_unknown_family_is_refused_by_name(module: torch.nn.Module) -> None:
    with pytest.raises(UnsupportedModelError, match=f"{type(module).__name__}.*Known families"):
        family_of(module)


def test_an_unknown_activation_and_block_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="Tanh is not known"):
        found(timm_vit(act_layer=torch.nn.Tanh))
    from timm.models.vision_transformer import ParallelScalingBlock

    with pytest.raises(UnsupportedModelError, match=r"no blocks\.0\.mlp"):
        found(timm_vit(block_fn=ParallelScalingBlock))

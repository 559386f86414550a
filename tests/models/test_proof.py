"""The proof passes what is declared rightly and fails, by name, what is not."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from timm.layers import GluMlp, SwiGLU, SwiGLUPacked
from transformers.activations import ACT2FN

from ffmerge_core.errors import PlanError, ProofError, UnsupportedModelError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.proof import prove
from ffmerge_core.models.structure import count_parameters
from ffmerge_core.models.sublayers import FFSublayer, Slot
from ffmerge_core.plan import MergePlan
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
        "another activation": replace(sublayer, act="torch.nn.functional.relu"),
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


ACTIVATIONS = {
    "tanh": torch.nn.Tanh,
    "mish": torch.nn.Mish,
    "hardswish": torch.nn.Hardswish,
    "leakyrelu": lambda: torch.nn.LeakyReLU(0.2),
    "relu²": lambda: ACT2FN["relu2"],
    "clippedgelu": lambda: ACT2FN["gelu_10"],
    "accurategelu": lambda: ACT2FN["gelu_accurate"],
    "laplace": lambda: ACT2FN["laplace"],
    "prelu": torch.nn.PReLU,
}


@pytest.mark.parametrize(("name", "made"), ACTIVATIONS.items())
def test_whatever_module_the_model_holds_is_its_activation(
    name: str, made: Callable[[], torch.nn.Module]
) -> None:
    model = timm_vit(act_layer=made)
    check(model, found(model))
    assert {each.activation for each in found(model)} == {name}


def test_an_activation_that_does_not_treat_all_neurons_alike_is_refused() -> None:
    class Slopes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(x > 0, x, x * torch.linspace(0, 1, x.shape[-1]))

    model = timm_vit(act_layer=Slopes)
    with pytest.raises(ProofError, match=r"encoder\.0: its activation slopes .*all neurons alike"):
        check(model, found(model))


def test_a_group_needs_one_activation_its_settings_and_its_weights() -> None:
    """Of one name, and yet another function: averaged, they would be neither."""
    kinds = {
        "settings": [torch.nn.LeakyReLU(slope) for slope in (0.1, 0.1, 0.2)],
        "weights": [torch.nn.PReLU(init=slope) for slope in (0.1, 0.1, 0.2)],
    }
    for kind, made in kinds.items():
        model = timm_vit()
        for index, activation in enumerate(made):
            model.get_submodule(f"blocks.{index}.mlp").act = activation
        sublayers = found(model)
        check(model, sublayers)
        MergePlan((("encoder.0", "encoder.1"),)).check(sublayers)
        with pytest.raises(PlanError, match=r"encoder\.1 and encoder\.2 are built"):
            MergePlan((("encoder.1", "encoder.2"),)).check(sublayers)
        assert len({each.activation for each in sublayers}) == 1, kind


def test_a_function_may_be_the_activation() -> None:
    """Held by a module, or torch's own."""
    model = timm_vit()
    for index in range(3):
        mlp = model.get_submodule(f"blocks.{index}.mlp")
        del mlp.act
        mlp.act = torch.nn.functional.softplus
    sublayers = found(model)
    check(model, sublayers)
    assert {each.activation for each in sublayers} == {"softplus"}
    named = [replace(each, act="torch.nn.functional.softplus") for each in sublayers]
    check(model, tuple(named))


def test_an_unknown_block_is_refused() -> None:
    from timm.models.vision_transformer import ParallelScalingBlock

    with pytest.raises(UnsupportedModelError, match=r"no blocks\.0\.mlp"):
        found(timm_vit(block_fn=ParallelScalingBlock))


def test_a_packed_matrix_that_is_no_gate_and_up_is_refused() -> None:
    class Interleaved(GluMlp):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            said = self.fc1(x)
            return self.fc2(said[..., ::2] * self.act(said[..., 1::2]))

    model = timm_vit(mlp_layer=GluMlp)
    for index in range(3):
        mlp = model.get_submodule(f"blocks.{index}.mlp")
        mlp.__class__ = type("GluMlp", (Interleaved,), {})
    with pytest.raises(UnsupportedModelError, match=r"blocks\.0\.mlp\.fc1 gives .* neither half"):
        found(model)

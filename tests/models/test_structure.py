"""Invariants of copying, permuting and tying."""

import torch
from timm.layers import SwiGLUPacked

import ffmerge_core as fm
from ffmerge_core.models.families import family_of
from ffmerge_core.models.loaded import anatomy
from ffmerge_core.models.structure import (
    count_parameters,
    fingerprint,
    permute_neurons,
    set_weights,
    shared_copy,
    weights_by_role,
)
from ffmerge_core.models.sublayers import FFSublayer
from tests.conftest import timm_vit


def logits(module: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        output = module(images)
    return output if isinstance(output, torch.Tensor) else output.logits


def test_permuting_alone_keeps_the_logits(model: fm.LoadedModel) -> None:
    images = model.family.example(model.model).args[0]
    permuted = shared_copy(model.model)
    for sublayer in model.sublayers:
        shuffle = torch.randperm(sublayer.d_ff)
        set_weights(
            permuted, sublayer, permute_neurons(weights_by_role(permuted, sublayer), shuffle)
        )
    torch.testing.assert_close(logits(permuted, images), logits(model.model, images))
    assert fingerprint(permuted) != fingerprint(model.model)


def test_permuting_a_packed_gate_keeps_the_logits() -> None:
    module = timm_vit(mlp_layer=SwiGLUPacked)
    images = family_of(module).example(module).args[0]
    before = logits(module, images)
    for sublayer in family_of(module).find(module):
        shuffle = torch.randperm(sublayer.d_ff)
        set_weights(module, sublayer, permute_neurons(weights_by_role(module, sublayer), shuffle))
    torch.testing.assert_close(logits(module, images), before)


def test_a_shared_copy_owns_nothing_and_changing_it_leaves_the_original() -> None:
    module = timm_vit()
    before = fingerprint(module)
    copied = shared_copy(module)
    assert all(a is b for a, b in zip(copied.parameters(), module.parameters(), strict=True))
    sublayer = family_of(module).find(module)[0]
    zeros = {
        role: torch.zeros_like(tensor) for role, tensor in weights_by_role(copied, sublayer).items()
    }
    set_weights(copied, sublayer, zeros)
    assert fingerprint(module) == before
    assert fingerprint(copied) != before


def test_the_anatomy_counts_each_parameter_once(model: fm.LoadedModel) -> None:
    parts = dict(anatomy(model.model, model.family, model.sublayers))
    assert sum(parts.values()) == model.n_parameters == count_parameters(model.model)
    assert parts["FF"] == sum(sublayer.n_parameters for sublayer in model.sublayers)
    assert "other" not in parts


def test_a_sublayer_survives_json(model: fm.LoadedModel) -> None:
    import json

    for sublayer in model.sublayers:
        text = json.dumps(sublayer.to_dict())
        assert FFSublayer.from_dict(json.loads(text)) == sublayer
    packed = family_of(gated := timm_vit(mlp_layer=SwiGLUPacked)).find(gated)[0]
    assert FFSublayer.from_dict(json.loads(json.dumps(packed.to_dict()))) == packed

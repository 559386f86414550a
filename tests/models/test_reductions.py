"""Models with layers dropped, and FF sublayers dropped, factored or narrowed."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import PlanError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.proof import prove, recompute
from ffmerge_core.models.structure import (
    count_parameters,
    fingerprint,
    permute_neurons,
    set_weights,
    shared_copy,
    weights_by_role,
)
from ffmerge_core.plan import DropFF, DropLayers, Factor, Narrow, Plan
from tests.conftest import timm_vit
from tests.models.tiny import MODELS, NoiseTask, gpt2, logits, marian, opt

TEXT: dict[str, Callable[[], nn.Module]] = {"GPT-2": gpt2, "OPT": opt, "Marian": marian}


def swiglu() -> nn.Module:
    from timm.layers import SwiGLU

    return timm_vit(mlp_layer=SwiGLU)


def packed() -> nn.Module:
    from timm.layers import GluMlp

    return timm_vit(mlp_layer=GluMlp)


GATED = {"SwiGLU": swiglu, "packed gate": packed}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> fm.LoadedModel:
    module = MODELS[request.param]()
    return fm.load(module, task=NoiseTask(module))


@pytest.fixture(params=[*MODELS, *GATED])
def any_model(request: pytest.FixtureRequest) -> fm.LoadedModel:
    module = (MODELS | GATED)[request.param]()
    return fm.load(module, task=NoiseTask(module))


def named(model: fm.LoadedModel, *indices: int) -> tuple[str, ...]:
    return tuple(f"{stack}.{index}" for stack in model.stacks for index in indices)


def noise(model: fm.LoadedModel) -> torch.Tensor:
    """What the model returns for a small batch of noise."""
    return logits(model.model, model.family.example(model.model))


def proven(model: fm.LoadedModel) -> None:
    prove(model.model, model.sublayers, model.family.example(model.model))


def by_hand(module: nn.Module, model: fm.LoadedModel, kept: tuple[int, ...]) -> nn.Module:
    """A model of fewer layers built from its configuration, with the weights of `kept`."""
    config = copy.deepcopy(module.config)
    if hasattr(config, "decoder_layers"):
        config.decoder_layers = config.encoder_layers = len(kept)
    else:
        config.num_hidden_layers = len(kept)
    options = {"add_pooling_layer": True} if type(module).__name__ == "ViTModel" else {}
    small = type(module)(config, **options).eval()
    state = module.state_dict()
    lists = {sublayer.block.rpartition(".")[0] for sublayer in model.sublayers}
    for path in lists:
        for name in [name for name in state if name.startswith(f"{path}.")]:
            index, rest = name.removeprefix(f"{path}.").split(".", 1)
            tensor = state.pop(name)
            if int(index) in kept:
                state[f"{path}.{kept.index(int(index))}.{rest}"] = tensor
    small.load_state_dict(state)
    return small


def test_dropping_layers_leaves_a_model_of_the_other_layers(model: fm.LoadedModel) -> None:
    before, module = fingerprint(model.model), model.model
    small = fm.apply(model, DropLayers(named(model, 1)))
    proven(small)
    assert [s.index for s in small.sublayers] == [0, 1] * len(model.stacks)
    assert small.stacks == model.stacks
    blocks = [s.block for s in model.sublayers if s.index == 1]
    gone = sum(count_parameters(module.get_submodule(block)) for block in blocks)
    assert small.n_parameters == model.n_parameters - gone
    for kept, index in ((0, 0), (1, 2)):
        for stack in model.stacks:
            here = next(s for s in small.sublayers if s.name == f"{stack}.{kept}")
            there = next(s for s in model.sublayers if s.name == f"{stack}.{index}")
            own, original = weights_by_role(small.model, here), weights_by_role(module, there)
            assert all(own[role] is original[role] for role in original), "shared, not copied"
    assert fingerprint(module) == before
    assert len(family_of(module).find(module)) == len(model.sublayers), "the original keeps all"
    if hasattr(module, "config"):
        expected = by_hand(module, model, (0, 2))
        torch.testing.assert_close(
            noise(small), logits(expected, model.family.example(module)), rtol=0, atol=0
        )


def test_dropping_layers_of_a_timm_model_skips_its_blocks() -> None:
    model = fm.load(timm_vit())
    images = model.family.example(model.model).args[0]
    skipped = shared_copy(model.model)
    skipped.blocks = nn.Sequential(*(skipped.blocks[index] for index in (0, 2)))
    small = fm.apply(model, DropLayers(("encoder.1",)))
    assert torch.equal(small.model(images), skipped(images))


@pytest.mark.parametrize("build", TEXT.values(), ids=TEXT)
def test_a_cache_works_after_layers_were_dropped(build: Callable[[], nn.Module]) -> None:
    model = fm.load(build())
    before = generated(model.model, cached=True)
    dropped = (*named(model, 0),) if len(model.stacks) == 1 else ("encoder.2", *named(model, 0))
    small = fm.apply(model, DropLayers(dropped)).model
    assert torch.equal(generated(small, cached=True), generated(small, cached=False))
    assert torch.equal(generated(model.model, cached=True), before), "the original's numbers stay"
    assert torch.equal(before, generated(model.model, cached=False))


def generated(module: nn.Module, cached: bool) -> torch.Tensor:
    ids = torch.tensor([[3, 9, 4, 7], [8, 5, 6, 3]])
    return module.generate(  # type: ignore[operator, no-any-return]
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8,
        min_new_tokens=8, use_cache=cached, num_beams=1,
    )  # fmt: skip


def test_one_stack_alone_can_lose_layers() -> None:
    model = fm.load(marian())
    small = fm.apply(model, DropLayers(("decoder.0", "decoder.1")))
    assert [s.name for s in small.sublayers] == ["encoder.0", "encoder.1", "encoder.2", "decoder.0"]
    assert (small.model.config.encoder_layers, small.model.config.decoder_layers) == (3, 1)
    assert model.model.config.decoder_layers == 3
    assert torch.equal(generated(small.model, cached=True), generated(small.model, cached=False))


def test_attention_scaled_by_its_layers_number_is_refused() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=40, n_positions=16, n_embd=32, n_layer=3, n_head=4, bos_token_id=1,
        eos_token_id=2, scale_attn_by_inverse_layer_idx=True,
    )  # fmt: skip
    model = fm.load(GPT2LMHeadModel(config).eval())
    with pytest.raises(PlanError, match="scales attention by the number of the layer"):
        fm.apply(model, DropLayers(("decoder.0",)))


def test_a_dropped_ff_adds_nothing(any_model: fm.LoadedModel) -> None:
    model = any_model
    small = fm.apply(model, DropFF(named(model, 1)))
    gone = [s for s in model.sublayers if s.index == 1]
    assert small.n_parameters == model.n_parameters - sum(s.n_parameters for s in gone)
    assert [s.name for s in small.sublayers] == list(named(model, 0, 2))
    proven(small)
    # The same as an output matrix of zeros.
    silent = shared_copy(model.model)
    for sublayer in gone:
        weights = weights_by_role(silent, sublayer)
        zeros = {role: torch.zeros_like(weights[role]) for role in weights if role[:3] == "out"}
        set_weights(silent, sublayer, zeros)
    expected = logits(silent, model.family.example(model.model))
    assert torch.equal(noise(small), expected)
    assert not torch.allclose(expected, noise(model), atol=1e-3)


def test_factors_are_the_nearest_of_their_rank(any_model: fm.LoadedModel) -> None:
    model, rank = any_model, 5
    plan = Factor(named(model, 0, 2), rank)
    small = fm.apply(model, plan)
    assert small.n_parameters == model.n_parameters - plan.parameters_removed(model.sublayers)
    assert [s.index for s in small.sublayers] == [1] * len(model.stacks)
    proven(small)
    lossy = shared_copy(model.model)
    for sublayer in model.sublayers:
        if sublayer.index == 1:
            continue
        weights = weights_by_role(model.model, sublayer)
        for role, path in sublayer.modules.items():
            first, second = small.model.get_submodule(path)
            weight = weights[f"{role}.weight"]
            matrix = (weight.T if sublayer.transposed else weight).detach()
            left, values, right = torch.linalg.svd(matrix, full_matrices=False)
            nearest = left[:, :rank] @ torch.diag(values[:rank]) @ right[:rank]
            product = (second.weight @ first.weight).detach()
            torch.testing.assert_close(product, nearest, rtol=1e-4, atol=1e-4)
            # Eckart and Young: what is lost is the singular values left out, and no more.
            torch.testing.assert_close((matrix - product).norm(), values[rank:].norm())
            assert second.bias is weights.get(f"{role}.bias"), "biases stay"
            stored = product.T if sublayer.transposed else product
            set_weights(lossy, sublayer, {f"{role}.weight": stored.contiguous()})
    torch.testing.assert_close(
        noise(small), logits(lossy, model.family.example(model.model)), rtol=1e-3, atol=1e-3
    )


def test_narrowing_keeps_the_neurons_that_say_most(model: fm.LoadedModel) -> None:
    feats, before = fm.calibrate(model, tokens=30), fingerprint(model.model)
    width = model.sublayers[0].d_ff // 2
    plan = Narrow(named(model, 0, 1, 2), width)
    small = fm.apply(model, plan, feats)
    proven(small)
    assert fingerprint(model.model) == before
    assert small.n_parameters == model.n_parameters - plan.parameters_removed(model.sublayers)
    inputs = torch.randn(6, model.sublayers[0].d_model)
    for old, new in zip(model.sublayers, small.sublayers, strict=True):
        assert (new.name, new.d_ff) == (old.name, width)
        weights = weights_by_role(small.model, new)
        assert new.n_parameters == sum(tensor.numel() for tensor in weights.values())
        # By hand: the others' columns of W_out are zero.
        own = weights_by_role(model.model, old)
        w_out = (own["out.weight"].T if old.transposed else own["out.weight"]).detach()
        post = activation(old.activation)(feats[old.name].pre)
        share = post.square().sum(0).sqrt() * w_out.square().sum(0).sqrt()
        silent = torch.ones(old.d_ff)
        silent[share.sort().indices[: old.d_ff - width]] = 0
        cut = (w_out * silent).T if old.transposed else w_out * silent
        torch.testing.assert_close(
            recompute(small.model, new, weights, inputs),
            recompute(model.model, old, {**own, "out.weight": cut}, inputs),
            rtol=1e-4, atol=1e-4,
        )  # fmt: skip


def activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return {
        "gelu": nn.functional.gelu,
        "gelu_tanh": lambda x: nn.functional.gelu(x, approximate="tanh"),
        "relu": nn.functional.relu,
        "silu": nn.functional.silu,
    }[name]


def test_the_order_of_neurons_does_not_change_what_is_kept(model: fm.LoadedModel) -> None:
    shuffled = shared_copy(model.model)
    for sublayer in model.sublayers:
        weights = weights_by_role(shuffled, sublayer)
        order = torch.randperm(sublayer.d_ff)
        set_weights(shuffled, sublayer, permute_neurons(weights, order, sublayer.transposed))
    other = fm.load(shuffled, task=model.task)
    plan = Narrow(named(model, 0, 2), 20)
    one, two = (fm.apply(each, plan, fm.calibrate(each, tokens=30)) for each in (model, other))
    torch.testing.assert_close(noise(one), noise(two), rtol=1e-3, atol=1e-3)


def test_a_gate_or_inner_norm_cannot_be_narrowed() -> None:
    model = fm.load(swiglu(), task=NoiseTask(timm_vit()))
    with pytest.raises(PlanError, match=r"encoder\.0 has a gate or an inner norm"):
        fm.apply(model, Narrow(("encoder.0",), 4), fm.calibrate(model, tokens=30))


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (DropLayers(("encoder.0", "encoder.1", "encoder.2")), "Every layer of encoder"),
        (DropLayers(("encoder.7",)), r"encoder\.7 is not an FF sublayer"),
        (DropFF(("encoder.1", "encoder.1")), r"encoder\.1 is named twice"),
        (Factor(("encoder.0",), 26), r"Rank 26 saves nothing.*128 × 32.*Rank 25 is the highest"),
        (Narrow(("encoder.0",), 128), r"has 128 neurons.*Keep 127 or fewer"),
        (Narrow(("encoder.0",), 12), '"narrow" needs features'),
    ],
)
def test_what_cannot_be_reduced_is_refused(plan: Plan, reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        fm.apply(fm.load(timm_vit()), plan)


def test_a_reduced_model_is_not_reduced_again(model: fm.LoadedModel) -> None:
    small = fm.apply(model, DropFF(named(model, 1)))
    with pytest.raises(PlanError, match="already merged or reduced"):
        fm.apply(small, DropFF(named(model, 0)))

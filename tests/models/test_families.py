"""Every family: proven, counted once, permutable, and right again when FFs are tied already."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import ProofError, UnsupportedModelError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.loaded import anatomy
from ffmerge_core.models.proof import prove
from ffmerge_core.models.structure import (
    count_parameters,
    permute_neurons,
    set_weights,
    shared_copy,
    weights_by_role,
)
from ffmerge_core.models.sublayers import FFSublayer
from tests.models.tiny import DECODERS, MODELS, NoiseTask, gpt2, logits, marian, opt


@pytest.fixture(params=MODELS)
def module(request: pytest.FixtureRequest) -> nn.Module:
    return MODELS[request.param]()


def found(module: nn.Module) -> tuple[FFSublayer, ...]:
    return family_of(module).find(module)


def check(module: nn.Module, sublayers: tuple[FFSublayer, ...]) -> None:
    prove(module, sublayers, family_of(module).example(module))


def test_it_is_proven_and_its_stacks_are_named(module: nn.Module) -> None:
    model = fm.load(module)
    expected = {"MarianMTModel": ("encoder", "decoder"), **dict.fromkeys(DECODERS, ("decoder",))}
    assert model.stacks == expected.get(type(module).__name__, ("encoder",))
    assert [s.index for s in model.sublayers] == [0, 1, 2] * len(model.stacks)


def test_a_permutation_keeps_the_logits(module: nn.Module) -> None:
    batch = family_of(module).example(module)
    permuted = shared_copy(module)
    for sublayer in found(module):
        shuffle = torch.randperm(sublayer.d_ff)
        weights = weights_by_role(permuted, sublayer)
        set_weights(permuted, sublayer, permute_neurons(weights, shuffle, sublayer.transposed))
    torch.testing.assert_close(logits(permuted, batch), logits(module, batch), rtol=1e-3, atol=1e-4)


def test_a_permutation_of_one_side_changes_the_logits() -> None:
    """Or the test above would have no power on these models."""
    for build in MODELS.values():
        module = build()
        batch = family_of(module).example(module)
        before = logits(module, batch)
        first = found(module)[0]
        weights = weights_by_role(module, first)
        moved = permute_neurons(weights, torch.randperm(first.d_ff), first.transposed)
        set_weights(module, first, {role: moved[role] for role in moved if role[:2] == "in"})
        assert (logits(module, batch) - before).abs().max() > 1e-2


def test_the_anatomy_counts_each_parameter_once(module: nn.Module) -> None:
    sublayers = found(module)
    parts = dict(anatomy(module, family_of(module), sublayers))
    assert sum(parts.values()) == count_parameters(module)
    assert parts["FF"] == sum(sublayer.n_parameters for sublayer in sublayers)
    assert "other" not in parts
    # Four square matrices with biases a block; Marian's decoder attends twice.
    twice = 3 if family_of(module).name == "transformers Marian" else 0
    assert parts["attention"] == (len(sublayers) + twice) * 4 * (32 * 32 + 32)


@pytest.mark.parametrize("build", [gpt2, opt, marian])
def test_a_tied_head_counts_as_embeddings(build: Callable[[], nn.Module]) -> None:
    module = build()
    assert "head" not in dict(anatomy(module, family_of(module), found(module)))


def merged(module: nn.Module, method: str = "permute") -> fm.LoadedModel:
    model = fm.load(module, task=NoiseTask(module))
    groups = tuple((f"{stack}.0", f"{stack}.2") for stack in model.stacks)
    feats = fm.calibrate(model, tokens=30) if method == "permute" else None
    return fm.apply(model, fm.MergePlan(groups, method=method), feats)  # type: ignore[arg-type]


def test_a_merged_model_is_proven_again(module: nn.Module) -> None:
    small = merged(module)
    again = fm.load(small.model)
    assert again.n_parameters == small.n_parameters < count_parameters(module)


def test_permuting_before_a_merge_gives_the_same_function(module: nn.Module) -> None:
    """Alignment undoes any order of the neurons, whichever way weights are stored."""
    shuffled = copy.deepcopy(module)
    for sublayer in found(module):
        weights = weights_by_role(shuffled, sublayer)
        permutation = torch.randperm(sublayer.d_ff)
        set_weights(shuffled, sublayer, permute_neurons(weights, permutation, sublayer.transposed))
    batch = family_of(module).example(module)
    torch.testing.assert_close(
        logits(merged(shuffled).model, batch), logits(merged(module).model, batch),
        rtol=1e-3, atol=1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("build", [gpt2, opt, marian])
@pytest.mark.parametrize("mistake", ["matrix", "activation", "layout"])
def test_a_wrong_declaration_fails_though_tied(
    build: Callable[[], nn.Module], mistake: str
) -> None:
    small = merged(build()).model
    sublayers = list(found(small))
    second = sublayers[1]
    sublayers[1] = {
        "matrix": replace(second, w_in=sublayers[0].w_in),
        "activation": replace(second, act="torch.nn.functional.sigmoid"),
        "layout": replace(second, transposed=not second.transposed),
    }[mistake]
    with pytest.raises(ProofError, match=r"coder\.1"):
        check(small, tuple(sublayers))


def test_a_subclass_of_conv1d_is_refused() -> None:
    module = gpt2()
    layer = module.get_submodule("transformer.h.1.mlp.c_fc")
    layer.__class__ = type("Conv1D", (type(layer),), {"__module__": "elsewhere"})
    with pytest.raises(UnsupportedModelError, match=r"h\.1\.mlp\.c_fc is a Conv1D"):
        found(module)


def test_two_layouts_in_one_sublayer_are_refused() -> None:
    module = gpt2()
    module.get_submodule("transformer.h.1.mlp").c_proj = nn.Linear(48, 32)
    with pytest.raises(UnsupportedModelError, match="different layouts"):
        found(module)


def test_a_family_may_be_for_several_kinds_of_tasks_by_class() -> None:
    from transformers import BertConfig, BertForMaskedLM, BertModel

    config = BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    masked, bare = (family_of(known(config)) for known in (BertForMaskedLM, BertModel))
    assert masked.name == bare.name
    assert (masked.kind, bare.kind) == ("masked-language-modeling", "text")
    with pytest.raises(fm.DataError, match="kind of task is 'poetry'"):
        fm.register_family(replace(bare, name="mine", kinds={"BertModel": "poetry"}))

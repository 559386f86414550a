"""The paper's two sizes, counted by this package on models that hold no tensors."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from ffmerge_core.models.families import family_of
from ffmerge_core.models.structure import count_parameters, shared_copy, tie
from ffmerge_core.plan import MergePlan


def vit_base() -> nn.Module:
    return timm.create_model("vit_base_patch16_224", pretrained=False)


def gpt2_large() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(n_embd=1280, n_layer=36, n_head=20))


@pytest.mark.parametrize(
    ("build", "held", "in_one", "k", "share"),
    [
        (vit_base, 86_567_656, 4_722_432, 5, 21.8),
        (gpt2_large, 774_030_080, 13_113_600, 13, 20.3),
    ],
)
def test_a_third_of_the_ffs_is_a_fifth_of_the_model(
    build: Callable[[], nn.Module], held: int, in_one: int, k: int, share: float
) -> None:
    with torch.device("meta"):
        module = build()
    sublayers = family_of(module).find(module)
    assert all(sublayer.n_parameters == in_one for sublayer in sublayers)
    assert len(sublayers) == 3 * (k - 1), "a third of them is removed"
    plan = MergePlan((tuple(sublayer.name for sublayer in sublayers[2 : 2 + k]),))
    plan.check(sublayers)
    removed = plan.parameters_removed(sublayers)
    assert removed == (k - 1) * in_one
    assert count_parameters(module) == held
    assert round(100 * removed / held, 1) == share
    merged = shared_copy(module)
    tie(merged, sublayers[2 : 2 + k])
    assert count_parameters(merged) == held - removed, "as counted, not only as computed"

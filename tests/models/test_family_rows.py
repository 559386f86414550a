"""Every family, from a folder and back: proven, compared, merged, saved, read by its library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import nn

import ffmerge_core as fm
from ffmerge_core.models.families import FAMILIES
from ffmerge_core.models.structure import (
    count_parameters,
    permute_neurons,
    set_weights,
    shared_copy,
    weights_by_role,
)
from tests.models.rows import ROWS, Row
from tests.models.tiny import NoiseTask, logits


@pytest.fixture(params=ROWS, ids=str)
def row(request: pytest.FixtureRequest) -> Row:
    return request.param  # type: ignore[no-any-return]


def write(row: Row, module: Any, folder: Path) -> Path:
    """As the model's own library saves it."""
    if row.config is not None:
        module.save_pretrained(folder)
    else:
        timm.models.save_for_hf(
            module, folder, model_args=dict(row.options), safe_serialization=True
        )
    return folder


def plainly(row: Row, folder: Path) -> nn.Module:
    """As the model's own library opens it, with nothing of ours."""
    if row.config is None:
        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    module, found = getattr(transformers, row.what).from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(found[each] for each in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return module.eval()  # type: ignore[no-any-return]


def test_the_whole_way(row: Row, tmp_path: Path) -> None:
    original = row.build()
    model = fm.load(write(row, original, tmp_path / "original"), task=NoiseTask(original))
    assert model.family.name == row.family
    assert not model.without_power
    batch = model.family.example(model.model)
    before = logits(original, batch)
    assert torch.equal(logits(model.model, batch), before)

    feats = fm.calibrate(model, tokens=30)
    groups = []
    for stack in model.stacks:
        names = [each.name for each in model.sublayers if each.stack == stack]
        similar = fm.similarity_matrix(feats, stack=stack)
        assert list(similar.index) == list(similar.columns) == names
        groups.append((names[0], names[-1]))
    merged = fm.apply(model, fm.MergePlan(tuple(groups)), feats)
    saved = sum(each.n_parameters for each in model.sublayers if each.index == 0)
    assert merged.n_parameters == count_parameters(original) - saved
    after = logits(merged.model, batch)
    assert not torch.allclose(after, before, atol=1e-3)

    for layout in ("compact", "portable"):
        folder = fm.save(merged, tmp_path / layout, layout=layout).folder
        again = fm.load(folder)
        assert again.n_parameters == merged.n_parameters
        assert again.plan == merged.plan
        assert torch.equal(logits(again.model, batch), after)
    torch.testing.assert_close(logits(plainly(row, folder), batch), after, rtol=0, atol=0)


def test_another_order_of_neurons_is_the_same_function(row: Row) -> None:
    module = row.build()
    model = fm.load(module)
    batch = model.family.example(module)
    permuted, half = shared_copy(module), shared_copy(module)
    for sublayer in model.sublayers:
        shuffle = torch.randperm(sublayer.d_ff)
        weights = weights_by_role(module, sublayer)
        moved = permute_neurons(weights, shuffle, sublayer.transposed)
        set_weights(permuted, sublayer, moved)
        set_weights(half, sublayer, {role: moved[role] for role in moved if role[:2] == "in"})
    before = logits(module, batch)
    scale = float(before.abs().max())
    torch.testing.assert_close(logits(permuted, batch), before, rtol=0, atol=1e-3 * scale)
    # Or the line above had no power.
    assert float((logits(half, batch) - before).abs().max()) > 1e-3 * scale


@pytest.mark.parametrize("row", [each for each in ROWS if each.gate], ids=str)
def test_the_half_that_goes_through_the_activation_is_the_library_s(row: Row) -> None:
    """Found by a trial here; known to the test from each library's source, and seen in a run."""
    module = row.build()
    model = fm.load(module)
    for sublayer in model.sublayers:
        assert sublayer.w_gate is not None
        assert sublayer.w_in.module == sublayer.w_gate.module
        d_ff = sublayer.d_ff
        gate, up = ((0, d_ff), (d_ff, 2 * d_ff))[:: 1 if row.gate == "first" else -1]
        assert (sublayer.w_gate.rows, sublayer.w_in.rows) == (gate, up)
    seen: dict[str, torch.Tensor] = {}
    last = model.sublayers[-1]
    module.get_submodule(last.w_in.module).register_forward_hook(
        lambda _, args, said: seen.update(packed=said)
    )
    module.get_submodule(last.act).register_forward_hook(
        lambda _, args, said: seen.update(activated=args[0])
    )
    logits(module, model.family.example(module))
    assert last.w_gate is not None
    assert last.w_gate.rows is not None
    assert torch.equal(seen["activated"], seen["packed"][..., slice(*last.w_gate.rows)])


def test_every_family_has_a_row() -> None:
    assert {each.family for each in ROWS} == set(FAMILIES)


def test_a_layer_less_is_read_by_its_library(row: Row, tmp_path: Path) -> None:
    """Or a sentence says why no layer can go: what is listed by layer has to be shortened too."""
    original = row.build()
    model = fm.load(write(row, original, tmp_path / "original"))
    batch = model.family.example(original)
    plan = fm.DropLayers(tuple(f"{stack}.1" for stack in model.stacks))
    if any(each.stays for each in model.sublayers):
        with pytest.raises(fm.PlanError, match=r"cannot be dropped: .*\. Drop FF sublayers"):
            fm.apply(model, plan)
        return
    small = fm.apply(model, plan)
    after = logits(small.model, batch)
    for layout in ("compact", "portable"):
        folder = fm.save(small, tmp_path / layout, layout=layout).folder
        assert torch.equal(logits(fm.load(folder).model, batch), after)
    assert torch.equal(logits(plainly(row, folder), batch), after)


ODD = ("Phi3ForCausalLM", "beit_base_patch16_224", "eva02_base_patch14_224", "cait_xxs24_224",
       "swinv2_tiny_window8_256", "Dinov2ForImageClassification", "BertModel")  # fmt: skip


@pytest.mark.parametrize("row", [each for each in ROWS if each.what in ODD], ids=str)
def test_what_is_built_oddly_is_reduced_and_rounded_too(row: Row, tmp_path: Path) -> None:
    """Packed, normed, in stages, or with a matrix that attention multiplies by itself."""
    original = row.build()
    model = fm.load(write(row, original, tmp_path / "original"), task=NoiseTask(original))
    batch, name = model.family.example(original), model.sublayers[1].name
    feats = fm.calibrate(model, tokens=30)
    merged = fm.apply(model, fm.MergePlan(((model.sublayers[0].name, name),)), feats)
    small = [fm.apply(model, plan) for plan in (fm.DropFF((name,)), fm.Factor((name,), 2))]
    for number, made in enumerate([*small, fm.quantize(merged)]):
        after = logits(made.model, batch)
        assert bool(after.isfinite().all())
        again = fm.load(fm.save(made, tmp_path / str(number)).folder)
        assert torch.equal(logits(again.model, batch), after)

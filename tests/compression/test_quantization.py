"""int8 weights: rounded as they should be, tied as before, counted once, and the same on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import ffmerge_core as fm
from ffmerge_core.errors import PlanError, ProofError, SourceError
from ffmerge_core.models.int8 import int8_bytes, lay_out_int8
from ffmerge_core.models.proof import prove
from ffmerge_core.models.structure import fingerprint, shared_copy, weights_by_role
from ffmerge_core.plan import DropFF, DropLayers, Factor, Narrow, Plan
from tests.models.tiny import MODELS, NoiseTask, logits
from tests.storage import test_checkpoint

PLANS: dict[str, Callable[[tuple[str, ...]], Plan]] = {
    "merge": lambda names: fm.MergePlan(
        tuple((name, f"{name.rsplit('.', 1)[0]}.2") for name in names)
    ),
    "layer drop": DropLayers,
    "FF drop": DropFF,
    "SVD": lambda names: Factor(names, 6),
    "narrow": lambda names: Narrow(names, 20),
}


def opened(name: str) -> fm.LoadedModel:
    module = MODELS[name]()
    return fm.load(module, task=NoiseTask(module))


def planned(model: fm.LoadedModel, method: str) -> fm.LoadedModel:
    plan = PLANS[method](tuple(f"{stack}.0" for stack in model.stacks))
    return fm.apply(model, plan, fm.calibrate(model, tokens=30))


def matrices(model: fm.LoadedModel) -> dict[str, nn.Parameter]:
    """Path → weight of what stands in a block, found by its place and not by the family."""
    blocks = tuple(f"{sublayer.block}." for sublayer in model.sublayers)
    return {
        path: part.weight
        for path, part in model.model.named_modules()
        if path.startswith(blocks) and type(part).__name__ in ("Linear", "Conv1D")
    }


def by_hand(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Scales, (rows, 1), and exact quotients: a row's largest magnitude is 127.5 steps from 0."""
    scales = [max(map(abs, row)) / 127.5 for row in weight.tolist()]
    steps = [
        [entry / scale for entry in row] for row, scale in zip(weight.tolist(), scales, strict=True)
    ]
    return torch.tensor(scales)[:, None], torch.tensor(steps, dtype=torch.float64)


@pytest.mark.parametrize("name", MODELS)
def test_every_matrix_of_the_blocks_is_rounded_to_the_nearest(name: str) -> None:
    model = opened(name)
    small = fm.quantize(model)
    before, after = matrices(model), matrices(small)
    assert before.keys() == after.keys()
    assert len(before) >= 4 * len(model.sublayers)
    for path, weight in before.items():
        plain = weight.detach().T if "GPT-2" in name else weight.detach()
        scale, steps = by_hand(plain)
        found: Any = after[path]
        torch.testing.assert_close(found.scale, scale)
        # A row's extreme is 127.5 steps, which is as near to either side.
        extreme = steps.abs() > 127.499
        assert extreme.any(1).all()
        assert (found.qdata - steps).abs().max() < 0.5001
        assert torch.equal(found.qdata[~extreme].double(), steps[~extreme].round())
        torch.testing.assert_close(found.dequantize(), found.qdata.float() * found.scale)


@pytest.mark.parametrize("name", MODELS)
def test_the_rest_is_shared_with_the_original_which_stays(name: str) -> None:
    model = opened(name)
    before = fingerprint(model.model)
    small = fm.quantize(model)
    own = dict(model.model.named_parameters(remove_duplicate=False))
    changed = {f"{path}.weight" for path in matrices(model)}
    for path, parameter in small.model.named_parameters(remove_duplicate=False):
        assert (parameter is own[path]) == (path not in changed), path
    assert fingerprint(model.model) == before
    assert (model.quantized, small.quantized) == (None, "int8")
    assert small.n_parameters == model.n_parameters
    saved = sum(3 * each.numel() - 4 * rows(each) for each in matrices(small).values())
    assert small.weight_bytes == model.weight_bytes - saved


def rows(weight: Tensor) -> int:
    return weight.shape[0]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_stay_close(name: str) -> None:
    model = opened(name)
    small = fm.quantize(model)
    generator = torch.Generator().manual_seed(3)
    for path in matrices(model):
        was, now = model.model.get_submodule(path), small.model.get_submodule(path)
        x = torch.randn(2, 5, model.model.get_submodule(path).weight.shape[-1], generator=generator)
        if "GPT-2" in name:
            x = torch.randn(2, 5, was.nx, generator=generator)  # type: ignore[arg-type]
        with torch.inference_mode():
            expected, found = was(x), now(x)
        assert float((found - expected).norm() / expected.norm()) < 0.01, path
    batch = model.family.example(model.model)
    expected, found = logits(model.model, batch), logits(small.model, batch)
    assert not torch.equal(expected, found)
    assert float((found - expected).norm() / expected.norm()) < 0.05


def test_conv1d_becomes_the_linear_that_computes_the_same() -> None:
    model = opened("GPT-2")
    copy = shared_copy(model.model)
    sublayers = lay_out_int8(copy, model.family, model.sublayers, nn.Parameter)
    batch = model.family.example(model.model)
    assert sublayers == model.family.find(copy)
    assert all(each.transposed for each in model.sublayers)
    assert not any(each.transposed for each in sublayers)
    prove(copy, sublayers, batch)
    torch.testing.assert_close(logits(copy, batch), logits(model.model, batch))


@pytest.mark.parametrize("name", MODELS)
def test_a_merged_sublayer_is_rounded_once_and_counted_once(name: str) -> None:
    model = opened(name)
    merged = planned(model, "merge")
    small = fm.quantize(merged)
    for stack in model.stacks:
        members = [s for s in small.sublayers if s.name in (f"{stack}.0", f"{stack}.2")]
        first, last = (weights_by_role(small.model, member) for member in members)
        assert first.keys() == last.keys()
        assert all(first[role] is last[role] for role in first)
        assert small.model.get_submodule(members[0].w_in.module) is not small.model.get_submodule(
            members[1].w_in.module
        )
    assert small.n_parameters == merged.n_parameters
    distinct = {id(each): each for each in matrices(small).values()}.values()
    assert len(distinct) == len(matrices(small)) - 2 * len(model.stacks)
    assert int8_bytes(small.model) == sum(each.numel() + 4 * rows(each) for each in distinct)
    saved = sum(3 * each.numel() - 4 * rows(each) for each in distinct)
    assert small.weight_bytes == merged.weight_bytes - saved


def test_the_embeddings_own_tie_is_kept() -> None:
    small = fm.quantize(opened("GPT-2")).model
    assert small.lm_head.weight is small.transformer.wte.weight  # type: ignore[union-attr]
    assert small.lm_head.weight.dtype == torch.float32  # type: ignore[union-attr]


@pytest.mark.parametrize("method", PLANS)
@pytest.mark.parametrize("name", test_checkpoint.MODELS)
def test_it_comes_back_from_disk_the_same(name: str, method: str, tmp_path: Path) -> None:
    small = fm.quantize(planned(test_checkpoint.original(name, tmp_path), method))
    batch = small.family.example(small.model)
    saved = fm.save(small, tmp_path / "int8")
    again = fm.load(saved.folder)
    assert torch.equal(logits(again.model, batch), logits(small.model, batch))
    assert fingerprint(again.model) == fingerprint(small.model)
    assert (again.plan, again.sublayers) == (small.plan, small.sublayers)
    assert (again.n_parameters, again.weight_bytes) == (small.n_parameters, small.weight_bytes)
    assert again.quantized == "int8"
    assert saved.n_parameters == small.n_parameters
    assert fm.save(again, tmp_path / "twice").n_bytes == saved.n_bytes


def test_the_file_holds_plain_tensors_each_once(tmp_path: Path) -> None:
    merged = planned(test_checkpoint.original("GPT-2", tmp_path), "merge")
    small = fm.quantize(merged)
    folder = fm.save(small, tmp_path / "int8").folder
    assert json.loads((folder / "ffmerge.json").read_text())["quantize"] == "int8"
    (weights,) = folder.glob("*.safetensors")
    with safe_open(weights, framework="pt") as file:
        names = set(file.keys())
    block = "transformer.h.{}.mlp.c_fc.weight"
    assert {f"{block.format(0)}.qdata", f"{block.format(0)}.scale"} <= names
    assert not any(name.startswith(block.format(2)) for name in names)
    header = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    assert weights.stat().st_size - header == small.weight_bytes


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    small = fm.quantize(planned(test_checkpoint.original("ViT", tmp_path), "merge"))
    folder = fm.save(small, tmp_path / "int8").folder
    (path,) = folder.glob("*.safetensors")
    tensors = load_file(path)
    name = "vit.layers.0.mlp.fc1.weight.qdata"
    save_file({key: each for key, each in tensors.items() if key != name}, path)
    with pytest.raises(SourceError, match=f"lack {name}"):
        fm.load(folder)
    save_file(tensors | {name: tensors[name].float()}, path)
    with pytest.raises(SourceError, match=rf"{name} holds torch\.float32 .* torch\.int8"):
        fm.load(folder)
    record = folder / "ffmerge.json"
    record.write_text(record.read_text().replace('"int8"', '"int3"'))
    with pytest.raises(SourceError, match="weights kept as 'int3' are not known"):
        fm.load(folder)


def test_what_int8_weights_are_no_good_for_is_refused(
    model: fm.LoadedModel, tmp_path: Path
) -> None:
    small = fm.quantize(model)
    with pytest.raises(PlanError, match=r"are int8 already\. Quantise a model once"):
        fm.quantize(small)
    with pytest.raises(PlanError, match=r"weights of encoder\.0 are int8, .* before it was"):
        fm.apply(small, DropFF(("encoder.1",)))
    with pytest.raises(ProofError, match=r"weights of encoder\.0 are int8"):
        fm.load(small.model, task=model.task)
    with pytest.raises(PlanError, match=r"cannot be trained\. Recover the model first"):
        fm.recover(small, steps=1)
    with pytest.raises(SourceError, match=r"cannot open int8 weights, .*torchao.*compact layout"):
        fm.save(small, tmp_path / "portable", "portable")
    with pytest.raises(PlanError, match="quantize is 'int4'; it must be one of int8"):
        fm.quantize(model, "int4")  # type: ignore[arg-type]


def test_another_quantisation_than_the_recipes_is_not_saved(tmp_path: Path) -> None:
    merged = planned(test_checkpoint.original("ViT", tmp_path), "merge")
    assert merged.plan is not None
    recipe = fm.Recipe("somewhere", merged.plan)
    with pytest.raises(PlanError, match="another plan or quantisation"):
        fm.save(fm.quantize(merged), tmp_path / "a", recipe=recipe)
    whole = fm.load(fm.save(merged, tmp_path / "b", recipe=recipe).folder)
    small = fm.load(fm.save(fm.quantize(whole), tmp_path / "c").folder)
    kept = json.loads((tmp_path / "c" / "ffmerge.json").read_text())["recipe"]
    assert (small.quantized, kept["quantize"]) == ("int8", "int8")


@pytest.mark.parametrize("name", ["vit-digits", "gpt2-code", "marian-en-fr"])
def test_a_demo_on_disk_is_about_a_quarter_where_it_is_int8(name: str, tmp_path: Path) -> None:
    model = fm.load(f"demo:{name}")
    group = tuple(f"{model.stacks[0]}.{index}" for index in (1, 2))
    merged = fm.apply(model, fm.MergePlan((group,), method="vanilla"))
    small = fm.quantize(merged)
    whole, saved = fm.save(merged, tmp_path / "float"), fm.save(small, tmp_path / "int8")
    kept = merged.weight_bytes - 4 * sum(
        each.numel() for each in {id(each): each for each in matrices(small).values()}.values()
    )
    floating = merged.weight_bytes - kept
    assert 0.25 < int8_bytes(small.model) / floating < 0.28
    assert whole.n_bytes - saved.n_bytes == pytest.approx(
        merged.weight_bytes - small.weight_bytes, rel=0.02
    )
    batch = model.family.example(model.model)
    expected, found = logits(merged.model, batch), logits(fm.load(saved.folder).model, batch)
    assert float((found - expected).norm() / expected.norm()) < 0.02

"""Checkpoints in half precision: they compute in float32, and what is saved is kept as it came.

The right values are read from the files themselves, by safetensors and by the libraries.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf
from torch import Tensor, nn

import ffmerge_core as fm
from ffmerge_core.cli.facts import facts_of_model, say_facts
from ffmerge_core.models.stored import as_kept
from ffmerge_core.models.structure import fingerprint
from ffmerge_core.storage.layouts import LAYOUTS
from tests.conftest import noise_task, transformers_vit
from tests.models.tiny import (
    TIMM_ARGUMENTS,
    NoiseTask,
    gpt2,
    logits,
    marian,
    timm_small,
    vit_encoder,
)
from tests.storage.test_checkpoint import merge

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "timm": timm_small,
    "ViT": transformers_vit,
    "ViT encoder": vit_encoder,
    "GPT-2": gpt2,
    "Marian": marian,
}


def mixed(module: nn.Module) -> nn.Module:
    """Matrices in bfloat16, one block in float16, vectors in float32."""
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.to(torch.float16 if ".1." in name else torch.bfloat16)
    return module


CASTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "bfloat16": lambda module: module.bfloat16(),
    "float16": lambda module: module.half(),
    "float32": lambda module: module,
    "mixed": mixed,
}


def write(module: Any, folder: Path) -> Path:
    if hasattr(module, "config"):
        module.save_pretrained(folder)
    else:
        save_for_hf(module, str(folder), model_args=TIMM_ARGUMENTS, safe_serialization=True)
    return folder


def opened(folder: Path) -> fm.LoadedModel:
    return fm.load(folder, task=NoiseTask(fm.load(folder).model))


def plain(model: fm.LoadedModel, folder: Path) -> nn.Module:
    """What the libraries themselves make of a folder, in float32."""
    kind: Any = type(model.model)
    if hasattr(kind, "from_pretrained"):
        read: nn.Module = kind.from_pretrained(folder, dtype=torch.float32)
        return read.eval()
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS)
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_a_merged_model_is_kept_as_it_came(
    build: Callable[[], nn.Module], cast: Callable[[nn.Module], nn.Module], tmp_path: Path
) -> None:
    folder = write(cast(build()), tmp_path / "original")
    before = load_file(folder / "model.safetensors")
    model = opened(folder)
    batch = model.family.example(model.model)
    assert {each.dtype for each in model.model.parameters()} == {torch.float32}
    assert torch.equal(logits(model.model, batch), logits(plain(model, folder), batch))
    merged = merge(model)
    sizes = {}
    for layout in LAYOUTS:
        saved = fm.save(merged, tmp_path / layout, layout)
        again = fm.load(saved.folder)
        assert torch.equal(logits(again.model, batch), logits(merged.model, batch))
        assert fingerprint(again.model) == fingerprint(merged.model)
        assert again.kept_bytes == merged.kept_bytes
        sizes[layout] = sum(path.stat().st_size for path in saved.folder.glob("*.safetensors"))
    after = load_file(tmp_path / "portable" / "model.safetensors")
    changed = {name for name in before if not same(before[name], after[name])}
    first, last = ([s.block for s in model.sublayers][index] for index in (0, 2))
    assert changed
    if cast is not CASTS["mixed"] and build is not vit_encoder and build is not transformers_vit:
        # ViT's names in the file are others than in the model.
        blocks = {s.block for s in model.sublayers if s.name.endswith((".0", ".2"))}
        assert all(name.startswith(tuple(f"{block}." for block in blocks)) for name in changed)
        assert {first, last} <= blocks
    assert {name: each.dtype for name, each in after.items() if name in before} == {
        name: each.dtype for name, each in before.items()
    }
    original = (folder / "model.safetensors").stat().st_size
    # Marian's positions are written too.
    assert sizes["portable"] < 1.1 * original + 3000
    assert sizes["compact"] < sizes["portable"]
    assert torch.equal(
        logits(plain(model, tmp_path / "portable"), batch), logits(merged.model, batch)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cast", CASTS)
def test_config_says_the_type(cast: str, layout: str, tmp_path: Path) -> None:
    folder = write(CASTS[cast](gpt2()), tmp_path / "original")
    saved = fm.save(merge(opened(folder)), tmp_path / layout, layout).folder
    said = json.loads((saved / "config.json").read_text())["dtype"]
    assert said == ("bfloat16" if cast == "mixed" else cast)
    if layout == "portable":
        from transformers import GPT2LMHeadModel

        assert GPT2LMHeadModel.from_pretrained(saved).dtype == getattr(torch, said)


def test_an_untouched_model_is_saved_bit_for_bit(tmp_path: Path) -> None:
    folder = write(mixed(gpt2()), tmp_path / "original")
    before = load_file(folder / "model.safetensors")
    for layout, name in (("portable", "model"), ("compact", "merged")):
        saved = fm.save(opened(folder), tmp_path / layout, layout).folder
        after = load_file(saved / f"{name}.safetensors")
        assert after.keys() == before.keys()
        assert all(same(before[name], after[name]) for name in before)


def test_types_follow_their_layers_when_layers_are_dropped(tmp_path: Path) -> None:
    folder = write(mixed(gpt2()), tmp_path / "original")
    left = fm.apply(opened(folder), fm.DropLayers(("decoder.0",)))
    saved = fm.save(left, tmp_path / "left", "portable").folder
    after = load_file(saved / "model.safetensors")
    before = load_file(folder / "model.safetensors")
    for name, tensor in after.items():
        old = name.replace("h.1.", "h.2.").replace("h.0.", "h.1.")
        assert same(tensor, before[old]), name


PLANS = {
    "factor": fm.Factor(("decoder.0", "decoder.1"), 4),
    "narrow": fm.Narrow(("decoder.0", "decoder.1"), 9),
    "drop": fm.DropFF(("decoder.0",)),
    "of two types": fm.MergePlan((("decoder.0", "decoder.1"),), method="vanilla"),
    "copied": fm.MergePlan((("decoder.0", "decoder.1"),), method="copy"),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_what_was_made_anew_is_rounded_at_once(plan: fm.Plan, tmp_path: Path) -> None:
    model = opened(write(mixed(gpt2()), tmp_path / "original"))
    original = fingerprint(model.model)
    made = fm.apply(model, plan, fm.calibrate(model, tokens=30))
    assert fingerprint(model.model) == original
    again = fm.load(fm.save(made, tmp_path / "made").folder)
    batch = model.family.example(model.model)
    assert torch.equal(logits(again.model, batch), logits(made.model, batch))
    assert fingerprint(again.model) == fingerprint(made.model)
    assert again.kept_bytes == made.kept_bytes


def test_a_recovery_trains_in_float32_and_ends_rounded(tmp_path: Path) -> None:
    folder = write(transformers_vit().bfloat16(), tmp_path / "original")
    model = fm.load(folder, task=noise_task())
    plan = fm.MergePlan((("encoder.0", "encoder.1"),), method="vanilla")
    tuned = fm.recover(fm.apply(model, plan), steps=2)
    assert tuned.revision == model.revision
    for name, tensor in tuned.model.state_dict().items():
        assert torch.equal(tensor, tensor.bfloat16().float()), name
    score = fm.evaluate(tuned)
    saved = fm.save(tuned, tmp_path / "tuned").folder
    assert fm.evaluate(fm.load(saved, task=noise_task())).summary() == score.summary()


def test_int8_keeps_the_rest_as_it_came(tmp_path: Path) -> None:
    model = opened(write(gpt2().bfloat16(), tmp_path / "original"))
    small = fm.quantize(model)
    saved = fm.save(small, tmp_path / "small").folder
    tensors = load_file(saved / "merged.safetensors")
    assert tensors["transformer.wte.weight"].dtype == torch.bfloat16
    assert tensors["transformer.h.0.mlp.c_fc.weight.scale"].dtype == torch.float32
    assert fm.load(saved).kept_bytes == small.kept_bytes


def test_what_a_type_cannot_hold_stays_in_float32(tmp_path: Path) -> None:
    model = opened(write(gpt2().half(), tmp_path / "original"))
    with torch.no_grad():
        model.model.get_submodule("transformer.h.0.ln_1").weight[0] = 1e6  # type: ignore[index]
    for layout in LAYOUTS:
        again = fm.load(fm.save(model, tmp_path / layout, layout).folder)
        assert fingerprint(again.model) == fingerprint(model.model)
        assert set(again.kept_bytes) == {"float16", "float32"}
    assert as_kept(torch.tensor([1e6]), torch.float16).dtype == torch.float32
    assert as_kept(torch.tensor([1e6]), torch.bfloat16).dtype == torch.bfloat16


def test_the_stored_type_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = fm.load(write(gpt2().bfloat16(), tmp_path / "original"))
    facts = facts_of_model(model)
    assert facts["kept_bytes"] == {"bfloat16": model.weight_bytes // 2}
    say_facts(facts)
    assert "0.10 MB of weights in memory, 0.05 MB as bfloat16 in a file" in capsys.readouterr().out


def test_the_original_of_a_saved_bfloat16_model_is_not_larger(tmp_path: Path) -> None:
    """The case that was found: 117 kB came back as 229 kB."""
    folder = write(gpt2().bfloat16(), tmp_path / "original")
    merged = merge(opened(folder))
    before = (folder / "model.safetensors").stat().st_size
    saved = {each: fm.save(merged, tmp_path / each, each).folder for each in LAYOUTS}
    assert (saved["portable"] / "model.safetensors").stat().st_size == before
    assert (saved["compact"] / "merged.safetensors").stat().st_size < before

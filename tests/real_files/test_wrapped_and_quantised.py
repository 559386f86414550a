"""Files as wrappers leave them open, and it is said; those of quantisers are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import Tensor, nn

import ffmerge_core as fm
from ffmerge_core.cli.facts import facts_of_model, say_facts
from ffmerge_core.errors import SourceError
from tests.conftest import transformers_vit
from tests.models.tiny import TIMM_ARGUMENTS, gpt2, logits, timm_small

MODELS: dict[str, Callable[[], nn.Module]] = {
    "GPT-2": gpt2, "ViT": transformers_vit, "timm": timm_small,
}  # fmt: skip


def saved(name: str, folder: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    """The module, and the tensors of the folder that it was written to."""
    module: Any = MODELS[name]()
    if name == "timm":
        save_for_hf(module, str(folder), model_args=TIMM_ARGUMENTS, safe_serialization=True)
    else:
        module.save_pretrained(folder)
    return module, load_file(folder / "model.safetensors")


def write(folder: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


WRAPPED: dict[str, tuple[Callable[[str], str], tuple[str, ...]]] = {
    "compiled": (lambda name: f"_orig_mod.{name}", ("_orig_mod.",)),
    "parallel": (lambda name: f"module.{name}", ("module.",)),
    "compiled, then parallel": (
        lambda name: f"module._orig_mod.{name}", ("_orig_mod.", "module."),
    ),
    "parallel, then compiled": (
        lambda name: f"_orig_mod.module.{name}", ("_orig_mod.", "module."),
    ),
    "compiled inside": (
        lambda name: name.replace("transformer.", "transformer._orig_mod.")
        .replace("vit.", "vit._orig_mod.").replace("blocks.", "blocks._orig_mod."),
        ("_orig_mod.",),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wrap", "taken_off"), WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("name", MODELS)
def test_what_a_wrapper_put_before_names_is_taken_off_and_said(
    name: str,
    wrap: Callable[[str], str],
    taken_off: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, tensors = saved(name, tmp_path)
    write(tmp_path, {wrap(each): tensor for each, tensor in tensors.items()})
    model = fm.load(tmp_path)
    batch = model.family.example(module)
    assert torch.equal(logits(model.model, batch), logits(module, batch))
    assert model.taken_off == taken_off
    assert model.left_out == ()
    capsys.readouterr()
    say_facts(facts_of_model(model))
    assert f"have {' and '.join(taken_off)} in them" in " ".join(capsys.readouterr().out.split())


def test_compile_itself_writes_such_names(tmp_path: Path) -> None:
    module, _ = saved("timm", tmp_path)
    compiled: Any = torch.compile(module)
    write(tmp_path, compiled.state_dict())
    model = fm.load(tmp_path)
    assert model.taken_off == ("_orig_mod.",)
    again = fm.load(fm.save(model, tmp_path / "saved", "portable").folder)
    assert (again.taken_off, again.revision) == ((), model.revision)


def test_what_is_no_wrapper_stays(tmp_path: Path) -> None:
    """Two tensors would have one name; and not all names begin so."""
    _, tensors = saved("GPT-2", tmp_path)
    write(tmp_path, tensors | {"_orig_mod.lm_head.weight": torch.ones(40, 32),
                               "lm_head.weight": torch.ones(40, 32)})  # fmt: skip
    with pytest.raises(SourceError, match=r"hold unknown _orig_mod\.lm_head"):
        fm.load(tmp_path)
    write(tmp_path, tensors | {"module.extra": torch.ones(2)})
    with pytest.raises(SourceError, match=r"hold unknown module\.extra"):
        fm.load(tmp_path)


CONFIGS: dict[str, tuple[object, str]] = {
    "bitsandbytes": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
    "of the first bitsandbytes": ({"load_in_8bit": True}, "bitsandbytes"),
    "GPTQ": ({"quant_method": "gptq", "bits": 4}, "gptq"),
    "AWQ": ({"quant_method": "awq", "bits": 4}, "awq"),
    "fp8": ({"quant_method": "fp8"}, "fp8"),
    "of no name": ({"bits": 4}, "a method that config.json does not name"),
    "no mapping": ("int4", "a method that config.json does not name"),
}


@pytest.mark.parametrize(("said", "how"), CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("name", MODELS)
def test_a_quantised_checkpoint_is_told_by_its_config(
    name: str, said: object, how: str, tmp_path: Path
) -> None:
    saved(name, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": said}))
    with pytest.raises(SourceError, match=f"quantised by {how}.*Open the unquantised original"):
        fm.load(tmp_path)


MATRIX = "transformer.h.1.mlp.c_fc"
TENSORS: dict[str, dict[str, Tensor]] = {
    "GPTQ": {f"{MATRIX}.qweight": torch.zeros(6, 32, dtype=torch.int32)},
    "bitsandbytes": {f"{MATRIX}.weight": torch.zeros(32, 48, dtype=torch.int8),
                     f"{MATRIX}.SCB": torch.ones(48)},
    "bitsandbytes, four bits": {f"{MATRIX}.weight.quant_state.bitsandbytes__nf4":
                                torch.zeros(8, dtype=torch.uint8)},
    "compressed-tensors": {f"{MATRIX}.weight_packed": torch.zeros(6, 32, dtype=torch.int32)},
    "int8": {f"{MATRIX}.weight_scale": torch.ones(48)},
    "HQQ": {f"{MATRIX}.W_q": torch.zeros(6, 32, dtype=torch.uint8)},
}  # fmt: skip


@pytest.mark.parametrize("tensors", TENSORS.values(), ids=TENSORS)
def test_a_quantised_checkpoint_is_told_by_its_tensors(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    _, plain = saved("GPT-2", tmp_path)
    write(tmp_path, plain | tensors)
    with pytest.raises(SourceError, match=r"are quantised by .* \(it holds transformer\.h\.1\.mlp"):
        fm.load(tmp_path)


def test_numbers_of_eight_bits_are_named(tmp_path: Path) -> None:
    _, plain = saved("GPT-2", tmp_path)
    write(tmp_path, plain | {f"{MATRIX}.weight": torch.zeros(32, 48).to(torch.float8_e4m3fn)})
    with pytest.raises(SourceError, match=r"c_fc\.weight as F8_E4M3.*before it was quantised"):
        fm.load(tmp_path)


@pytest.mark.parametrize("name", ["GPT-2", "timm"])
def test_whole_numbers_are_no_weights(name: str, tmp_path: Path) -> None:
    _, plain = saved(name, tmp_path)
    matrix = next(each for each in plain if each.endswith((".c_fc.weight", ".fc1.weight")))
    write(tmp_path, plain | {matrix: torch.ones(plain[matrix].shape, dtype=torch.int8)})
    with pytest.raises(SourceError, match=matrix.replace(".", r"\.")):
        fm.load(tmp_path)


def test_what_is_rounded_here_opens_here(tmp_path: Path) -> None:
    saved("GPT-2", tmp_path / "original")
    small = fm.quantize(fm.load(tmp_path / "original"))
    assert fm.load(fm.save(small, tmp_path / "small").folder).quantized == "int8"

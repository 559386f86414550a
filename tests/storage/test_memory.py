"""A model that cannot fit is refused by the headers, before any module of its size is built."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from timm.models import save_for_hf
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import SourceError
from ffmerge_core.storage import memory
from ffmerge_core.storage.weights import bytes_in_memory, entries_in
from tests.conftest import transformers_vit
from tests.models.tiny import TIMM_ARGUMENTS, gpt2, marian, opt, timm_small

MODELS: dict[str, Callable[[], nn.Module]] = {
    "GPT-2": gpt2, "OPT": opt, "Marian": marian, "ViT": transformers_vit, "timm": timm_small,
}  # fmt: skip
# What no computer here has room for.
LARGER: dict[str, tuple[str, dict[str, object]]] = {
    "GPT-2's layers": ("GPT-2", {"n_layer": 10_000_000}),
    "GPT-2's width": ("GPT-2", {"n_embd": 4_000_000}),
    "GPT-2's vocabulary": ("GPT-2", {"vocab_size": 2_000_000_000}),
    "GPT-2's positions": ("GPT-2", {"n_positions": 2_000_000_000}),
    "OPT's FF": ("OPT", {"ffn_dim": 3_000_000_000}),
    "Marian's decoder": ("Marian", {"decoder_layers": 10_000_000}),
    "ViT's width": ("ViT", {"intermediate_size": 3_000_000_000}),
    "timm's layers": ("timm", {"depth": 10_000_000}),
    "timm's width": ("timm", {"embed_dim": 4_000_000}),
    "timm's classes": ("timm", {"num_classes": 2_000_000_000}),
}


def saved(name: str, folder: Path) -> Path:
    module: Any = MODELS[name]()
    if name == "timm":
        save_for_hf(module, str(folder), model_args=TIMM_ARGUMENTS, safe_serialization=True)
    else:
        module.save_pretrained(folder)
    return folder


def edit(folder: Path, changes: dict[str, object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["model_args" if "architecture" in config else "_"] = {**TIMM_ARGUMENTS, **changes}
    path.write_text(json.dumps(config | ({} if "architecture" in config else changes)))


@pytest.mark.parametrize(("name", "changes"), LARGER.values(), ids=LARGER)
def test_a_config_that_describes_more_is_refused_before_it_is_built(
    name: str, changes: dict[str, object], tmp_path: Path
) -> None:
    folder = saved(name, tmp_path)
    edit(folder, changes)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with pytest.raises(SourceError, match=r"describes .*(layers|parameters)"):
        fm.load(folder)
    after = resource.getrusage(resource.RUSAGE_SELF)
    # Kilobytes; the smallest of these models takes gigabytes.
    assert after.ru_maxrss - before.ru_maxrss < 500_000


@pytest.mark.parametrize("layout", ["compact", "portable"])
def test_so_is_that_of_a_model_saved_here(layout: str, tmp_path: Path) -> None:
    model = fm.load(saved("GPT-2", tmp_path / "original"))
    merged = fm.apply(model, fm.MergePlan((("decoder.0", "decoder.1"),), method="copy"))
    folder = fm.save(merged, tmp_path / layout, layout).folder
    for changes in ({"n_layer": 10_000_000}, {"vocab_size": 2_000_000_000}):
        edit(folder, changes)
        with pytest.raises(SourceError, match=r"describes|takes .* GB of memory"):
            fm.load(folder)


@pytest.mark.parametrize("name", MODELS)
def test_what_cannot_fit_is_refused_with_both_figures(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(name, tmp_path)
    needed = bytes_in_memory(entries_in(folder.glob("*.safetensors")))
    monkeypatch.setattr(memory, "free_memory", lambda: needed - 1)
    with pytest.raises(
        SourceError, match=r"takes 0\.\d\d MB of memory in float32, and 0\.\d\d MB are f"
    ):
        fm.load(folder)
    monkeypatch.undo()
    assert fm.load(folder).n_parameters > 0


def test_half_precision_counts_as_it_will_be_held(tmp_path: Path) -> None:
    module: Any = gpt2().bfloat16()
    module.save_pretrained(tmp_path)
    entries = entries_in([tmp_path / "model.safetensors"])
    assert bytes_in_memory(entries) == fm.load(tmp_path).weight_bytes
    assert bytes_in_memory(entries) == 2 * sum(2 * entry.size for entry in entries.values())


def test_the_size_is_shown_while_the_weights_are_read(tmp_path: Path) -> None:
    said: list[str] = []
    folder = saved("GPT-2", tmp_path)
    fm.load(folder, report=lambda step, total, message, values=None: said.append(message))
    size = (folder / "model.safetensors").stat().st_size
    assert said[0] == f"Reading {size / 1e6:.2f} MB of weights"


def test_the_free_memory_is_the_systems() -> None:
    assert 10_000_000 < memory.free_memory() < 10**15
    assert memory.size_in_words(3_560_000_000) == "3.6 GB"
    assert memory.size_in_words(2_419_240) == "2.42 MB"

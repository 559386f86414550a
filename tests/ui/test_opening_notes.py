"""What was left out of a file, and what had no power in the proof, is said where it is opened."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ffmerge_core.reporting.opening import notes_on_opening
from tests.conftest import transformers_vit
from tests.ui.pages_support import open_app, press, sentences


def test_nothing_is_said_of_a_model_that_has_all_of_its_file() -> None:
    assert notes_on_opening((), ()) == []


def test_long_lists_are_cut_short() -> None:
    names = [f"h.{index}.attn.bias" for index in range(1200)]
    (note,) = notes_on_opening(names, ())
    assert "1,200 tensors" in note
    assert note.endswith("h.0.attn.bias, h.1.attn.bias, h.2.attn.bias and 1,197 more.")


def test_the_model_page_says_both(tmp_path: Path) -> None:
    module = transformers_vit()
    with torch.no_grad():
        for parameter in module.get_submodule("vit.layers.1.mlp.fc2").parameters():
            parameter.zero_()
    module.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"vit.pooler.dense.bias": torch.ones(32)}, file, {"format": "pt"})
    tab = open_app()
    tab.text_input(key="folder").set_value(str(tmp_path))
    tab.radio(key="measured_on").set_value("digits").run()
    press(tab, "Open model")
    assert "1 tensor without a use in this model, left out here: vit.pooler.dense.bias" in (
        sentences(tab)
    )
    assert "random weights in place of their own: encoder.1." in sentences(tab)

"""The Model page: the demo from its card, and a user's own folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pages._ui.state.shared import (
    shelf,
    workspace_store,
)
from pages._ui.state.subject import Opened, demo_subject
from tests.conftest import transformers_vit
from tests.ui.pages_support import (
    DEMO,
    ROOT,
    add_group,
    go,
    id_of,
    metrics,
    open_app,
    press,
    sentences,
)


def test_the_first_page_tells_the_model_from_its_card() -> None:
    tab = open_app()
    assert tab.title[0].value == "Model"
    subject = demo_subject(DEMO)
    assert metrics(tab)["Parameters"] == f"{subject.n_parameters:,}"
    assert metrics(tab)["In FF sublayers"] == "65.9%"
    table = tab.dataframe[0].value
    assert list(table["Sublayer"]) == [f"encoder.{index}" for index in range(12)]
    assert set(table["Parameters"]) == {33_088}
    assert set(table["Gated"]) == {"no"}
    score = subject.scores["validation"]
    assert f"on {score['n']} images" in sentences(tab)


def test_not_finite_activations_are_a_sentence(tmp_path: Path) -> None:
    import torch

    module = transformers_vit(depth=3)
    with torch.no_grad():
        module.get_parameter("vit.layers.1.mlp.fc2.bias").fill_(3e38)
        module.get_parameter("vit.layers.1.mlp.fc2.weight").fill_(1e37)
    module.save_pretrained(tmp_path / "wild")
    tab = open_app()
    tab.text_input(key="folder").set_value(str(tmp_path / "wild"))
    press(tab, "Open model")
    assert any("encoder.1" in error.value for error in tab.error)


@pytest.mark.parametrize("folder", ["nothing", "empty", "broken"])
def test_a_folder_that_cannot_be_opened_is_a_sentence_and_loses_nothing(
    folder: str, tmp_path: Path
) -> None:
    path = tmp_path / folder
    if folder != "nothing":
        path.mkdir()
    if folder == "broken":
        transformers_vit().save_pretrained(path)
        weights = path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    tab = open_app("similarity")
    add_group(tab, "encoder.6", "encoder.7")
    go(tab, "model")
    tab.text_input(key="folder").set_value(str(path))
    press(tab, "Open model")
    assert any(str(path) in error.value for error in tab.error)
    workspace = workspace_store().find(id_of(tab))
    assert (workspace.opened, workspace.groups) == (Opened(DEMO), (("encoder.6", "encoder.7"),))


def test_the_whole_job_on_a_users_own_folder(tmp_path: Path) -> None:
    transformers_vit(depth=4).save_pretrained(tmp_path / "mine")
    tab = open_app()
    tab.text_input(key="folder").set_value(str(tmp_path / "mine"))
    press(tab, "Open model")
    tab.run()
    assert "**mine**" in sentences(tab)
    go(tab, "similarity")
    add_group(tab, "encoder.1", "encoder.2")
    press(go(tab, "merge"), "Merge")
    n_parameters = sum(parameter.numel() for parameter in transformers_vit(depth=4).parameters())
    saved = 32 * 64 + 64 + 64 * 32 + 32
    assert tab.table[0].value.loc["Parameters", "Merged"] == f"{n_parameters - saved:,}"
    shelf.clear()
    again = open_app("compare", id_of(tab))
    assert "**mine**" in sentences(again)
    assert list(again.dataframe[0].value["Layers"]) == ["encoder 1–2"]
    go(again, "model")
    next(button for button in again.button if button.key == "open-vit-digits").click().run()
    assert metrics(again)["Parameters"] == "602,058"


def test_a_folder_that_was_overwritten_is_read_again(tmp_path: Path) -> None:
    transformers_vit(depth=3).save_pretrained(tmp_path / "mine")
    tab = open_app()
    for depth in (3, 5):
        transformers_vit(depth=depth).save_pretrained(tmp_path / "mine")
        tab.text_input(key="folder").set_value(str(tmp_path / "mine"))
        press(tab, "Open model")
        assert len(tab.run().dataframe[0].value) == depth


def test_no_demo_needs_torch_to_be_shown() -> None:
    code = (
        "import sys; from streamlit.testing.v1 import AppTest;"
        "import pages._ui.state.shared as shared;"
        "shared.warm_up = lambda source: None;"
        "tab = AppTest.from_file('app.py', default_timeout=60).run();"
        "assert len(tab.metric) == 4, tab;"
        "shown = lambda name: (tab.button(key=f'open-{name}').click(), tab.run(), len(tab.metric));"
        "assert shown('gpt2-code')[-1] == shown('marian-en-fr')[-1] == 5, tab;"
        "print([name for name in ('torch', 'timm', 'transformers') if name in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"

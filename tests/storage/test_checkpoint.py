"""What is saved comes back the same, whole or not at all, and plain libraries read the portable."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import DataError, PlanError, SourceError
from ffmerge_core.models.structure import fingerprint, weights_by_role
from ffmerge_core.storage.layouts import LAYOUTS
from tests.conftest import transformers_vit
from tests.models.tiny import (
    TIMM_ARGUMENTS,
    NoiseTask,
    gpt2,
    logits,
    marian,
    opt,
    timm_small,
    vit_encoder,
)

MODELS: dict[str, Callable[[], nn.Module]] = {
    "timm": timm_small,
    "ViT": transformers_vit,
    "ViT encoder": vit_encoder,
    "GPT-2": gpt2,
    "OPT": opt,
    "Marian": marian,
}


def original(name: str, tmp_path: Path) -> fm.LoadedModel:
    """A model opened from a folder, as a user's is."""
    module, folder = MODELS[name](), tmp_path / "original"
    if name == "timm":
        save_for_hf(module, str(folder), model_args=TIMM_ARGUMENTS, safe_serialization=True)
    else:
        module.save_pretrained(folder)  # type: ignore[operator]
    return fm.load(folder, task=NoiseTask(module))


def merge(model: fm.LoadedModel) -> fm.LoadedModel:
    groups = tuple((f"{stack}.2", f"{stack}.0") for stack in model.stacks)
    return fm.apply(model, fm.MergePlan(groups), fm.calibrate(model, tokens=30))


@pytest.fixture(params=MODELS)
def merged(request: pytest.FixtureRequest, tmp_path: Path) -> fm.LoadedModel:
    return merge(original(request.param, tmp_path))


@pytest.fixture
def small(tmp_path: Path) -> fm.LoadedModel:
    return merge(original("GPT-2", tmp_path))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_both_layouts_come_back_the_same(merged: fm.LoadedModel, tmp_path: Path) -> None:
    before, batch = fingerprint(merged.model), merged.family.example(merged.model)
    saved = {layout: fm.save(merged, tmp_path / layout, layout) for layout in LAYOUTS}
    assert fingerprint(merged.model) == before
    for layout, written in saved.items():
        again = fm.load(written.folder)
        assert torch.equal(logits(again.model, batch), logits(merged.model, batch)), layout
        assert again.n_parameters == merged.n_parameters
        assert again.plan == merged.plan
        assert again.revision == before
        for group in again.plan.groups:
            first, last = (
                weights_by_role(again.model, s) for s in again.sublayers if s.name in group
            )
            assert all(first[role] is last[role] for role in first)
        files = [path for path in written.folder.rglob("*") if path.is_file()]
        assert written.n_bytes == sum(path.stat().st_size for path in files)
    removed = sum(merged.sublayers[0].n_parameters for _ in merged.stacks)
    assert saved["compact"].n_parameters == merged.n_parameters
    assert saved["portable"].n_parameters == merged.n_parameters + removed
    # A float is four bytes.
    assert saved["portable"].n_bytes - saved["compact"].n_bytes > 3.9 * removed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compact", "original", "portable"]


PLAIN = """
import sys
sys.modules["ffmerge_core"] = None
import torch
from safetensors.torch import load, load_file, save_file
folder, name, batch, out, n_threads = sys.argv[1:]
torch.set_num_threads(int(n_threads))  # sums are rounded otherwise by another number
if name == "timm":
    import timm
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
else:
    import transformers
    model, found = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"], found
inputs = load_file(batch)
with torch.inference_mode():
    result = model.eval()(inputs.pop("0"), **inputs)
save_file({"logits": result if name == "timm" else result[0].contiguous()}, out)
"""


@pytest.mark.parametrize("name", ["timm", "ViT", "GPT-2", "Marian"])
def test_plain_libraries_read_the_portable_layout(name: str, tmp_path: Path) -> None:
    merged = merge(original(name, tmp_path))
    folder = fm.save(merged, tmp_path / "portable", "portable").folder
    batch = merged.family.example(merged.model)
    tensors = {key: each for key, each in batch.kwargs.items() if isinstance(each, torch.Tensor)}
    save_file({"0": batch.args[0], **tensors}, tmp_path / "batch")
    plain = "timm" if name == "timm" else type(merged.model).__name__
    arguments = [str(folder), plain, str(tmp_path / "batch"), str(tmp_path / "out")]
    arguments.append(str(torch.get_num_threads()))
    command = [sys.executable, "-I", "-c", PLAIN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert torch.equal(load_file(tmp_path / "out")["logits"], logits(merged.model, batch))


@pytest.mark.parametrize("name", ["demo:vit-digits", "demo:gpt2-code", "demo:marian-en-fr"])
def test_a_merged_demo_comes_back_with_its_data(name: str, tmp_path: Path) -> None:
    model = fm.load(name)
    names = [s.name for s in model.sublayers if s.stack == model.stacks[0]]
    merged = fm.apply(model, fm.MergePlan((tuple(names[2:5]),), method="vanilla"))
    for layout in LAYOUTS:
        again = fm.load(fm.save(merged, tmp_path / layout, layout).folder)
        assert fingerprint(again.model) == fingerprint(merged.model)
        assert again.require_task().revision == model.require_task().revision
        assert (again.tokenizer is None) == (model.tokenizer is None)
        if model.tokenizer is not None:
            text = "def cost(x, y=3):  # the price"
            assert again.tokenizer(text).input_ids == model.tokenizer(text).input_ids
            assert again.tokenizer.decode(again.tokenizer(text).input_ids) == (
                model.tokenizer.decode(model.tokenizer(text).input_ids)
            )


def test_timm_builds_the_digits_demo_from_its_constant() -> None:
    import timm

    from ffmerge_core.demos.vit_digits.model import TIMM_CONFIG, build

    module = timm.create_model(TIMM_CONFIG["architecture"], **TIMM_CONFIG["model_args"])
    demo = fm.load("demo:vit-digits")
    assert {k: v.shape for k, v in module.state_dict().items()} == {
        k: v.shape for k, v in build().state_dict().items()
    }
    module.load_state_dict(demo.model.state_dict())
    batch = demo.family.example(demo.model)
    assert torch.equal(logits(module.eval(), batch), logits(demo.model, batch))


def test_the_recipe_and_the_origin_travel_through_a_second_save(
    small: fm.LoadedModel, tmp_path: Path
) -> None:
    assert small.plan is not None
    recipe = fm.Recipe(small.source, small.plan, tokens=30, revision=small.revision)
    first = fm.save(small, tmp_path / "first", recipe=recipe)
    second = fm.save(fm.load(first.folder), tmp_path / "second", "portable")
    record = json.loads((second.folder / "ffmerge.json").read_text())
    assert record["source"] == small.source
    assert record["revision"] == small.revision
    assert fm.Recipe.from_dict(record["recipe"]) == recipe
    other = fm.Recipe(small.source, fm.MergePlan((("decoder.0", "decoder.1"),)))
    with pytest.raises(PlanError, match="another plan"):
        fm.save(small, tmp_path / "third", recipe=other)


def test_named_data_is_found_again_and_fidelity_needs_the_original(tmp_path: Path) -> None:
    original("ViT", tmp_path)
    model = fm.load(tmp_path / "original", task="digits")
    merged = fm.apply(model, fm.MergePlan((("encoder.0", "encoder.1"),), method="copy"))
    again = fm.load(fm.save(merged, tmp_path / "saved").folder)
    assert again.data == "digits"
    assert fm.evaluate(again).value == fm.evaluate(merged).value
    with pytest.raises(DataError, match=f"the original \\({model.source}\\)"):
        fm.load(tmp_path / "saved", fidelity=True)


def test_an_untouched_model_is_saved_too(tmp_path: Path) -> None:
    model = original("OPT", tmp_path)
    for layout in LAYOUTS:
        again = fm.load(fm.save(model, tmp_path / layout, layout).folder)
        assert again.revision == model.revision
        assert again.plan is None


def test_what_generation_was_told_is_kept(tmp_path: Path) -> None:
    model = original("Marian", tmp_path)
    model.model.generation_config.max_length = 11  # type: ignore[union-attr]
    again = fm.load(fm.save(merge(model), tmp_path / "saved").folder)
    assert again.model.generation_config.max_length == 11  # type: ignore[union-attr]
    assert again.model.generation_config.forced_eos_token_id == 1  # type: ignore[union-attr]


def test_plain_transformers_refuses_the_compact_layout(
    small: fm.LoadedModel, tmp_path: Path
) -> None:
    """Rather than fill what is not in the file with random weights."""
    from transformers import GPT2LMHeadModel

    fm.save(small, tmp_path / "saved")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        GPT2LMHeadModel.from_pretrained(tmp_path / "saved")


def test_a_timm_module_in_memory_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="save_for_hf"):
        fm.save(fm.load(timm_small()), tmp_path / "saved")
    assert not list(tmp_path.iterdir())


def test_positions_that_transformers_would_leave_out_are_kept(tmp_path: Path) -> None:
    module = marian()
    module.get_submodule("model.encoder.embed_positions").weight.data.mul_(2)
    model = merge(fm.load(module, task=NoiseTask(module)))
    for layout in LAYOUTS:
        again = fm.load(fm.save(model, tmp_path / layout, layout).folder)
        assert fingerprint(again.model) == fingerprint(model.model)


def test_a_file_cut_short_after_loading_is_no_matter(tmp_path: Path) -> None:
    model = original("GPT-2", tmp_path)
    (tmp_path / "original" / "model.safetensors").write_bytes(b"")
    assert fingerprint(model.model) == model.revision


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = merge(original("Marian", tmp_path))
    capfd.readouterr()
    for layout in LAYOUTS:
        fm.load(fm.save(model, tmp_path / layout, layout).folder)
    assert capfd.readouterr() == ("", "")

"""timm's folders: old, tagged and hybrid architectures, files of other names, leftovers.

The right values are timm's own: `create_model("local-dir:…", pretrained=True)` of the same folder
gives the same logits.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import Tensor, nn

import ffmerge_core as fm
from ffmerge_core.errors import SourceError, UnsupportedModelError
from ffmerge_core.storage import timm_folder
from tests.conftest import randomise
from tests.models.tiny import logits

Tensors = dict[str, Tensor]
ARGUMENTS: dict[str, Any] = {
    "img_size": 16, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 3,
}  # fmt: skip
PLAIN = "vit_tiny_patch16_224"


def written(folder: Path, architecture: str = PLAIN, **arguments: Any) -> nn.Module:
    arguments = ARGUMENTS | arguments
    module = randomise(timm.create_model(architecture, **arguments), scale=0.2)
    save_for_hf(module, str(folder), model_args=arguments, safe_serialization=True)
    return module


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> Tensors:
    tensors = change(load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return tensors


def as_timm_has_it(model: fm.LoadedModel, folder: Path) -> None:
    """Its own reading of the folder gives the same logits and the same weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old names
        plain = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    batch = model.family.example(model.model)
    assert torch.equal(logits(plain, batch), logits(model.model, batch))
    ours = model.model.state_dict()
    assert all(torch.equal(ours[name], each) for name, each in plain.state_dict().items())


@pytest.mark.parametrize(
    "architecture",
    [
        "vit_tiny_patch16_224.augreg_in21k",
        "vit_tiny_patch16_224_in21k",
        "vit_base_patch16_224_miil",
        "vit_small_patch16_224_dino",
        "deit3_small_patch16_224",
        "vit_tiny_patch16_224",
    ],
)
def test_every_name_that_timm_knows_opens(architecture: str, tmp_path: Path) -> None:
    current = timm.models.get_deprecated_models().get(architecture, architecture)
    written(tmp_path, str(current).split(".")[0])
    edit(tmp_path, architecture=architecture)
    assert timm.is_model(architecture)
    as_timm_has_it(fm.load(tmp_path), tmp_path)


def test_a_name_that_timm_does_not_know_is_a_sentence(tmp_path: Path) -> None:
    written(tmp_path)
    edit(tmp_path, architecture="vit_no_such_224.augreg")
    with pytest.raises(UnsupportedModelError, match=r"no architecture called vit_no_such_224"):
        fm.load(tmp_path)


def test_our_names_of_files_are_timm_s() -> None:
    from timm.models import _hub

    theirs = [name for name in _hub._PREFERRED_FILES if name.endswith(".safetensors")]
    assert list(timm_folder._NAMES) == theirs


@pytest.mark.parametrize(
    "name", ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "x.safetensors"]
)
def test_weights_under_another_name_open(name: str, tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    as_timm_has_it(fm.load(tmp_path), tmp_path)


def test_which_of_several_files_is_not_guessed(tmp_path: Path) -> None:
    written(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(
            (tmp_path / "model.safetensors").read_bytes()
        )
    as_timm_has_it(fm.load(tmp_path), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(SourceError, match=r"2 files of weights \(a\.safetensors, b\.safetensors"):
        fm.load(tmp_path)


def open_clip(tensors: Tensors) -> Tensors:
    """A whole CLIP model as open_clip saves it: timm takes its picture side."""
    text = {"text.token_embedding.weight": torch.ones(9, 4), "logit_scale": torch.ones(())}
    return {f"visual.trunk.{name}": each for name, each in tensors.items()} | text


def test_an_open_clip_model_opens_with_what_is_not_its_pictures_left_out(tmp_path: Path) -> None:
    written(tmp_path)
    rewrite(tmp_path, open_clip)
    model = fm.load(tmp_path)
    assert model.left_out == ("logit_scale", "text.token_embedding.weight")
    as_timm_has_it(model, tmp_path)


def test_wrappers_prefixes_are_taken_off(tmp_path: Path) -> None:
    written(tmp_path)
    rewrite(tmp_path, lambda found: {f"_orig_mod.{name}": each for name, each in found.items()})
    model = fm.load(tmp_path)
    assert model.left_out == ()
    as_timm_has_it(model, tmp_path)


HARMLESS: dict[str, Tensors] = {
    "head": {"head.weight": torch.ones(9, 32), "head.bias": torch.ones(9)},
    "head_dist": {"head_dist.weight": torch.ones(9, 32)},
    "mask_token": {"mask_token": torch.ones(1, 1, 32)},
    "what a head reads": {
        "attn_pool.q.weight": torch.ones(32, 32),
        "pre_logits.fc.bias": torch.ones(32),
    },
}


@pytest.mark.parametrize("extra", HARMLESS.values(), ids=HARMLESS)
def test_a_harmless_leftover_is_named_and_the_model_opens(extra: Tensors, tmp_path: Path) -> None:
    module = written(tmp_path, num_classes=0)
    rewrite(tmp_path, lambda tensors: tensors | extra)
    model = fm.load(tmp_path)
    assert set(model.left_out) == set(extra)
    batch = model.family.example(model.model)
    assert torch.equal(logits(module, batch), logits(model.model, batch))


HARMFUL: dict[str, Tensor] = {
    "fc_norm.weight": torch.ones(32),
    "blocks.2.norm1.weight": torch.ones(32),
    "blocks.0.ls1.gamma": torch.ones(32),
    "pre_logits.fc.weight": torch.ones(32, 32),
    "attn_pool.q.weight": torch.ones(32, 32),
    "blocks.0.mlp.fc1.lora_A.weight": torch.ones(2, 32),
}


@pytest.mark.parametrize(("name", "tensor"), HARMFUL.items())
def test_a_leftover_that_would_change_the_function_is_refused(
    name: str, tensor: Tensor, tmp_path: Path
) -> None:
    written(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors | {name: tensor})
    with pytest.raises(SourceError, match=f"hold unknown {name}".replace(".", r"\.")):
        fm.load(tmp_path)


def test_a_weight_that_timm_would_draw_at_random_is_missed(tmp_path: Path) -> None:
    """timm only logs it where the numbers of classes differ."""
    written(tmp_path)
    rewrite(tmp_path, lambda found: {name: found[name] for name in found if "fc2" not in name})
    with pytest.raises(SourceError, match=r"lack blocks\.0\.mlp\.fc2"):
        fm.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_classes": 5}, r"head\.bias has shape \(3,\) in the file and \(5,\) by config"),
        ({"img_size": 32}, r"pos_embed has shape \(1, 5, 32\) in the file and \(1, 17, 32\)"),
        ({"in_chans": 1}, r"\(32, 3, 8, 8\) in the file and \(32, 1, 8, 8\)"),
        ({"mlp_ratio": 2}, r"fc1\.bias has shape \(128,\) in the file and \(64,\)"),
    ],
    ids=str,
)
def test_a_shape_of_another_config_is_told_with_both_shapes(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    written(tmp_path)
    edit(tmp_path, model_args=ARGUMENTS | changes)
    with pytest.raises(SourceError, match=said):
        fm.load(tmp_path)


def test_a_flat_config_is_read_as_timm_reads_it(tmp_path: Path) -> None:
    """As timm wrote it before 0.9: no model_args, the size and the classes beside the name."""
    module = written(tmp_path, img_size=32, patch_size=16, embed_dim=192, depth=12, num_heads=3)
    flat = {
        "architecture": PLAIN, "num_classes": 3, "input_size": [3, 32, 32],
        "fixed_input_size": True, "mean": [0.5] * 3, "std": [0.5] * 3,
        "classifier": "head", "first_conv": "patch_embed.proj",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(flat))
    model = fm.load(tmp_path)
    batch = model.family.example(model.model)
    assert tuple(batch.args[0].shape[1:]) == (3, 32, 32)
    assert torch.equal(logits(module, batch), logits(model.model, batch))
    as_timm_has_it(model, tmp_path)


@pytest.mark.parametrize(
    "argument",
    [
        {"checkpoint_path": "trap.pth"}, {"pretrained": True}, {"pretrained_cfg": {"url": "x"}},
        {"cache_dir": "/nowhere", "no_such": 1},
    ],
    ids=str,
)  # fmt: skip
def test_no_other_file_can_be_named_in_the_arguments(
    argument: dict[str, object], tmp_path: Path
) -> None:
    written(tmp_path)
    (tmp_path / "trap.pth").write_bytes(b"not read")
    edit(tmp_path, model_args=ARGUMENTS | argument)
    with pytest.raises(SourceError, match=r"timm cannot build .* argument"):
        fm.load(tmp_path)


def test_a_hybrid_opens_at_the_size_it_was_built_for(tmp_path: Path) -> None:
    arguments = {"num_classes": 3, "depth": 2, "img_size": 64, "embed_dim": 32, "num_heads": 4}
    module = randomise(timm.create_model("vit_tiny_r_s16_p8_224", **arguments), scale=0.1)
    save_for_hf(module, str(tmp_path), model_args=arguments, safe_serialization=True)
    model = fm.load(tmp_path, task="digits")
    assert model.family.example(model.model).args[0].shape == (4, 3, 64, 64)
    as_timm_has_it(model, tmp_path)
    for layout in ("compact", "portable"):
        folder = fm.save(model, tmp_path / layout, layout).folder
        assert fm.load(folder).revision == model.revision
    as_timm_has_it(model, tmp_path / "portable")


@pytest.mark.parametrize(
    "options", [{"dynamic_img_size": True}, {"in_chans": 1}, {"img_size": (16, 24)}], ids=str
)
def test_the_example_has_the_model_s_own_shape(options: dict[str, Any], tmp_path: Path) -> None:
    written(tmp_path, **options)
    model = fm.load(tmp_path)
    size = options.get("img_size", (16, 16))
    expected = (4, options.get("in_chans", 3), *size)
    assert model.family.example(model.model).args[0].shape == expected
    as_timm_has_it(model, tmp_path)

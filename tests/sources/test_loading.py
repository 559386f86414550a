"""Opening folders, good and bad. Every refusal is a sentence and never a pickle."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load, save_file
from timm.models import save_for_hf

import ffmerge_core as fm
from ffmerge_core.errors import DataError, SourceError, UnsupportedModelError
from ffmerge_core.models.structure import fingerprint
from tests.conftest import randomise, transformers_vit
from tests.models.tiny import gpt2, logits, marian, opt, vit_encoder


def timm_module() -> torch.nn.Module:
    return randomise(
        timm.create_model(
            "vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=32, depth=2, num_heads=4,
            num_classes=10,
        ),
        scale=0.2,
    )  # fmt: skip


@pytest.fixture
def timm_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "timm"
    arguments = {"img_size": 16, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
    save_for_hf(timm_module(), str(folder), model_args=arguments, safe_serialization=True)
    return folder


@pytest.fixture
def transformers_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "transformers"
    transformers_vit().save_pretrained(folder)
    return folder


def test_a_timm_folder_opens_with_its_weights(timm_folder: Path) -> None:
    model = fm.load(timm_folder)
    assert model.family.name == "timm ViT"
    assert model.revision == fingerprint(timm_module())
    assert [sublayer.name for sublayer in model.sublayers] == ["encoder.0", "encoder.1"]


def test_a_transformers_folder_opens_with_its_weights(transformers_folder: Path) -> None:
    model = fm.load(str(transformers_folder))
    assert model.family.name == "transformers ViT"
    assert model.revision == fingerprint(transformers_vit())


@pytest.mark.parametrize(
    ("build", "family"),
    [
        (gpt2, "transformers GPT-2"),
        (opt, "transformers OPT"),
        (marian, "transformers Marian"),
        (vit_encoder, "transformers ViT"),
    ],
)
def test_transformers_folders_open_with_their_weights(
    build: Callable[[], torch.nn.Module], family: str, tmp_path: Path
) -> None:
    module = build()
    module.save_pretrained(tmp_path)  # type: ignore[operator]
    model = fm.load(tmp_path)
    assert (model.family.name, model.tokenizer) == (family, None)
    assert model.revision == fingerprint(module)
    assert model.n_parameters == sum(parameter.numel() for parameter in module.parameters())
    batch = model.family.example(model.model)
    assert torch.equal(logits(model.model, batch), logits(module, batch))


def test_a_model_in_several_files_opens(tmp_path: Path) -> None:
    module = gpt2()
    module.save_pretrained(tmp_path, max_shard_size="20KB")  # type: ignore[operator]
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert fm.load(tmp_path).revision == fingerprint(module)
    next(iter(sorted(tmp_path.glob("*.safetensors")))).unlink()
    with pytest.raises(SourceError, match=str(tmp_path)):
        fm.load(tmp_path)


def test_a_weight_of_a_text_model_that_is_missing_is_named(tmp_path: Path) -> None:
    gpt2().save_pretrained(tmp_path)  # type: ignore[operator]
    tensors = load((tmp_path / "model.safetensors").read_bytes())
    del tensors["transformer.h.1.mlp.c_fc.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(SourceError, match=r"lack transformer\.h\.1\.mlp\.c_fc\.weight"):
        fm.load(tmp_path)


def test_a_class_that_is_not_the_configs_is_a_sentence(tmp_path: Path) -> None:
    gpt2().save_pretrained(tmp_path)  # type: ignore[operator]
    edit_config(tmp_path, architectures=["OPTForCausalLM"])
    with pytest.raises(SourceError, match="gpt2 model but names the class OPTForCausalLM"):
        fm.load(tmp_path)
    edit_config(tmp_path, architectures=["GPT2Poet"])
    with pytest.raises(UnsupportedModelError, match=r"gpt2 model \(GPT2Poet\), .* never runs here"):
        fm.load(tmp_path)
    for odd in ("GPT2LMHeadModel", [["GPT2LMHeadModel"]], [7]):
        edit_config(tmp_path, architectures=odd)
        with pytest.raises(UnsupportedModelError):
            fm.load(tmp_path)


def test_a_damaged_tokenizer_is_a_sentence(tmp_path: Path) -> None:
    gpt2().save_pretrained(tmp_path)  # type: ignore[operator]
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(SourceError, match="cannot read the tokenizer"):
        fm.load(tmp_path)


def test_digits_are_fitted_to_the_models_input(timm_folder: Path) -> None:
    model = fm.load(timm_folder, task="digits")
    assert model.task is not None
    batch = next(iter(model.task.calibration(0, batch_size=4)))
    assert batch.args[0].shape == (4, 3, 16, 16)
    assert fm.evaluate(model).n == model.task.size("validation")


def test_a_model_opened_without_data_says_so(timm_folder: Path) -> None:
    with pytest.raises(DataError, match='task="digits"'):
        fm.calibrate(fm.load(timm_folder))


def test_unknown_data_is_refused(timm_folder: Path) -> None:
    with pytest.raises(DataError, match='no built-in data called "cats"'):
        fm.load(timm_folder, task="cats")


def test_a_module_in_memory_is_not_touched() -> None:
    module = transformers_vit().train()
    before = fingerprint(module)
    model = fm.load(module)
    assert model.model is module
    assert module.training
    assert fingerprint(module) == before


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_absent_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no folder .*or a demo: demo:vit-digits"):
        fm.load(tmp_path / "nothing")
    with pytest.raises(SourceError, match=r"config\.json is not there"):
        fm.load(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(SourceError, match="is a file"):
        fm.load(file)


@pytest.mark.parametrize("keep", [0, 7, 40, 0.5, 0.999])
@pytest.mark.parametrize("folder", ["timm_folder", "transformers_folder"])
def test_a_truncated_file_is_damaged(
    folder: str, keep: float, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(folder) / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(SourceError, match="damaged or cut short"):
        fm.load(path.parent)


def test_garbage_is_damaged(timm_folder: Path) -> None:
    (timm_folder / "model.safetensors").write_bytes(b"\xff" * 4096)
    with pytest.raises(SourceError, match="damaged or cut short"):
        fm.load(timm_folder)


def test_a_pickle_is_refused_and_never_opened(timm_folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    (timm_folder / "model.safetensors").unlink()
    (timm_folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(SourceError, match=r"pickle \(pytorch_model\.bin\).*refused"):
        fm.load(timm_folder)
    assert not (tmp_path / "sprung").exists()


def test_weights_missing_beside_a_config(timm_folder: Path) -> None:
    (timm_folder / "model.safetensors").unlink()
    with pytest.raises(SourceError, match=r"no model\.safetensors"):
        fm.load(timm_folder)


def test_configs_of_unknown_families(timm_folder: Path, transformers_folder: Path) -> None:
    edit_config(timm_folder, architecture="no_such_net")
    with pytest.raises(UnsupportedModelError, match="no architecture called no_such_net"):
        fm.load(timm_folder)
    edit_config(transformers_folder, model_type="mamba", architectures=["MambaPoet"])
    with pytest.raises(UnsupportedModelError, match=r"mamba model \(MambaPoet\), .* no class"):
        fm.load(transformers_folder)
    (transformers_folder / "config.json").write_text("{}")
    with pytest.raises(SourceError, match="neither"):
        fm.load(transformers_folder)
    for text in ("not json", "[1]"):
        (transformers_folder / "config.json").write_text(text)
        with pytest.raises(SourceError, match=r"config\.json"):
            fm.load(transformers_folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "abc"},
        {"num_attention_heads": 0},
        {"patch_size": 0},
        {"hidden_act": "nope"},
        {"num_hidden_layers": -1},
    ],
    ids=str,
)
def test_a_config_that_builds_nothing_is_a_sentence(
    transformers_folder: Path, changes: dict[str, object]
) -> None:
    edit_config(transformers_folder, **changes)
    with pytest.raises(SourceError, match=str(transformers_folder)):
        fm.load(transformers_folder)


@pytest.mark.parametrize("path", ["~nosuchuser/x", "x" * 300, "a\0b"])
def test_a_path_that_is_none_is_a_sentence(path: str) -> None:
    with pytest.raises(SourceError):
        fm.load(path)


def test_half_precision_is_loaded_as_the_recipe_says(tmp_path: Path) -> None:
    transformers_vit().bfloat16().save_pretrained(tmp_path)
    model = fm.load(tmp_path)
    assert {parameter.dtype for parameter in model.model.parameters()} == {torch.float32}


def test_a_timm_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    module = timm.create_model("resnet18", num_classes=10)
    save_for_hf(module, str(tmp_path), safe_serialization=True)
    with pytest.raises(UnsupportedModelError, match="ResNet"):
        fm.load(tmp_path)


def test_weights_of_another_model_are_refused(timm_folder: Path, transformers_folder: Path) -> None:
    edit_config(timm_folder, model_args={"img_size": 16, "patch_size": 8, "num_classes": 10})
    with pytest.raises(SourceError, match="do not fit"):
        fm.load(timm_folder)
    edit_config(transformers_folder, num_hidden_layers=5)
    with pytest.raises(SourceError, match="lack"):
        fm.load(transformers_folder)
    edit_config(transformers_folder, num_hidden_layers=2)
    with pytest.raises(SourceError, match="hold unknown"):
        fm.load(transformers_folder)
    edit_config(transformers_folder, num_hidden_layers=3, intermediate_size=96)
    with pytest.raises(SourceError, match=r"shape \(64,\) in the file and \(96,\) by config"):
        fm.load(transformers_folder)

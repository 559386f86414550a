"""pytorch_model.bin: read with consent, by a loader that makes tensors and nothing else."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import PlanError, SourceError
from tests.conftest import transformers_vit
from tests.models.tiny import TIMM_ARGUMENTS, gpt2, logits, marian, timm_small

MODELS: dict[str, Callable[[], nn.Module]] = {
    "GPT-2": gpt2, "Marian": marian, "ViT": transformers_vit, "timm": timm_small,
}  # fmt: skip


def bins(name: str, folder: Path, **options: bool) -> nn.Module:
    """A folder as torch.save leaves it, without safetensors; the module that is in it."""
    module: Any = MODELS[name]()
    if name == "timm":
        save_for_hf(module, str(folder), model_args=TIMM_ARGUMENTS, safe_serialization=True)
    else:
        module.save_pretrained(folder)
    file = folder / "model.safetensors"
    state = module.state_dict() if name in ("GPT-2", "timm") else load_file(file)
    torch.save(state, folder / "pytorch_model.bin", **options)
    file.unlink()
    return module


class Trap:
    """Leaves a mark wherever somebody makes it again."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older format"])
@pytest.mark.parametrize("name", MODELS)
def test_it_opens_with_consent_alone(name: str, zipped: bool, tmp_path: Path) -> None:
    module = bins(name, tmp_path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(SourceError, match=r"pickle \(pytorch_model\.bin\).*refused.*--allow-bin"):
        fm.load(tmp_path)
    model = fm.load(tmp_path, allow_bin=True)
    assert model.from_bin
    batch = model.family.example(module)
    assert torch.equal(logits(model.model, batch), logits(module, batch))
    again = fm.load(fm.save(model, tmp_path / "saved", "portable").folder)
    assert (again.from_bin, again.revision) == (False, model.revision)


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    module = bins("GPT-2", tmp_path)
    whole = torch.load(tmp_path / "pytorch_model.bin")
    names = sorted(whole)
    files = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin":
             names[9:]}  # fmt: skip
    for file, inside in files.items():
        torch.save({name: whole[name] for name in inside}, tmp_path / file)
    (tmp_path / "pytorch_model.bin").unlink()
    index = {name: file for file, inside in files.items() for name in inside}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
    model = fm.load(tmp_path, allow_bin=True)
    batch = model.family.example(module)
    assert torch.equal(logits(model.model, batch), logits(module, batch))
    torch.save({"x": Trap(tmp_path / "sprung")}, tmp_path / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(SourceError, match="00002-of-00002"):
        fm.load(tmp_path, allow_bin=True)
    assert not (tmp_path / "sprung").exists()


TRAPS: dict[str, Callable[[Path, dict[str, torch.Tensor], Trap], object]] = {
    "a bare pickle": lambda file, state, trap: file.write_bytes(pickle.dumps(trap)),
    "of protocol 0": lambda file, state, trap: file.write_bytes(pickle.dumps(trap, protocol=0)),
    "saved by torch": lambda file, state, trap: torch.save(trap, file),
    "beside tensors": lambda file, state, trap: torch.save({**state, "extra": trap}, file),
    "beside tensors, older format": lambda file, state, trap: torch.save(
        {**state, "extra": trap}, file, _use_new_zipfile_serialization=False
    ),
    "deep inside": lambda file, state, trap: torch.save({"a": [{"b": (1, trap)}]}, file),
}


@pytest.mark.parametrize("write", TRAPS.values(), ids=TRAPS)
@pytest.mark.parametrize("name", ["GPT-2", "timm"])
def test_what_a_pickle_asks_for_is_never_called(
    name: str, write: Callable[[Path, dict[str, torch.Tensor], Trap], object], tmp_path: Path
) -> None:
    bins(name, tmp_path)
    file, mark = tmp_path / "pytorch_model.bin", tmp_path / "sprung"
    write(file, torch.load(file), Trap(mark))
    for allowed in (False, True):
        with pytest.raises(SourceError) as refused:
            fm.load(tmp_path, allow_bin=allowed)
        assert not mark.exists()
    assert "refused" in str(refused.value)
    assert "weights_only=False" not in str(refused.value)


def test_the_trap_is_one(tmp_path: Path) -> None:
    mark = tmp_path / "sprung"
    text = pickle.dumps(Trap(mark))
    assert not mark.exists()
    pickle.loads(text)
    assert mark.exists()


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a list": (lambda file: torch.save([1, 2], file), "holds a list"),
    "a number": (lambda file: torch.save({"a": 1}, file), "'a' as a int"),
    "a name that is none": (lambda file: torch.save({1: torch.ones(2)}, file), "'1' as a Tensor"),
    "a checkpoint of a trainer": (
        lambda file: torch.save({"state_dict": {"a": torch.ones(2)}}, file), "'state_dict' as a",
    ),
    "a sparse tensor": (
        lambda file: torch.save({"a": torch.ones(2, 2).to_sparse()}, file), "'a' as a Tensor",
    ),
    "complex numbers": (
        lambda file: torch.save({"a": torch.ones(2, dtype=torch.complex64)}, file),
        "'a' as a Tensor",
    ),
    "nothing": (lambda file: file.write_bytes(b""), "damaged"),
    "noise": (lambda file: file.write_bytes(b"\xff" * 4096), "refused|damaged"),
    "half of it": (lambda file: file.write_bytes(file.read_bytes()[:3000]), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "sentence"), OTHERS.values(), ids=OTHERS)
def test_what_holds_no_names_of_tensors_is_a_sentence(
    write: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    bins("GPT-2", tmp_path)
    write(tmp_path / "pytorch_model.bin")
    with pytest.raises(SourceError, match=sentence):
        fm.load(tmp_path, allow_bin=True)


def test_safetensors_come_first_and_no_other_pickle_is_read(tmp_path: Path) -> None:
    module: Any = gpt2()
    module.save_pretrained(tmp_path)
    mark = tmp_path / "sprung"
    torch.save(Trap(mark), tmp_path / "pytorch_model.bin")
    model = fm.load(tmp_path, allow_bin=True)
    assert not model.from_bin
    (tmp_path / "model.safetensors").unlink()
    for name in ("model.pt", "model.ckpt", "pytorch_model.pkl"):
        (tmp_path / "pytorch_model.bin").unlink(missing_ok=True)
        torch.save(Trap(mark), tmp_path / name)
        with pytest.raises(SourceError, match=r"only as a pickle .*safe_serialization=True\.$"):
            fm.load(tmp_path, allow_bin=True)
    assert not mark.exists()


def test_types_are_kept_from_a_pickle_too(tmp_path: Path) -> None:
    bins("GPT-2", tmp_path)
    file = tmp_path / "pytorch_model.bin"
    torch.save({name: each.bfloat16() for name, each in torch.load(file).items()}, file)
    assert set(fm.load(tmp_path, allow_bin=True).kept_bytes) == {"bfloat16"}


def test_a_recipe_records_the_consent_and_replays(tmp_path: Path) -> None:
    bins("timm", tmp_path / "original")
    plan = fm.MergePlan((("encoder.0", "encoder.1"),), method="vanilla")
    asked = fm.Recipe(str(tmp_path / "original"), plan, data="digits", allow_bin=True)
    result = fm.run(asked)
    said = json.loads(json.dumps(result.recipe.to_dict()))
    assert said["allow_bin"] is True
    again = fm.run(fm.Recipe.from_dict(said))
    assert again.after.summary() == result.after.summary()
    with pytest.raises(SourceError, match="--allow-bin"):
        fm.run(fm.Recipe(str(tmp_path / "original"), plan, data="digits"))


def test_a_recipe_that_needs_no_consent_says_nothing_of_it() -> None:
    """So do those that were written before there was any; and what is no yes is none."""
    plan = fm.MergePlan((("encoder.4", "encoder.5"),), method="vanilla")
    result = fm.run(fm.Recipe("demo:vit-digits", plan, allow_bin=True))
    assert "allow_bin" not in result.recipe.to_dict()
    assert fm.Recipe.from_dict(result.recipe.to_dict()).allow_bin is False
    with pytest.raises(PlanError, match="allow_bin"):
        fm.Recipe("demo:vit-digits", plan, allow_bin="yes")  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="allow_bin"):
        fm.load("demo:vit-digits", allow_bin=1)  # type: ignore[arg-type]

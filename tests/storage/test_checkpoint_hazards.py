"""Saved models that were edited, damaged or cut short, folders that are taken, full disks."""

import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file

import ffmerge_core as fm
from ffmerge_core.errors import Cancelled, SourceError, StorageError
from ffmerge_core.storage.layouts import LAYOUTS
from tests.storage.test_checkpoint import edit, merge, original


@pytest.fixture
def small(tmp_path: Path) -> fm.LoadedModel:
    return merge(original("GPT-2", tmp_path))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"n_parameters": 7}, "says 7"),
        ({"n_parameters": "7"}, "damaged or edited"),
        ({"format": 2}, "format 2 was found"),
        ({"layout": "zip"}, "damaged or edited"),
        ({"layout": None}, "damaged or edited"),
        ({"plan": {"kind": "melt"}}, "damaged or edited"),
        ({"plan": [1]}, "damaged or edited"),
        ({"plan": {"groups": [["decoder.0", "decoder.9"]]}}, r"does not suit.*decoder\.9"),
        ({"plan": {"groups": [["decoder.0", ["x"]]]}}, "does not suit|damaged"),
        ({"plan": {"groups": [["decoder.0", "decoder.1"]]}}, "lack|differ"),
        ({"plan": {"groups": [["decoder.0", "decoder.1", "decoder.2"]]}}, "unknown|differ"),
        ({"plan": None}, "lack|holds"),
        ({"recipe": {"tokens": 5}}, "damaged or edited"),
        ({"extra": 1}, "damaged or edited"),
    ],
    ids=str,
)
def test_an_edited_record_is_a_sentence(
    layout: str, changes: dict[str, object], sentence: str, small: fm.LoadedModel, tmp_path: Path
) -> None:
    folder = fm.save(small, tmp_path / "saved", layout).folder
    edit(folder / "ffmerge.json", **changes)
    with pytest.raises(SourceError, match=sentence):
        fm.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "[" * 100_000])
def test_a_record_that_is_none_is_a_sentence(
    text: str, small: fm.LoadedModel, tmp_path: Path
) -> None:
    folder = fm.save(small, tmp_path / "saved").folder
    (folder / "ffmerge.json").write_text(text)
    with pytest.raises(SourceError, match=r"ffmerge\.json"):
        fm.load(folder)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damaged_weights_are_a_sentence(layout: str, small: fm.LoadedModel, tmp_path: Path) -> None:
    folder = fm.save(small, tmp_path / "saved", layout).folder
    [path] = folder.glob("*.safetensors")
    whole = path.read_bytes()
    tensors = load(whole)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="damaged or cut short"):
        fm.load(folder)
    name = "transformer.h.1.mlp.c_fc.weight"
    fewer = {key: tensor for key, tensor in tensors.items() if key != name}
    save_file(fewer, path, {"format": "pt"})
    with pytest.raises(SourceError, match=f"lack {name}"):
        fm.load(folder)
    save_file({**tensors, "stray": torch.zeros(1)}, path, {"format": "pt"})
    with pytest.raises(SourceError, match="hold unknown stray"):
        fm.load(folder)
    save_file({**tensors, name: torch.zeros(2, 2)}, path, {"format": "pt"})
    with pytest.raises(SourceError, match=rf"{name} has shape \(2, 2\) in the file and \(32, 48\)"):
        fm.load(folder)
    path.unlink()
    with pytest.raises(SourceError, match=r"no model\.safetensors"):
        fm.load(folder)


def test_a_portable_copy_that_was_trained_since_is_told_so(
    small: fm.LoadedModel, tmp_path: Path
) -> None:
    folder = fm.save(small, tmp_path / "saved", "portable").folder
    tensors = load((folder / "model.safetensors").read_bytes())
    tensors["transformer.h.2.mlp.c_fc.bias"][0] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        SourceError, match=r"decoder\.0 and decoder\.2 share their weights.*Delete ffmerge"
    ):
        fm.load(folder)
    (folder / "ffmerge.json").unlink()
    assert fm.load(folder).plan is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_does_not_read_back_is_told_of_the_folder_that_was_asked_for(
    layout: str, small: fm.LoadedModel, tmp_path: Path
) -> None:
    """The draft beside it is ours, and gone when somebody reads the sentence."""
    config: Any = small.model.config
    config.n_inner = 40
    with pytest.raises(SourceError, match="shape") as refused:
        fm.save(small, tmp_path / "target", layout)
    said = str(refused.value)
    assert str(tmp_path / "target") in said
    assert ".tmp" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original"]


def test_a_folder_that_is_taken_is_left_alone(small: fm.LoadedModel, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    fm.save(small, target)
    with pytest.raises(StorageError, match="not empty"):
        fm.save(small, target)
    (target / "stray").write_text("old")
    fm.save(small, target, "portable", overwrite=True)
    assert not (target / "stray").exists()
    assert not (target / "merged.safetensors").exists()
    (target / "ffmerge.json").unlink()
    with pytest.raises(StorageError, match=r"no ffmerge\.json"):
        fm.save(small, target, overwrite=True)
    with pytest.raises(StorageError, match="is a file"):
        fm.save(small, target / "config.json", overwrite=True)
    with pytest.raises(StorageError, match="cannot be written"):
        fm.save(small, target / "config.json" / "below")
    with pytest.raises(StorageError, match="layout is 'zip'"):
        fm.save(small, tmp_path / "new", "zip")  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original", "target"]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_cancel_leaves_the_old_folder(step: int, small: fm.LoadedModel, tmp_path: Path) -> None:
    target = fm.save(small, tmp_path / "target").folder
    (target / "old").touch()

    def stop(done: int, total: int, message: str, values: object = None) -> None:
        if done == step:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        fm.save(small, target, overwrite=True, report=stop)
    assert (target / "old").exists()
    assert fm.load(target).n_parameters == small.n_parameters
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original", "target"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("room", [100, 3000, 40_000])
def test_a_disk_without_room_leaves_the_old_folder(
    layout: str, room: int, small: fm.LoadedModel, tmp_path: Path
) -> None:
    target = fm.save(small, tmp_path / "target", layout).folder
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            fm.save(small, target, layout, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original", "target"]

"""Reduced models are saved and come back the same; plain libraries read what they can build."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import SourceError
from ffmerge_core.models.structure import fingerprint, shared_copy
from ffmerge_core.plan import METHODS, DropFF, DropLayers, Factor, Narrow, Plan
from tests.models.tiny import logits
from tests.storage.test_checkpoint import MODELS, original

PLANS: dict[str, Callable[[tuple[str, ...]], Plan]] = {
    "layer drop": DropLayers,
    "FF drop": DropFF,
    "SVD": lambda names: Factor(names, 6),
    "narrow": lambda names: Narrow(names, 20),
}


def reduced(name: str, method: str, tmp_path: Path) -> fm.LoadedModel:
    model = original(name, tmp_path)
    names = tuple(f"{stack}.1" for stack in model.stacks)
    feats = fm.calibrate(model, tokens=30)
    return fm.apply(model, PLANS[method](names), feats)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", PLANS)
def test_a_reduced_model_comes_back_the_same(name: str, method: str, tmp_path: Path) -> None:
    small = reduced(name, method, tmp_path)
    before, batch = fingerprint(small.model), small.family.example(small.model)
    saved = fm.save(small, tmp_path / "compact")
    assert fingerprint(small.model) == before == fingerprint(shared_copy(small.model))
    assert saved.n_parameters == small.n_parameters
    again = fm.load(saved.folder)
    assert torch.equal(logits(again.model, batch), logits(small.model, batch))
    assert again.n_parameters == small.n_parameters
    assert (again.plan, again.sublayers) == (small.plan, small.sublayers)
    # And once more, from what was read.
    twice = fm.load(fm.save(again, tmp_path / "twice").folder)
    assert (fingerprint(twice.model), twice.source) == (before, str(tmp_path / "twice"))


@pytest.mark.parametrize("name", MODELS)
def test_plain_libraries_read_a_model_of_fewer_layers(name: str, tmp_path: Path) -> None:
    small = reduced(name, "layer drop", tmp_path)
    batch = small.family.example(small.model)
    folder = fm.save(small, tmp_path / "portable", "portable").folder
    assert torch.equal(logits(plain(small.model, folder), batch), logits(small.model, batch))
    again = fm.load(folder)
    assert (again.plan, again.sublayers) == (small.plan, small.sublayers)


def plain(module: nn.Module, folder: Path) -> nn.Module:
    """As a reader without this package opens it."""
    if hasattr(module, "config"):
        read = type(module).from_pretrained  # type: ignore[attr-defined]
        found, info = read(folder, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        return found.eval()  # type: ignore[no-any-return]
    config = json.loads((folder / "config.json").read_text())
    built: nn.Module = timm.create_model(config["architecture"], **config["model_args"])
    built.load_state_dict(load_file(folder / "model.safetensors"))
    return built.eval()


@pytest.mark.parametrize("method", ["FF drop", "SVD", "narrow"])
def test_what_plain_libraries_cannot_build_is_refused(method: str, tmp_path: Path) -> None:
    small = reduced("GPT-2", method, tmp_path)
    with pytest.raises(SourceError, match=f"{METHODS[method].label} leaves.*compact layout"):
        fm.save(small, tmp_path / "portable", "portable")
    assert not (tmp_path / "portable").exists()


@pytest.mark.parametrize(
    ("method", "change"),
    [("SVD", {"rank": 5}), ("narrow", {"width": 21}), ("FF drop", {"sublayers": ["decoder.0"]})],
)
def test_another_plan_than_the_weights_were_saved_by_is_refused(
    method: str, change: dict[str, object], tmp_path: Path
) -> None:
    folder = fm.save(reduced("GPT-2", method, tmp_path), tmp_path / "compact").folder
    record = json.loads((folder / "ffmerge.json").read_text())
    other = copy.deepcopy(record)
    other["plan"] |= change
    (folder / "ffmerge.json").write_text(json.dumps(other))
    with pytest.raises(SourceError, match=r"do not fit|lack|parameters"):
        fm.load(folder)

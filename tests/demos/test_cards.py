"""What every demo has: a card that is true, weights and a task that load, files that are whole."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from safetensors.torch import load_file, load_model
from torch import nn

from ffmerge_core import demos
from ffmerge_core.demos.describe import in_words, measured
from ffmerge_core.demos.files import TOKENIZER, WEIGHTS
from ffmerge_core.errors import SourceError
from ffmerge_core.models.sublayers import FFSublayer

NAMES = ("vit-digits", "gpt2-code", "marian-en-fr")
FOLDER = Path(demos.__file__).parent
FILES = {WEIGHTS: "weights", TOKENIZER: "tokenizer"}
LIMIT = 30_000_000  # bytes, of all demos together


class Demo:
    """A demo with its parts; loaded once for this file, and never changed."""

    def __init__(self, name: str) -> None:
        self.card = demos.card(name)
        self.folder = FOLDER / demos.package(name)
        self.package: ModuleType = import_module(f"ffmerge_core.demos.{demos.package(name)}.model")
        loaded: tuple[nn.Module, Any] = demos.load(name)
        self.model, self.task = loaded

    @property
    def same_data(self) -> bool:
        """Another version of Python or of CLDR says other things."""
        return bool(self.task.revision == self.card.data_revision)


@pytest.fixture(scope="module", params=NAMES)
def demo(request: pytest.FixtureRequest) -> Demo:
    return Demo(request.param)


def smaller(task: Any) -> Any:
    """The same kind of task on the first few of its examples."""
    splits = ("train", "validation", "test")
    if task.kind == "language-modeling":
        return replace(task, texts={s: (task.texts[s][0][:900],) for s in splits}, _streams={})
    if task.kind == "translation":
        return replace(task, pairs={split: task.pairs[split][:2] for split in splits})
    few = {s: replace(i, images=i.images[:9], labels=i.labels[:9]) for s, i in task.splits.items()}
    return replace(task, splits=few)


def test_listing_and_cards_import_nothing_heavy() -> None:
    code = (
        "import sys; from ffmerge_core import demos; "
        "[demos.card(name) for name in demos.names()]; "
        "heavy = {'torch', 'timm', 'transformers', 'tokenizers', 'sklearn', 'scipy', 'pandas', "
        "'numpy', 'babel'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_card_is_found_after_a_demo_was_loaded() -> None:
    """Loading imports the module `files`, which must not stand in another's place."""
    demos.card.cache_clear()
    assert hasattr(demos, "files")
    assert demos.card("vit-digits").name == "vit-digits"


def test_an_unknown_demo_is_refused_with_the_known_ones() -> None:
    for act in (demos.card, demos.load, demos.package):
        with pytest.raises(SourceError, match=r"no demo called 'gpt-9'.*demo:vit-digits.*demo:g"):
            act("demo:gpt-9")


def test_names_work_with_and_without_their_prefix() -> None:
    assert demos.names() == NAMES
    for name in NAMES:
        assert demos.card(name) == demos.card(f"demo:{name}")
        assert demos.card(name).name == name


def test_a_card_of_another_version_is_refused() -> None:
    with pytest.raises(SourceError, match="lacks or does not know"):
        demos.Card.from_dict({"name": "vit-digits"})
    known = json.loads((FOLDER / "vit_digits" / "card.json").read_text("utf-8"))
    with pytest.raises(SourceError, match="does not know: colour"):
        demos.Card.from_dict(known | {"colour": "blue"})


def test_all_demos_together_are_small() -> None:
    files = [file for file in FOLDER.rglob("*") if file.suffix in (".json", ".safetensors")]
    assert len(files) == 3 + 3 + 2
    assert sum(file.stat().st_size for file in files) < LIMIT


def test_the_card_describes_the_model(demo: Demo) -> None:
    found = json.loads(json.dumps(measured(demo.model, smaller(demo.task))))
    card = json.loads((demo.folder / "card.json").read_text("utf-8"))
    for split in ("validation", "test"):
        assert found[split].keys() == card[split].keys()
        assert found[split]["metric"] == card[split]["metric"] == demo.task.metric
        assert found[split]["others"].keys() == card[split]["others"].keys()
        assert found[split]["notes"].keys() == card[split]["notes"].keys()
    for key in found.keys() - {"validation", "test", "data_revision"}:
        assert found[key] == card[key], key
    assert sum(part.n_parameters for part in demo.card.anatomy) == demo.card.n_parameters
    assert not demo.model.training
    for score in ("validation: ", "test: ", demo.card.metric):
        assert score in in_words(card)


def test_the_card_s_sublayers_are_the_model_s_ff_parameters(demo: Demo) -> None:
    parameters = {}
    for data in demo.card.sublayers:
        each = FFSublayer.from_dict(data)
        assert json.loads(json.dumps(each.to_dict())) == data
        own = {
            f"{path}.{name}": parameter
            for path in each.modules.values()
            for name, parameter in demo.model.get_submodule(path).named_parameters()
        }
        assert sum(parameter.numel() for parameter in own.values()) == each.n_parameters
        # GPT-2's Conv1D keeps its matrix inputs first.
        shape = (each.d_model, each.d_ff) if each.transposed else (each.d_ff, each.d_model)
        assert own[f"{each.w_in.module}.weight"].shape == shape
        assert own[f"{each.w_out.module}.weight"].shape == shape[::-1]
        demo.model.get_submodule(each.attention)
        parameters |= own
    assert set(parameters) == {
        name
        for name, _ in demo.model.named_parameters()
        if ".mlp." in name or ".fc1." in name or ".fc2." in name
    }
    ff = next(part for part in demo.card.anatomy if part.part == "FF")
    assert sum(each.numel() for each in parameters.values()) == ff.n_parameters


def test_the_weights_are_the_card_s_and_hold_each_parameter_once(demo: Demo) -> None:
    weights = demo.folder / WEIGHTS
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == demo.card.weights_sha256
    assert load_model(demo.package.build(), weights, strict=True) == (set(), [])
    stored = load_file(weights)
    # A tied head is stored once; Marian's output bias is a buffer.
    buffers = dict(demo.model.named_buffers())
    n_stored = sum(each.numel() for name, each in stored.items() if name not in buffers)
    assert n_stored == demo.card.n_parameters
    assert all(each.isfinite().all() for each in stored.values())


def test_the_validation_score_is_measured_again(demo: Demo) -> None:
    again = demo.task.evaluate(demo.model, "validation").summary()
    recorded = demo.card.validation
    if demo.same_data:
        assert (again["n"], again["notes"]) == (recorded["n"], recorded["notes"])
        # Another processor may add in another order, and then rarely choose another word.
        assert again["value"] == pytest.approx(recorded["value"], rel=5e-3)
        assert again["interval"] == pytest.approx(recorded["interval"], rel=5e-3)
        assert again["loss"] == pytest.approx(recorded["loss"], rel=1e-3)
    else:
        assert again["value"] == pytest.approx(recorded["value"], rel=0.25)


def test_the_card_counts_the_splits(demo: Demo) -> None:
    assert set(demo.card.splits) == {"train", "validation", "test"}
    if demo.same_data:
        assert demo.card.validation["n"] == demo.task.size("validation")
        assert demo.card.test["n"] == demo.task.size("test")
    for split in (demo.card.validation, demo.card.test):
        low, high = split["interval"]
        assert low < split["value"] < high


def test_every_load_is_a_model_of_its_own(demo: Demo) -> None:
    other, _ = demos.load(demo.card.name)
    mine = {each.data_ptr() for each in demo.model.parameters()}
    assert not mine & {each.data_ptr() for each in other.parameters()}


def cut(raw: bytes) -> bytes:
    return raw[:1000]


@pytest.mark.parametrize("damage", [cut, lambda raw: b"", None])
def test_damaged_and_absent_files_are_refused(
    demo: Demo, tmp_path: Path, damage: Callable[[bytes], bytes] | None
) -> None:
    # An image model has no tokenizer.
    whole = {f: (demo.folder / f).read_bytes() for f in FILES if (demo.folder / f).exists()}
    for damaged in whole:
        for file, content in whole.items():
            (tmp_path / file).write_bytes(content)
        if damage is None:
            (tmp_path / damaged).unlink()
        else:
            (tmp_path / damaged).write_bytes(damage(whole[damaged]))
        expected = rf"{FILES[damaged]} of a demo in .* cannot be read.*Install"
        with pytest.raises(SourceError, match=expected):
            demo.package.load(tmp_path)


def test_another_demo_s_weights_are_refused(demo: Demo, tmp_path: Path) -> None:
    other = NAMES[NAMES.index(demo.card.name) - 1]
    weights = FOLDER / demos.package(other) / WEIGHTS
    (tmp_path / WEIGHTS).write_bytes(weights.read_bytes())
    with pytest.raises(SourceError, match=r"weights of a demo .* cannot be read"):
        demo.package.load(tmp_path)

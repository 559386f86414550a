"""What was loaded is what the file says, whatever flags and files say of ties.

The right logits are those of the module that was saved.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import SourceError
from ffmerge_core.models.structure import plain_state
from ffmerge_core.storage.comparing import holds, refuse_changes, refuse_other_values
from ffmerge_core.storage.layouts import LAYOUTS
from ffmerge_core.storage.weights import Entry, entries_in, in_memory
from tests.conftest import transformers_vit
from tests.models.tiny import NoiseTask, gpt2, logits, marian, opt, timm_small

TIE, SHARE = "tie_word_embeddings", "share_encoder_decoder_embeddings"
# Which embeddings a file holds apart.
CONTENTS: dict[str, Callable[[], nn.Module]] = {
    "GPT-2, one": gpt2,
    "GPT-2, apart": lambda: _apart(gpt2(), "lm_head"),
    "OPT, one": opt,
    "OPT, apart": lambda: opt(tie_word_embeddings=False),
    "Marian, one": marian,
    "Marian, stacks apart": lambda: marian(share_encoder_decoder_embeddings=False),
    "Marian, head apart": lambda: marian(tie_word_embeddings=False),
    "Marian, all apart": lambda: marian(**{TIE: False, SHARE: False}),
}
FLAGS = [
    {TIE: tie, SHARE: share} for tie, share in itertools.product((True, False, None), repeat=2)
]


def _apart(module: nn.Module, path: str) -> nn.Module:
    part: Any = module.get_submodule(path)
    part.weight = nn.Parameter(part.weight.detach() * 2)
    return module


def flagged(folder: Path, flags: dict[str, bool | None]) -> None:
    """None: the field is not there."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | flags
    path.write_text(json.dumps({name: each for name, each in config.items() if each is not None}))


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: str(tuple(flags.values())))
@pytest.mark.parametrize("build", CONTENTS.values(), ids=CONTENTS)
def test_flags_and_content_that_disagree_open_right_or_not_at_all(
    build: Callable[[], nn.Module], flags: dict[str, bool | None], tmp_path: Path
) -> None:
    module: Any = build()
    module.save_pretrained(tmp_path / "original")
    flagged(tmp_path / "original", flags)
    model, why = None, ""
    try:
        model = fm.load(tmp_path / "original", task=NoiseTask(module))
    except SourceError as refused:
        why = str(refused)
    if model is None:
        # What the flags hold apart is in the file once.
        assert "lack" in why or "unknown model.shared.weight" in why
        return
    batch = model.family.example(module)
    assert torch.equal(logits(model.model, batch), logits(module, batch))
    plan = fm.MergePlan(((f"{model.stacks[0]}.0", f"{model.stacks[0]}.2"),), method="vanilla")
    merged = fm.apply(model, plan)
    for layout in LAYOUTS:
        again = fm.load(fm.save(merged, tmp_path / layout, layout).folder)
        assert torch.equal(logits(again.model, batch), logits(merged.model, batch))
        assert again.n_parameters == merged.n_parameters
    plain = type(module).from_pretrained(tmp_path / "portable").eval()
    assert torch.equal(logits(plain, batch), logits(merged.model, batch))


@pytest.mark.parametrize("build", CONTENTS.values(), ids=CONTENTS)
def test_what_was_saved_with_its_own_flags_opens(
    build: Callable[[], nn.Module], tmp_path: Path
) -> None:
    module: Any = build()
    module.save_pretrained(tmp_path)
    model = fm.load(tmp_path)
    batch = model.family.example(module)
    assert torch.equal(logits(model.model, batch), logits(module, batch))


def given(folder: Path) -> tuple[Any, dict[str, Entry], dict[str, torch.Tensor]]:
    """GPT-2 as transformers makes it of what was read, as it is when it is compared."""
    from transformers import GPT2LMHeadModel

    _apart(gpt2(), "lm_head").save_pretrained(folder)  # type: ignore[operator]
    entries = entries_in([folder / "model.safetensors"])
    read = {name: in_memory(entry.read()) for name, entry in entries.items()}
    config = GPT2LMHeadModel.config_class.from_pretrained(folder)
    module = GPT2LMHeadModel.from_pretrained(None, config=config, state_dict=dict(read))
    return module, entries, read


def test_a_tie_that_the_file_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    module, entries, read = given(tmp_path)
    refuse_changes(tmp_path, module, entries, read)
    module.lm_head.weight = module.transformer.wte.weight
    with pytest.raises(SourceError, match=r"other values for lm_head\.weight .* one parameter of "):
        refuse_changes(tmp_path, module, entries, read)
    module, entries, read = given(tmp_path)
    module.transformer.wte.weight = module.lm_head.weight
    with pytest.raises(SourceError, match=r"other values for transformer\.wte\.weight"):
        refuse_changes(tmp_path, module, entries, read)


CHANGES: dict[str, Callable[[torch.Tensor], object]] = {
    "one value": lambda tensor: tensor.view(-1)[3].add_(1e-6),
    "the sign of a zero": lambda tensor: tensor.view(-1)[0].mul_(-1),
    "two values swapped": lambda tensor: tensor.view(-1)[1:3].copy_(tensor.view(-1)[1:3].flip(0)),
    "another tensor": lambda tensor: tensor.set_(tensor * 2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_one_tensor_is_found(
    change: Callable[[torch.Tensor], object], tmp_path: Path
) -> None:
    module, entries, read = given(tmp_path)
    with torch.no_grad():
        change(module.transformer.h[1].mlp.c_fc.weight)
    with pytest.raises(SourceError, match=r"other values for transformer\.h\.1\.mlp\.c_fc\.weight"):
        refuse_changes(tmp_path, module, entries, read)


def test_a_change_of_a_timm_model_is_found(tmp_path: Path) -> None:
    module = timm_small()
    state = {name: Entry.of(each.clone()) for name, each in plain_state(module).items()}
    refuse_other_values(tmp_path, module, state)
    with torch.no_grad():
        module.get_submodule("blocks.0.mlp.fc1").bias[0] += 1e-3  # type: ignore[index]
    with pytest.raises(SourceError, match=r"other values for blocks\.0\.mlp\.fc1\.bias"):
        refuse_other_values(tmp_path, module, state)


def test_bits_are_compared_not_values() -> None:
    nan = torch.tensor([float("nan"), 0.0])
    assert holds(nan, Entry.of(nan))
    assert not holds(torch.tensor([-0.0]), Entry.of(torch.tensor([0.0])))
    assert not holds(torch.zeros(1, 2), Entry.of(torch.zeros(2)))
    assert holds(torch.tensor([0.5]), Entry.of(torch.tensor([0.5]).bfloat16()))
    assert not holds(torch.zeros(2), Entry.of(torch.zeros(2, dtype=torch.int8)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_what_is_longer_than_a_piece_is_compared_to_its_end(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    tensor = torch.arange(2_000_003).remainder(251).to(dtype)
    save_file({"a": tensor, "b": tensor[:0]}, tmp_path / "one.safetensors")
    entries = entries_in([tmp_path / "one.safetensors"])
    entry = entries["a"]
    assert torch.equal(torch.cat([piece.clone() for piece in entry.pieces()]), tensor)
    assert torch.equal(entry.read(), tensor)
    assert holds(in_memory(tensor), entry)
    assert holds(tensor[:0], entries["b"])
    for place in (0, 999_999, 1_000_000, 2_000_002):
        other = tensor.clone()
        other[place] += 1
        assert not holds(in_memory(other), entry)


def test_names_that_transformers_changes_are_followed(tmp_path: Path) -> None:
    """It writes ViT by the names of older versions, and reads the "gamma" of the oldest."""
    module: Any = transformers_vit()
    module.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert not stored.keys() <= module.state_dict().keys()
    batch = fm.load(tmp_path).family.example(module)
    assert torch.equal(logits(fm.load(tmp_path).model, batch), logits(module, batch))


def test_a_shard_is_read_where_the_index_says(tmp_path: Path) -> None:
    module: Any = gpt2()
    module.save_pretrained(tmp_path, max_shard_size="20kB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    batch = fm.load(tmp_path).family.example(module)
    # One that was left behind by another version, and that the index does not name.
    save_file(
        {"transformer.wte.weight": torch.zeros(40, 32)}, tmp_path / "model-9-of-9.safetensors"
    )
    assert torch.equal(logits(fm.load(tmp_path).model, batch), logits(module, batch))
    index = tmp_path / "model.safetensors.index.json"
    text = index.read_text()
    for name, sentence in (("../else.safetensors", "not in its folder"), ("gone", "names gone")):
        index.write_text(text.replace(shards[0].name, name))
        with pytest.raises(SourceError, match=sentence):
            fm.load(tmp_path)
    for nothing in ("{}", "[]", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "{"):
        index.write_text(nothing)
        with pytest.raises(SourceError, match="does not say which files"):
            fm.load(tmp_path)

"""Models in memory whose blocks share parameters already, through merging and saving."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ffmerge_core as fm
from ffmerge_core.compression.search import windows
from ffmerge_core.errors import PlanError, SourceError, UnsupportedModelError
from ffmerge_core.models.families import family_of
from ffmerge_core.models.structure import count_parameters, tie, weights_by_role
from ffmerge_core.models.ties import ties
from ffmerge_core.storage.layouts import LAYOUTS
from tests.conftest import randomise, timm_vit
from tests.models.tiny import NoiseTask, gpt2, logits, marian, opt, vit_encoder

ATTENTION: dict[str, tuple[Callable[[], nn.Module], tuple[str, str]]] = {
    "GPT-2": (gpt2, ("transformer.h.1.attn.c_attn", "transformer.h.2.attn.c_attn")),
    "OPT": (
        opt,
        ("model.decoder.layers.0.self_attn.q_proj", "model.decoder.layers.2.self_attn.q_proj"),
    ),
    "Marian": (
        marian,
        ("model.encoder.layers.0.self_attn.k_proj", "model.decoder.layers.1.self_attn.k_proj"),
    ),
    "a norm": (gpt2, ("transformer.h.0.ln_1", "transformer.ln_f")),
    "ViT": (vit_encoder, ("layers.0.layernorm_before", "layers.1.layernorm_before")),
}


def share(module: nn.Module, paths: Sequence[str]) -> nn.Module:
    """The parameters of the first path stand at the others too."""
    first = module.get_submodule(paths[0])
    for path in paths[1:]:
        for leaf, parameter in list(first.named_parameters()):
            setattr(module.get_submodule(path), leaf, parameter)
    return module


def opened(module: nn.Module) -> fm.LoadedModel:
    return fm.load(module, task=NoiseTask(module))


def share_ff(module: nn.Module, indices: Sequence[int]) -> nn.Module:
    sublayers = family_of(module).find(module)
    tie(module, [sublayers[index] for index in indices])
    return module


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("merging", [False, True], ids=["as it is", "merged"])
@pytest.mark.parametrize(("build", "paths"), ATTENTION.values(), ids=ATTENTION)
def test_ties_elsewhere_are_kept_through_merging_and_saving(
    build: Callable[[], nn.Module], paths: tuple[str, str], merging: bool, layout: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    module = build()
    apart = count_parameters(module)
    share(module, paths)
    model = opened(module)
    assert model.n_parameters < apart
    if merging:
        stack = model.stacks[0]
        plan = fm.MergePlan(((f"{stack}.0", f"{stack}.1"),))
        model = fm.apply(model, plan, fm.calibrate(model, tokens=30))
    saved = fm.save(model, tmp_path / layout, layout)
    again = fm.load(saved.folder)
    assert ties(again.model) == ties(model.model)
    assert again.n_parameters == model.n_parameters
    batch = model.family.example(module)
    assert torch.equal(logits(again.model, batch), logits(model.model, batch))
    if layout == "portable":
        plain: Any = type(module)
        assert torch.equal(
            logits(plain.from_pretrained(saved.folder).eval(), batch), logits(model.model, batch)
        )
        assert saved.n_parameters >= apart


def test_a_tie_in_the_compact_layout_is_there_before_the_weights_are_read(tmp_path: Path) -> None:
    """Both names are in no file, so without the record there would be a gap."""
    model = opened(share(gpt2(), ATTENTION["GPT-2"][1]))
    folder = fm.save(model, tmp_path / "saved").folder
    path = folder / "ffmerge.json"
    record = json.loads(path.read_text())
    for found, sentence in (
        (None, "lack transformer.h.2.attn.c_attn"),
        ([], "lack"),
        ([["transformer.h.9.ln_1.weight", "transformer.wte.weight"]], "do not suit"),
        ([["transformer.h.0.ln_1.weight", "transformer.wte.weight"]], "different shapes"),
        ([[1]], "damaged or edited"),
        (3, "damaged or edited"),
    ):
        path.write_text(json.dumps({**record, "ties": found}))
        with pytest.raises(SourceError, match=sentence):
            fm.load(folder)


def test_a_record_of_an_older_version_opens(tmp_path: Path) -> None:
    """It says nothing of ties: those of the class and of the plan are all that there were."""
    model = opened(gpt2())
    merged = fm.apply(model, fm.MergePlan((("decoder.0", "decoder.2"),), method="vanilla"))
    for layout in LAYOUTS:
        folder = fm.save(merged, tmp_path / layout, layout).folder
        record = json.loads((folder / "ffmerge.json").read_text())
        assert record.pop("ties") == [["transformer.wte.weight", "lm_head.weight"]]
        (folder / "ffmerge.json").write_text(json.dumps(record))
        assert ties(fm.load(folder).model) == ties(merged.model)


def test_a_file_of_an_older_version_opens(tmp_path: Path) -> None:
    """It kept a tied tensor under the name that comes first in the alphabet."""
    from safetensors.torch import save_model

    model = opened(gpt2())
    merged = fm.apply(model, fm.MergePlan((("decoder.0", "decoder.2"),), method="vanilla"))
    folder = fm.save(merged, tmp_path / "saved").folder
    save_model(merged.model, str(folder / "merged.safetensors"), {"format": "pt"})
    assert fm.load(folder).revision == fm.load(merged.model).revision


def test_a_portable_copy_whose_ties_were_trained_apart_is_told_so(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = fm.save(
        opened(share(gpt2(), ATTENTION["GPT-2"][1])), tmp_path / "saved", "portable"
    ).folder
    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.h.2.attn.c_attn.bias"][0] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(SourceError, match=r"h\.1\.attn\.c_attn\.bias and .*h\.2.*weights differ"):
        fm.load(folder)


def test_what_a_class_ties_and_a_model_does_not_is_kept_apart(tmp_path: Path) -> None:
    module = gpt2()
    head: Any = module.get_submodule("lm_head")
    head.weight = nn.Parameter(head.weight.detach() * 2)
    model = opened(module)
    batch = model.family.example(module)
    for layout in LAYOUTS:
        again = fm.load(fm.save(model, tmp_path / layout, layout).folder)
        assert again.n_parameters == model.n_parameters
        assert torch.equal(logits(again.model, batch), logits(module, batch))


FLAGS: dict[str, Callable[[], nn.Module]] = {
    "GPT-2, untied": lambda: _untied_gpt2(),
    "OPT, untied": lambda: opt(tie_word_embeddings=False),
    "Marian, stacks untied": lambda: marian(share_encoder_decoder_embeddings=False),
    "Marian, head untied": lambda: marian(tie_word_embeddings=False),
    "Marian, all untied": lambda: marian(
        tie_word_embeddings=False, share_encoder_decoder_embeddings=False
    ),
}


def _untied_gpt2() -> nn.Module:
    from transformers import GPT2LMHeadModel

    config: Any = gpt2().config
    config.tie_word_embeddings = False
    return randomise(GPT2LMHeadModel(config))


@pytest.mark.parametrize("said", [True, False], ids=["flag there", "flag gone"])
@pytest.mark.parametrize("build", FLAGS.values(), ids=FLAGS)
def test_embeddings_that_differ_stay_apart_whatever_the_flags_say(
    build: Callable[[], nn.Module], said: bool, tmp_path: Path
) -> None:
    """Without the flag, transformers believes the weights; so does what is saved of them."""
    module: Any = build()
    module.save_pretrained(tmp_path / "original")
    if not said:
        path = tmp_path / "original" / "config.json"
        config = json.loads(path.read_text())
        config.pop("tie_word_embeddings", None)
        path.write_text(json.dumps(config))
    model = fm.load(tmp_path / "original", task=NoiseTask(module))
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


def test_tensors_in_one_memory_are_written_one_by_one(tmp_path: Path) -> None:
    module = gpt2()
    one = module.get_submodule("transformer.h.0.ln_1")
    other = module.get_submodule("transformer.h.1.ln_1")
    other.weight.data = one.weight.data
    model = opened(module)
    for layout in LAYOUTS:
        again = fm.load(fm.save(model, tmp_path / layout, layout).folder)
        assert again.n_parameters == model.n_parameters
        assert again.revision == model.revision


@pytest.mark.parametrize("build", [gpt2, opt, timm_vit], ids=["GPT-2", "OPT", "timm"])
def test_ff_sublayers_that_share_are_merged_together_or_not_at_all(
    build: Callable[[], nn.Module], tmp_path: Path
) -> None:
    module = build()
    n = count_parameters(module)
    model = opened(share_ff(module, (0, 1)))
    size = model.sublayers[0].n_parameters
    assert model.n_parameters == n - size
    assert [(len(each.tied), each.n_shared) for each in model.sublayers] == [
        (1, 0), (1, size), (0, 0),
    ]  # fmt: skip
    stack = model.stacks[0]
    names = [each.name for each in model.sublayers]
    feats = fm.calibrate(model, tokens=30)
    for parted in ((names[1], names[2]), (names[0], names[2])):
        with pytest.raises(PlanError, match=rf"shares its weights with {stack}\.\d already"):
            fm.apply(model, fm.MergePlan((parted,)), feats)
    for plan in (fm.DropFF((names[0],)), fm.Factor((names[1],), 4), fm.Narrow((names[1],), 9)):
        with pytest.raises(PlanError, match="shares its weights"):
            fm.apply(model, plan, feats)
    for group, left in (((names[0], names[1]), n - size), (tuple(names), n - 2 * size)):
        merged = fm.apply(model, fm.MergePlan((group,)), feats)
        assert merged.n_parameters == left == count_parameters(merged.model)
        first, *others = (
            weights_by_role(merged.model, each) for each in merged.sublayers if each.name in group
        )
        assert all(first[role] is other[role] for other in others for role in first)
    assert windows(model.sublayers, 1) == windows(model.sublayers, 1)[:1]
    assert windows(model.sublayers, 1)[0].names == (names[0], names[1])


def test_layers_that_share_are_dropped_with_the_right_count() -> None:
    module = share(share_ff(gpt2(), (0, 1)), ATTENTION["GPT-2"][1])
    model = opened(module)
    for layers in (("decoder.0",), ("decoder.1",), ("decoder.0", "decoder.1")):
        left = fm.apply(model, fm.DropLayers(layers))
        assert left.n_parameters == count_parameters(left.model)


def test_a_part_of_an_ff_sublayer_may_be_shared() -> None:
    module = share(gpt2(), ("transformer.h.0.mlp.c_fc", "transformer.h.1.mlp.c_fc"))
    model = opened(module)
    assert model.sublayers[1].n_shared == 32 * 48 + 48
    merged = fm.apply(model, fm.MergePlan((("decoder.0", "decoder.1"),), method="vanilla"))
    assert merged.n_parameters == count_parameters(merged.model)


def test_a_merged_model_opened_in_memory_keeps_its_ties(tmp_path: Path) -> None:
    merged = fm.apply(opened(opt()), fm.MergePlan((("decoder.0", "decoder.1"),), method="copy"))
    model = opened(merged.model)
    assert [each.tied for each in model.sublayers] == [("decoder.1",), ("decoder.0",), ()]
    for layout in LAYOUTS:
        again = fm.load(fm.save(model, tmp_path / layout, layout).folder)
        assert ties(again.model) == ties(model.model)
        assert again.sublayers == model.sublayers


def test_what_cannot_be_kept_apart_is_refused_by_name() -> None:
    module = timm_vit()
    module.get_submodule("blocks.1.mlp.fc2").bias = module.get_submodule("blocks.1.attn.proj").bias
    with pytest.raises(UnsupportedModelError, match=r"blocks\.1\.mlp\.fc2\.bias and .*attn\.proj"):
        fm.load(module)
    module = timm_vit()
    module.blocks[2].mlp = module.blocks[0].mlp
    with pytest.raises(UnsupportedModelError, match=r"encoder\.0 and encoder\.2 are one module"):
        fm.load(module)


def test_tuning_and_int8_keep_them(tmp_path: Path) -> None:
    from tests.conftest import noise_task

    model = fm.load(share(timm_vit(), ("blocks.0.attn.qkv", "blocks.1.attn.qkv")), noise_task())
    tuned = fm.recover(model, steps=2)
    assert ties(tuned.model) == ties(model.model)
    module = gpt2()
    small = fm.quantize(opened(share(module, ATTENTION["GPT-2"][1])))
    again = fm.load(fm.save(small, tmp_path / "small").folder)
    assert ties(again.model) == ties(small.model)
    assert again.n_parameters == small.n_parameters

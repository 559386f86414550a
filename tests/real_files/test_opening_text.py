"""What files of transformers hold beyond the model: left out by name, or refused by name.

The right values are transformers' own: its `from_pretrained` of the same folder gives the same
logits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import ffmerge_core as fm
from ffmerge_core.errors import SourceError
from tests.conftest import transformers_vit
from tests.models.tiny import gpt2, logits, marian, opt, vit_encoder

Tensors = dict[str, Tensor]
LONGEST = 16


def saved(module: Any, folder: Path) -> Tensors:
    """The folder of a model, and the tensors in it by name."""
    module.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def rewritten(folder: Path, tensors: Tensors) -> None:
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def as_transformers_has_it(model: fm.LoadedModel, folder: Path) -> None:
    """Its own reading of the folder gives the same logits."""
    plain = getattr(transformers, type(model.model).__name__).from_pretrained(folder)
    batch = model.family.example(model.model)
    assert torch.equal(logits(plain.eval(), batch), logits(model.model, batch))


def masks(tensors: Tensors) -> Tensors:
    """As transformers before 4.30 wrote them: DialoGPT and mGPT still have them."""
    mask = torch.ones(1, 1, LONGEST, LONGEST).tril()
    return {
        name: tensor.clone()
        for block in range(3)
        for name, tensor in (
            (f"transformer.h.{block}.attn.bias", mask),
            (f"transformer.h.{block}.attn.masked_bias", torch.tensor(-1e4)),
        )
    }


def bert() -> nn.Module:
    """As the best known encoders are: saved with all of their pretraining, opened for one part."""
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=LONGEST, vocab_size=100,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config)


HARMLESS: dict[str, tuple[Callable[[], nn.Module], Callable[[Tensors], Tensors]]] = {
    "GPT-2's masks": (gpt2, masks),
    "GPT-2's masks in bytes": (
        gpt2,
        lambda tensors: {name: each.to(torch.uint8) for name, each in masks(tensors).items()
                         if name.endswith("attn.bias")},
    ),
    "a value head": (gpt2, lambda _: {"v_head.summary.weight": torch.ones(1, 32)}),
    "a classifier's head": (gpt2, lambda _: {"score.weight": torch.ones(2, 32)}),
    "OPT's classifier": (opt, lambda _: {"score.weight": torch.ones(2, 32)}),
    "BERT's second head and pooler": (
        bert,
        lambda _: {
            "cls.seq_relationship.weight": torch.ones(2, 32),
            "cls.seq_relationship.bias": torch.ones(2),
            "bert.pooler.dense.weight": torch.ones(32, 32),
            "bert.pooler.dense.bias": torch.ones(32),
        },
    ),
    "ViT's pooler": (
        transformers_vit,
        lambda _: {"vit.pooler.dense.weight": torch.ones(32, 32),
                   "vit.pooler.dense.bias": torch.ones(32)},
    ),
    "ViT's mask token": (
        transformers_vit, lambda _: {"vit.embeddings.mask_token": torch.ones(1, 1, 32)}
    ),
    "an encoder's classifier": (
        vit_encoder, lambda _: {"classifier.weight": torch.ones(10, 32)}
    ),
    "Marian's version": (marian, lambda _: {"model.encoder.version": torch.tensor([2.0])}),
}  # fmt: skip


@pytest.mark.parametrize(("build", "extra"), HARMLESS.values(), ids=HARMLESS)
def test_a_harmless_leftover_is_named_and_the_model_opens(
    build: Callable[[], nn.Module], extra: Callable[[Tensors], Tensors], tmp_path: Path
) -> None:
    tensors = saved(build(), tmp_path)
    more = extra(tensors)
    rewritten(tmp_path, tensors | more)
    model = fm.load(tmp_path)
    assert set(model.left_out) == set(more)
    as_transformers_has_it(model, tmp_path)


HARMFUL: dict[str, tuple[Callable[[], nn.Module], str, Tensor]] = {
    "a bias of attention": (gpt2, "transformer.h.0.attn.bias", torch.ones(1, 1, 4, 4)),
    "a bias of the head": (gpt2, "lm_head.bias", torch.ones(40)),
    "another block": (gpt2, "transformer.h.3.ln_1.weight", torch.ones(32)),
    "a final norm": (gpt2, "transformer.ln_g.weight", torch.ones(32)),
    "an adapter": (gpt2, "transformer.h.0.attn.c_attn.lora_A.weight", torch.ones(2, 32)),
    "scales of a kind of its own": (gpt2, "transformer.h.1.mlp.c_fc.scaling", torch.ones(48)),
    "a projection": (opt, "model.decoder.project_in.weight", torch.ones(32, 32)),
    "a bias of the classifier": (vit_encoder, "layernorm_pre.bias", torch.ones(32)),
    "a head within a block": (gpt2, "transformer.h.0.head.weight", torch.ones(32, 32)),
    "a token of a block": (gpt2, "transformer.h.0.mask_token", torch.ones(32)),
}


@pytest.mark.parametrize(("build", "name", "tensor"), HARMFUL.values(), ids=HARMFUL)
def test_a_leftover_that_would_change_the_function_is_refused(
    build: Callable[[], nn.Module], name: str, tensor: Tensor, tmp_path: Path
) -> None:
    rewritten(tmp_path, saved(build(), tmp_path) | {name: tensor})
    with pytest.raises(SourceError, match=f"hold unknown {name}".replace(".", r"\.")):
        fm.load(tmp_path)


def test_names_without_the_prefix_of_a_head_are_the_same_names(tmp_path: Path) -> None:
    """OpenAI's own GPT-2 file has them so, masks included."""
    tensors = saved(gpt2(), tmp_path)
    every = tensors | masks(tensors)
    rewritten(tmp_path, {name.removeprefix("transformer."): each for name, each in every.items()})
    model = fm.load(tmp_path)
    assert len(model.left_out) == 6
    as_transformers_has_it(model, tmp_path)


def test_what_was_left_out_stays_left_out(tmp_path: Path) -> None:
    tensors = saved(gpt2(), tmp_path / "old")
    rewritten(tmp_path / "old", tensors | masks(tensors))
    for layout in ("compact", "portable"):
        folder = fm.save(fm.load(tmp_path / "old"), tmp_path / layout, layout).folder
        again = fm.load(folder)
        assert again.left_out == ()
        assert again.revision == fm.load(tmp_path / "old").revision


SHAPES: dict[str, tuple[Callable[[], nn.Module], dict[str, object], str]] = {
    "ViT": (transformers_vit, {"intermediate_size": 48}, r"\(64,\) in the file and \(48,\)"),
    "GPT-2": (gpt2, {"n_inner": 40}, r"\(48,\) in the file and \(40,\)"),
    "OPT": (opt, {"vocab_size": 41}, r"\(40, 32\) in the file and \(41, 32\)"),
    "Marian": (marian, {"decoder_ffn_dim": 40}, r"\(48,\) in the file and \(40,\)"),
}


@pytest.mark.parametrize(("build", "changes", "shapes"), SHAPES.values(), ids=SHAPES)
def test_a_shape_of_another_config_is_told_with_both_shapes(
    build: Callable[[], nn.Module],
    changes: dict[str, object],
    shapes: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    saved(build(), tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    capfd.readouterr()
    with pytest.raises(SourceError, match=rf"\S+ has shape {shapes} by config\.json") as refused:
        fm.load(tmp_path)
    assert "report" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter_beside_whole_weights_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    saved(gpt2(), tmp_path)
    adapter = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
    wrapped = get_peft_model(gpt2(), adapter)
    wrapped.save_pretrained(tmp_path)
    with pytest.raises(SourceError, match=r"holds an adapter.*merge_and_unload"):
        fm.load(tmp_path)
    for module in (wrapped, wrapped.get_base_model()):
        with pytest.raises(SourceError, match=r"holds an adapter.*merge_and_unload"):
            fm.load(module)
    assert fm.load(wrapped.merge_and_unload()).family.name == "transformers GPT-2"


def test_an_adapter_by_itself_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(SourceError, match="holds an adapter"):
        fm.load(tmp_path)

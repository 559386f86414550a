"""Models that no declaration knows: found by a trial, admitted by the proof; or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import ProofError, UnsupportedModelError
from ffmerge_core.models.families import FAMILIES, family_of, known_classes
from tests.conftest import randomise
from tests.models.rows import FEW_KEYS, HEADS, IMAGES, T5, TEXT
from tests.models.tiny import NoiseTask, logits

GPTJ = {
    "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 16, "vocab_size": 40, "rotary_dim": 4,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
SWIN = {
    "image_size": 16, "patch_size": 2, "num_channels": 1, "embed_dim": 16, "depths": [2, 2],
    "num_heads": [2, 4], "window_size": 4,
}  # fmt: skip
CTRL = {
    "n_embd": 32, "n_layer": 3, "n_head": 4, "dff": 48, "n_positions": 16, "vocab_size": 40,
}  # fmt: skip

# The class, its configuration, what it is for, its stacks, φ and whether there is a gate.
FOUND: list[tuple[str, str, dict[str, Any], str, tuple[str, ...], str, bool]] = [
    ("GPTJForCausalLM", "GPTJConfig", GPTJ, "language-modeling", ("decoder",), "gelu_tanh", False),
    ("CTRLLMHeadModel", "CTRLConfig", CTRL, "language-modeling", ("decoder",), "relu", False),
    ("HeliumForCausalLM", "HeliumConfig", HEADS, "language-modeling", ("decoder",), "silu", True),
    ("Glm4ForCausalLM", "Glm4Config", HEADS, "language-modeling", ("decoder",), "silu", True),
    ("NemotronForCausalLM", "NemotronConfig", HEADS, "language-modeling", ("decoder",), "relu²",
     False),
    ("ModernBertForMaskedLM", "ModernBertConfig", {**TEXT, "cls_token_id": 1, "sep_token_id": 2},
     "masked-language-modeling", ("encoder",), "gelu", True),
    ("MPNetForSequenceClassification", "MPNetConfig", TEXT, "text-classification", ("encoder",),
     "gelu", False),
    ("MPNetModel", "MPNetConfig", TEXT, "text", ("encoder",), "gelu", False),
    ("MT5ForConditionalGeneration", "MT5Config", T5, "translation", ("encoder", "decoder"),
     "gelu_tanh", True),
    ("SwinForImageClassification", "SwinConfig", SWIN, "image-classification",
     ("encoder0", "encoder1"), "gelu", False),
]  # fmt: skip


def built(known: str, config: str, options: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return randomise(getattr(transformers, known)(getattr(transformers, config)(**options)))


@pytest.mark.parametrize(
    ("known", "config", "options", "kind", "stacks", "phi", "gated"),
    FOUND,
    ids=[row[0] for row in FOUND],
)
def test_the_whole_way_of_what_no_declaration_knows(
    known: str,
    config: str,
    options: dict[str, Any],
    kind: str,
    stacks: tuple[str, ...],
    phi: str,
    gated: bool,
    tmp_path: Path,
) -> None:
    assert known not in known_classes("transformers")
    module = built(known, config, options)
    module.save_pretrained(tmp_path / "original")
    model = fm.load(tmp_path / "original", task=NoiseTask(module))
    assert (model.family.name, model.family.kind) == (f"discovered ({known})", kind)
    assert "discovered" in repr(model)
    assert model.stacks == stacks
    assert {(each.activation, each.gated) for each in model.sublayers} == {(phi, gated)}
    feats = fm.calibrate(model, tokens=30)
    groups = tuple((f"{stack}.0", f"{stack}.1") for stack in stacks)
    merged = fm.apply(model, fm.MergePlan(groups), feats)
    batch = model.family.example(model.model)
    after = logits(merged.model, batch)
    assert not torch.allclose(after, logits(module, batch), atol=1e-3)
    for layout in ("compact", "portable"):
        again = fm.load(fm.save(merged, tmp_path / layout, layout=layout).folder)
        assert again.n_parameters == merged.n_parameters < model.n_parameters
        assert torch.equal(logits(again.model, batch), after)
    plain = type(module).from_pretrained(tmp_path / "portable").eval()
    assert torch.equal(logits(plain, batch), after)


def test_it_is_marked_wherever_a_model_is_named(tmp_path: Path) -> None:
    """On the command line, beside saved weights, and in the record of a run."""
    from typer.testing import CliRunner

    from ffmerge_core.cli import app
    from tests.tasks.texts import bytes_tokenizer

    module = built("HeliumForCausalLM", "HeliumConfig", {**HEADS, "vocab_size": 300})
    module.save_pretrained(tmp_path / "model")
    bytes_tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "texts.txt").write_text("\n\n".join(f"{n} and {n + 1}" for n in range(30)))
    marked = "discovered (HeliumForCausalLM)"
    shown = CliRunner().invoke(app, ["info", str(tmp_path / "model")])
    assert f"a {marked} model" in " ".join(shown.output.split())
    plan = fm.MergePlan((("decoder.0", "decoder.1"),), method="vanilla")
    recipe = fm.Recipe(str(tmp_path / "model"), plan, data=str(tmp_path / "texts.txt"))
    result = fm.run(recipe)
    assert result.record()["family"] == marked
    saved = fm.save(result.merged, tmp_path / "saved", recipe=result.recipe)
    assert json.loads((saved.folder / "ffmerge.json").read_text())["family"] == marked


def test_what_is_found_is_what_a_declaration_says() -> None:
    """Of a known model, by its modules' paths: the trial and the declaration are two ways there."""
    from ffmerge_core.models.families.discovered import discovered
    from tests.models.rows import ROWS

    for row in ROWS:
        # Stages, class tokens and mixed tokens are where a declaration knows more.
        if any(name in row.family for name in ("Swin", "Mixer")):
            continue
        module = row.build()
        family = discovered(module)
        assert family is not None
        declared, found = family_of(module).find(module), family.find(module)
        assert [each.w_in for each in found] == [each.w_in for each in declared], row
        for name in ("w_out", "w_gate", "norm", "function", "biases", "n_parameters", "block"):
            assert [getattr(each, name) for each in found] == [
                getattr(each, name) for each in declared
            ], (row, name)


def test_a_model_of_timm_that_no_declaration_knows() -> None:
    model = fm.load(randomise(timm.create_model("twins_svt_small", img_size=64, num_classes=3)))
    assert model.family.name == "discovered (Twins)"
    assert model.stacks == ("encoder0", "encoder1", "encoder2", "encoder3")
    assert model.family.n_classes(model.model) == 3


def test_its_weights_do_not_matter_to_the_trial() -> None:
    module = built("HeliumForCausalLM", "HeliumConfig", HEADS)
    expected = fm.load(module).sublayers
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert family_of(module).find(module) == expected


def test_layers_of_it_stay() -> None:
    model = fm.load(built("HeliumForCausalLM", "HeliumConfig", HEADS))
    with pytest.raises(fm.PlanError, match=r"decoder\.1 cannot be dropped: .* number of layers"):
        fm.apply(model, fm.DropLayers(("decoder.1",)))


@pytest.mark.parametrize(
    ("known", "config", "options", "said"),
    [
        ("AlbertForMaskedLM", "AlbertConfig", TEXT, "share one FF sublayer already"),
        ("AlbertModel", "AlbertConfig", TEXT, "share one FF sublayer already"),
        ("MixtralForCausalLM", "MixtralConfig", {**FEW_KEYS, "num_local_experts": 2},
         "mixture of experts"),
        ("Qwen2MoeForCausalLM", "Qwen2MoeConfig", {**FEW_KEYS, "num_experts": 2},
         "mixture of experts"),
        ("SwitchTransformersForConditionalGeneration", "SwitchTransformersConfig",
         {**T5, "num_experts": 2}, "mixture of experts"),
        ("MambaForCausalLM", "MambaConfig",
         {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
         "has no FF sublayer that could be merged"),
    ],
)  # fmt: skip
def test_what_no_merge_suits_is_refused_by_its_name(
    known: str, config: str, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    module = built(known, config, options)
    with pytest.raises(UnsupportedModelError, match=rf"{known}.*{said}"):
        fm.load(module)
    module.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=rf"{known}.*{said}"):
        fm.load(tmp_path)


def test_a_convolutional_network_is_refused_by_its_name() -> None:
    with pytest.raises(UnsupportedModelError, match=r"ResNet.*no FF sublayer that could be merged"):
        fm.load(timm.create_model("resnet10t", num_classes=3))


def test_a_class_that_is_not_transformers_own_is_refused(tmp_path: Path) -> None:
    built("HeliumForCausalLM", "HeliumConfig", HEADS).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for named in (["HeliumForPoetry"], ["AutoModel"], [], ["BertModel", "GPT2Model"], ["pipeline"]):
        (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": named}))
        with pytest.raises(UnsupportedModelError, match=r"no class of that name.* never runs here"):
            fm.load(tmp_path)


def test_a_model_that_draws_at_random_does_not_pass_the_proof() -> None:
    with pytest.raises(ProofError, match=r"encoder\.0"):
        fm.load(built("ViTMAEModel", "ViTMAEConfig", IMAGES))


def test_a_module_whose_inputs_are_not_known_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnsupportedModelError, match=r"Sequential.*Declare yours with fm\.register"):
        fm.load(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)))
    assert not any(name.startswith("discovered") for name in FAMILIES)

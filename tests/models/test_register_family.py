"""Families declared from outside, by the public face alone: all that is known here suits them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import HeliumConfig, HeliumForCausalLM, MT5Config, MT5ForConditionalGeneration

import ffmerge_core as fm
from ffmerge_core.errors import DataError, PlanError, UnsupportedModelError
from ffmerge_core.models.families import FAMILIES
from tests.conftest import randomise
from tests.models.tiny import NoiseTask, logits
from tests.tasks.texts import bytes_tokenizer, letters_tokenizer

VOCABULARY, LAST_TWO = 70, ("decoder.1", "decoder.2")

HELIUM = fm.Family(
    "transformers Helium",
    "Helium",
    "Decoders that write text, with a gate in every FF sublayer.",
    "Kyutai 2025, Helium 1",
    kind="language-modeling",
    classes=(("transformers", "HeliumForCausalLM"),),
    attention=("self_attn",),
    embeddings=("model.embed_tokens",),
    head=("lm_head",),
    depths={"decoder": "num_hidden_layers"},
    find=lambda model: fm.declare_stack(
        model,
        "decoder",
        "model.layers",
        attention="self_attn",
        w_in="mlp.up_proj",
        w_gate="mlp.gate_proj",
        w_out="mlp.down_proj",
        act="mlp.act_fn",
    ),
    example=fm.token_example,
)


def find_mt5(model: nn.Module) -> tuple[fm.FFSublayer, ...]:
    stacks = (("encoder", 1), ("decoder", 2))
    return sum(
        (
            fm.declare_stack(
                model, stack, f"{stack}.block", attention="layer.0.SelfAttention",
                w_in=f"layer.{last}.DenseReluDense.wi", w_out=f"layer.{last}.DenseReluDense.wo",
                act=f"layer.{last}.DenseReluDense.act",
            )
            for stack, last in stacks
        ),
        (),
    )  # fmt: skip


MT5 = fm.Family(
    "transformers mT5",
    "mT5",
    "Encoders and decoders whose first blocks hold the positions for all.",
    "Xue et al. 2020, arXiv:2010.11934",
    kind="translation",
    classes=(("transformers", "MT5ForConditionalGeneration"),),
    attention=("SelfAttention", "EncDecAttention"),
    embeddings=("shared", "encoder.embed_tokens", "decoder.embed_tokens"),
    head=("lm_head",),
    depths={"encoder": "num_layers", "decoder": "num_decoder_layers"},
    find=find_mt5,
    example=fm.pair_example,
    longest=48,
)


def helium() -> nn.Module:
    return randomise(
        HeliumForCausalLM(
            HeliumConfig(
                vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=4,
                num_attention_heads=4, num_key_value_heads=2, head_dim=8,
                max_position_embeddings=16, bos_token_id=0, eos_token_id=0,
            )
        )
    )  # fmt: skip


def mt5(encoder: int = 4, decoder: int = 3) -> nn.Module:
    return randomise(
        MT5ForConditionalGeneration(
            MT5Config(
                vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=encoder,
                num_decoder_layers=decoder, num_heads=4, relative_attention_num_buckets=8,
                pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
                feed_forward_proj="relu", tie_word_embeddings=True,
            )
        )
    )  # fmt: skip


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    """Both, for the time of a test: other tests open models that belong to no family."""
    with FAMILIES.registered():
        fm.register_family(HELIUM)
        fm.register_family(MT5)
        yield


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n\n".join(f"line {n} says {n * n}" for n in range(20)))
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(f"it costs {n} euros.\tcela fait {n}." for n in range(20)))
    return path


def opened(name: str, folder: Path, request: pytest.FixtureRequest) -> fm.LoadedModel:
    """A model of a family from a folder with its tokenizer, on the user's own data."""
    module, tokenizer, data = {
        "helium": (helium, bytes_tokenizer, "texts"),
        "mt5": (mt5, lambda: letters_tokenizer(ended=True), "pairs"),
    }[name]
    module().save_pretrained(folder)  # type: ignore[operator]
    tokenizer().save_pretrained(folder)
    return fm.load(folder, task=request.getfixturevalue(data))


@pytest.mark.parametrize("name", ["helium", "mt5"])
def test_the_whole_walk(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    model = opened(name, tmp_path / "model", request)
    assert model.family.label.lower() == name
    assert model.require_task().kind == model.family.kind
    feats = fm.calibrate(model, tokens=60)
    for stack in model.stacks:
        similar = fm.similarity_matrix(feats, stack=stack)
        assert list(similar.columns) == [s.name for s in model.sublayers if s.stack == stack]
    groups = tuple((f"{stack}.1", f"{stack}.2") for stack in model.stacks)
    merged = fm.apply(model, fm.MergePlan(groups), feats)
    saved = sum(s.n_parameters for s in model.sublayers if s.index == 1)
    assert merged.n_parameters == model.n_parameters - saved
    score = fm.evaluate(merged)
    assert score.value != fm.evaluate(model).value or score.loss != fm.evaluate(model).loss
    batch = model.family.example(model.model)
    for layout in ("compact", "portable"):
        again = fm.load(fm.save(merged, tmp_path / layout, layout=layout).folder)  # type: ignore[arg-type]
        assert again.n_parameters == merged.n_parameters
        assert torch.equal(logits(again.model, batch), logits(merged.model, batch))
        assert fm.evaluate(again).value == score.value


@pytest.mark.parametrize(("name", "longest"), [("helium", 16), ("mt5", 48)])
def test_the_longest_input_is_the_family_s(
    name: str, longest: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    task = opened(name, tmp_path / "model", request).task
    assert getattr(task, "context", None) == longest or getattr(task, "longest", None) == longest


def test_a_configuration_that_does_not_say_the_longest_input_is_a_sentence(
    pairs: Path, tmp_path: Path
) -> None:
    silent = fm.Family(**{**vars(MT5), "name": "silent", "longest": "max_position_embeddings"})
    with pytest.raises(UnsupportedModelError, match=r"mT5 has no max_position|silent has no max_p"):
        silent.longest_input(mt5())


@pytest.mark.parametrize("build", [helium, mt5])
def test_the_anatomy_knows_every_part(build: Callable[[], nn.Module]) -> None:
    from ffmerge_core.models.loaded import anatomy

    model = fm.load(build())
    parts = dict(anatomy(model.model, model.family, model.sublayers))
    assert sum(parts.values()) == model.n_parameters
    assert set(parts) == {"FF", "attention", "embeddings", "norms"} | (
        {"head"} if build is helium else set()
    )


@pytest.mark.parametrize(
    "dropped",
    # With fewer layers in the encoder than in the decoder, transformers' own cache is too short.
    [("encoder.1",), ("encoder.3", "decoder.1"), ("encoder.1", "encoder.2", *LAST_TWO)],
)
def test_layers_of_mt5_are_dropped_whole(dropped: tuple[str, ...], tmp_path: Path) -> None:
    model = fm.load(mt5())
    small = fm.apply(model, fm.DropLayers(dropped))
    kept = {stack: [s.index for s in model.sublayers if s.stack == stack and s.name not in dropped]
            for stack in model.stacks}  # fmt: skip
    expected = mt5(len(kept["encoder"]), len(kept["decoder"]))
    state = model.model.state_dict()
    own = {}
    for key in expected.state_dict():
        stack, _, rest = key.partition(".block.")
        index, _, part = rest.partition(".")
        own[key] = state[f"{stack}.block.{kept[stack][int(index)]}.{part}" if rest else key]
    expected.load_state_dict(own)
    batch = model.family.example(model.model)
    assert torch.equal(logits(small.model, batch), logits(expected, batch))
    assert torch.equal(written(small.model, cached=True), written(small.model, cached=False))
    for layout in ("compact", "portable"):
        again = fm.load(fm.save(small, tmp_path / layout, layout=layout).folder)  # type: ignore[arg-type]
        assert torch.equal(logits(again.model, batch), logits(small.model, batch))


def written(module: nn.Module, cached: bool) -> torch.Tensor:
    ids = torch.tensor([[3, 9, 4, 7], [8, 5, 6, 3]])
    options = {"do_sample": False, "num_beams": 1, "max_new_tokens": 6, "use_cache": cached}
    return module.generate(ids, attention_mask=torch.ones_like(ids), **options)  # type: ignore[operator, no-any-return]


def test_a_block_by_which_the_others_live_stays() -> None:
    """Dropped, the others would run without positions, and nobody would be told."""
    model = fm.load(mt5())
    with pytest.raises(PlanError, match=r"encoder\.0 cannot be dropped.*relative_attention_bias"):
        fm.apply(model, fm.DropLayers(("encoder.0",)))
    fixed = [s.name for s in model.sublayers if s.alone is not None]
    assert fixed == ["encoder.0", "decoder.0"]


def test_a_search_and_baselines_leave_such_a_block_alone(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = opened("mt5", tmp_path / "model", request)
    feats = fm.calibrate(model, tokens=60)
    methods = ("vanilla", "layer drop")
    table = fm.search_windows(model, feats, remove=1, methods=methods, stack="encoder")
    drops = [plan for plan in table["plan"] if isinstance(plan, fm.DropLayers)]
    assert drops
    assert not {"encoder.0", "decoder.0"} & {name for plan in drops for name in plan.layers}
    (plan,) = fm.baselines(
        model, fm.MergePlan((("encoder.1", "encoder.2"),)), ["layer drop"]
    ).values()
    assert isinstance(plan, fm.DropLayers)
    assert "encoder.0" not in plan.layers


def test_helium_loses_layers_and_its_features_say_which_neurons_matter() -> None:
    module = helium()
    model = fm.load(module, task=NoiseTask(module))
    small = fm.apply(model, fm.DropLayers(("decoder.0", "decoder.2")))
    assert [s.name for s in small.sublayers] == ["decoder.0", "decoder.1"]
    assert fm.load(small.model).n_parameters == small.n_parameters
    assert all(s.gated for s in model.sublayers)


@pytest.mark.parametrize("name", ["helium", "mt5"])
@pytest.mark.parametrize("plan", [fm.DropFF(("decoder.1",)), fm.Factor(("decoder.1",), 4)])
def test_what_reduces_a_sublayer_suits_them(
    name: str, plan: fm.DropFF | fm.Factor, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = opened(name, tmp_path / "model", request)
    small = fm.apply(model, plan)
    again = fm.load(fm.save(small, tmp_path / "saved").folder)
    assert again.n_parameters == small.n_parameters < model.n_parameters
    assert fm.evaluate(again).loss == fm.evaluate(small).loss != fm.evaluate(model).loss


@pytest.mark.parametrize("name", ["helium", "mt5"])
def test_they_are_recovered_by_adapters_and_rounded(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = opened(name, tmp_path / "model", request)
    merged = fm.apply(model, fm.MergePlan((("decoder.1", "decoder.2"),), method="vanilla"))
    tuned = fm.recover(merged, steps=2, batch_size=4, lora_rank=2)
    assert tuned.n_parameters == merged.n_parameters
    rounded = fm.quantize(tuned)
    again = fm.load(fm.save(rounded, tmp_path / "saved").folder)
    assert fm.evaluate(again).loss == fm.evaluate(rounded).loss


def test_a_family_is_declared_once_and_for_a_kind_of_task_that_is_known() -> None:
    with pytest.raises(UnsupportedModelError, match="HeliumForCausalLM belongs to the family"):
        fm.register_family(fm.Family(**{**vars(HELIUM), "name": "again"}))
    other = {**vars(HELIUM), "classes": (("transformers", "Other"),)}
    with pytest.raises(UnsupportedModelError, match="'transformers Helium' already"):
        fm.register_family(fm.Family(**other))
    with pytest.raises(DataError, match="kind of task is 'poetry'"):
        fm.register_family(fm.Family(**{**other, "name": "new", "kind": "poetry"}))


def test_an_example_of_tokens_needs_a_vocabulary() -> None:
    with pytest.raises(UnsupportedModelError, match="Linear has no vocab_size"):
        fm.token_example(nn.Linear(2, 2))


def test_a_sublayer_stored_without_its_block_is_read_as_before() -> None:
    old = fm.load(helium()).sublayers[1].to_dict()
    del old["block"], old["alone"]
    again = fm.FFSublayer.from_dict(old)
    assert (again.block, again.alone) == ("model.layers.1", None)

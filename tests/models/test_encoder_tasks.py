"""Encoders on what they are for: hidden words, classes of texts, and likeness to the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import ffmerge_core as fm
from ffmerge_core.errors import DataError, UnsupportedModelError
from tests.conftest import randomise
from tests.models.rows import IMAGES, ROWS, TEXT
from tests.models.tiny import NoiseTask
from tests.tasks.test_masked_language_modeling import masking_tokenizer

SIZE = len(masking_tokenizer())
CONFIG = {**TEXT, "vocab_size": SIZE, "max_position_embeddings": 24}
DISTIL = {
    "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "vocab_size": SIZE,
    "max_position_embeddings": 24,
}  # fmt: skip


def opened(
    known: str, config: str, options: dict[str, Any], place: Path, data: str, fidelity: bool
) -> fm.LoadedModel:
    """A model of a folder with its tokenizer, on a file of its data."""
    made = getattr(transformers, known)(getattr(transformers, config)(**options))
    randomise(made).save_pretrained(place / known)  # type: ignore[operator]
    masking_tokenizer().save_pretrained(place / known)
    (place / "data.txt").write_text(data)
    return fm.load(place / known, task=place / "data.txt", fidelity=fidelity)


TEXTS = "\n\n".join(f"line {n} says that {n} and {n} are {n + n}" for n in range(30))
LABELLED = "\n".join(f"{n % 2}\tline {n} of {n * n}" for n in range(40))


def walked(model: fm.LoadedModel) -> fm.Evaluation:
    """The score of a merge of its first and last sublayer by permuting."""
    feats = fm.calibrate(model, tokens=60)
    merged = fm.apply(model, fm.MergePlan((("encoder.0", "encoder.2"),)), feats)
    score, before = fm.evaluate(merged), fm.evaluate(model)
    assert (score.value, score.loss) != (before.value, before.loss)
    return score


@pytest.mark.parametrize(
    ("name", "config", "options", "longest"),
    [
        ("Bert", "BertConfig", CONFIG, 24),
        # Its positions begin after the padding token's number, which is 0 here.
        ("Roberta", "RobertaConfig", CONFIG, 23),
        ("DistilBert", "DistilBertConfig", DISTIL, 24),
        ("Electra", "ElectraConfig", {**CONFIG, "embedding_size": 16}, 24),
    ],
)
def test_each_class_is_measured_by_what_its_head_says(
    name: str, config: str, options: dict[str, Any], longest: int, tmp_path: Path
) -> None:
    masked = opened(f"{name}ForMaskedLM", config, options, tmp_path, TEXTS, fidelity=False)
    assert masked.require_task().metric == "pseudo-perplexity"
    assert masked.family.longest_input(masked.model) == longest
    assert walked(masked).value > 1
    classes = opened(
        f"{name}ForSequenceClassification", config, options, tmp_path, LABELLED, fidelity=False
    )
    assert classes.require_task().kind == "text-classification"
    assert 0 <= walked(classes).value <= 1
    bare = opened(f"{name}Model", config, options, tmp_path, TEXTS, fidelity=True)
    assert walked(bare).metric == "cosine"
    assert fm.evaluate(bare).value == pytest.approx(1)
    with pytest.raises(DataError, match=rf"{name}Model reads text .* fidelity=True"):
        fm.load(tmp_path / f"{name}Model", task=tmp_path / "data.txt")


def test_a_tower_that_reads_is_compared_with_itself(tmp_path: Path) -> None:
    for known, config in (("CLIPTextModel", "CLIPTextConfig"), ("SiglipTextModel",
                          "SiglipTextConfig")):  # fmt: skip
        model = opened(known, config, CONFIG, tmp_path, TEXTS, fidelity=True)
        assert walked(model).metric == "cosine"


def test_electra_says_of_each_token_whether_it_was_replaced(tmp_path: Path) -> None:
    """Agreement by hand: the sign of its number at every real token."""
    options = {**CONFIG, "embedding_size": 16}
    model = opened("ElectraForPreTraining", "ElectraConfig", options, tmp_path, TEXTS, True)
    batch = next(iter(model.require_task().inputs("validation")))
    with torch.no_grad():  # so that it says yes as often as no
        head = model.model.get_submodule("discriminator_predictions.dense_prediction")
        head.bias -= model.model(**batch.kwargs).logits.median()
    plan = fm.MergePlan((("encoder.0", "encoder.1", "encoder.2"),), method="random")
    merged = fm.apply(model, plan)
    same = total = 0
    for batch in model.require_task().inputs("validation"):
        real = batch.kwargs["attention_mask"].bool()
        with torch.inference_mode():
            signs = [each.model(**batch.kwargs).logits[real] > 0 for each in (model, merged)]
        same += int((signs[0] == signs[1]).sum())
        total += int(real.sum())
    score = fm.evaluate(merged)
    assert score.metric == "top-1 agreement"
    assert score.value == pytest.approx(same / total)
    assert 0 < score.value < 1


def test_padding_is_not_compared(tmp_path: Path) -> None:
    """Of an encoder with a word for each token: what it says of padding does not count."""
    model = opened("BertForMaskedLM", "BertConfig", CONFIG, tmp_path, TEXTS, fidelity=True)
    feats = fm.calibrate(model, tokens=60)
    merged = fm.apply(model, fm.MergePlan((("encoder.0", "encoder.2"),)), feats)
    same = total = 0
    for batch in model.require_task().inputs("validation"):
        real = batch.kwargs["attention_mask"].bool()
        with torch.inference_mode():
            said = [each.model(**batch.kwargs).logits.argmax(-1) for each in (model, merged)]
        same += int((said[0] == said[1])[real].sum())
        total += int(real.sum())
    assert fm.evaluate(merged).value == pytest.approx(same / total)


class Recordings(NoiseTask):
    """Noise to hear, in a task of one's own."""

    unit = "recordings"

    def inputs(self, split: str) -> Any:
        yield self.batch

    def size(self, split: str) -> int:
        return len(self.batch.args[0])


def test_speech_is_compared_on_a_task_of_one_s_own() -> None:
    (row,) = [row for row in ROWS if row.what == "WhisperForConditionalGeneration"]
    module: nn.Module = row.build()
    model = fm.load(module, task=Recordings(module), fidelity=True)  # type: ignore[arg-type]
    feats = fm.calibrate(model, tokens=30)
    merged = fm.apply(model, fm.MergePlan((("decoder.0", "decoder.2"),)), feats)
    assert fm.evaluate(model).value == 1
    assert 0 <= fm.evaluate(merged).value < 1


def test_two_towers_in_one_are_refused_with_the_towers_names() -> None:
    from transformers import CLIPConfig, CLIPModel

    module = CLIPModel(CLIPConfig(text_config=TEXT, vision_config=IMAGES, projection_dim=16))
    with pytest.raises(UnsupportedModelError, match="CLIPVisionModel or CLIPTextModel"):
        fm.load(module)

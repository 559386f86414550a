"""Which data a model is measured on, by what it is for and what was asked."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import PreTrainedTokenizerFast

import ffmerge_core as fm
from ffmerge_core.errors import DataError
from ffmerge_core.tasks.fidelity import Fidelity
from ffmerge_core.tasks.image_classification import ImageClassification
from ffmerge_core.tasks.language_modeling import LanguageModeling
from ffmerge_core.tasks.translation import Translation
from tests.conftest import transformers_vit
from tests.models.tiny import LONGEST, VOCABULARY, gpt2, marian, opt, timm_encoder, vit_encoder

WORDS = [f"w{number}" for number in range(VOCABULARY - 3)]


def tokenizer(words: list[str] = WORDS) -> PreTrainedTokenizerFast:
    vocabulary = {token: number for number, token in enumerate(["<pad>", "</s>", "<unk>", *words])}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def folder_of(module: nn.Module, folder: Path, words: list[str] | None = WORDS) -> Path:
    module.save_pretrained(folder)  # type: ignore[operator]
    if words is not None:
        tokenizer(words).save_pretrained(folder)
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n\n".join(" ".join(WORDS[n : n + 9]) for n in range(20)))
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    rows = (f"{' '.join(WORDS[n : n + 4])}\t{' '.join(WORDS[n + 4 : n + 7])}" for n in range(20))
    path.write_text("\n".join(rows))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    for label in range(10):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for number in range(5):
            pixels = torch.randint(0, 256, (9, 7), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(tmp_path / f"images/{label}/{number}.png")
    return tmp_path / "images"


@pytest.mark.parametrize("build", [gpt2, opt])
def test_a_language_model_reads_a_text_file(
    build: Callable[[], nn.Module], texts: Path, tmp_path: Path
) -> None:
    model = fm.load(folder_of(build(), tmp_path / "model"), task=texts)
    task = model.task
    assert isinstance(task, LanguageModeling)
    assert (task.context, task.data, model.data) == (LONGEST, "texts.txt", str(texts))
    assert fm.evaluate(model).metric == "perplexity"
    merged = fm.apply(
        model, fm.MergePlan((("decoder.0", "decoder.1"),)), fm.calibrate(model, tokens=40)
    )
    assert fm.evaluate(merged).value != fm.evaluate(model).value
    again = fm.load(fm.save(merged, tmp_path / "saved").folder)
    assert fm.evaluate(again).value == fm.evaluate(merged).value
    texts.unlink()
    assert fm.load(tmp_path / "saved").task is None


def test_a_translator_reads_sentence_pairs(pairs: Path, tmp_path: Path) -> None:
    model = fm.load(folder_of(marian(), tmp_path / "model"), task=str(pairs))
    assert isinstance(model.task, Translation)
    assert (model.task.longest, model.task.data) == (LONGEST, "pairs.tsv")
    score = fm.evaluate(model)
    assert (score.metric, score.n) == ("BLEU", 2)


def test_a_classifier_reads_images_by_class(images: Path, tmp_path: Path) -> None:
    folder = folder_of(transformers_vit(), tmp_path / "model", words=None)
    processor = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5], "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    model = fm.load(folder, task=images)
    task = model.task
    assert isinstance(task, ImageClassification)
    assert task.classes == tuple("0123456789")
    assert task.shape == (1, 8, 8)
    assert task.mean == (pytest.approx(0.2),), "colours of a grey image: their mean"
    assert task.std == (0.5,)
    saved = fm.save(model, tmp_path / "saved", "portable").folder
    assert json.loads((saved / "preprocessor_config.json").read_text()) == processor


def test_class_names_are_the_models_where_it_has_names(images: Path, tmp_path: Path) -> None:
    module = transformers_vit()
    module.config.id2label = {n: f"kind {n}" for n in range(10)}  # type: ignore[union-attr]
    model = fm.load(folder_of(module, tmp_path / "model", words=None), task=images)
    assert isinstance(model.task, ImageClassification)
    assert model.task.classes == tuple(f"kind {n}" for n in range(10))


def test_a_demo_lends_its_context_classes_and_normalisation(images: Path, tmp_path: Path) -> None:
    digits = fm.load("demo:vit-digits", task=images)
    own = fm.load("demo:vit-digits").task
    assert isinstance(own, ImageClassification)
    assert isinstance(digits.task, ImageClassification)
    assert (digits.task.mean, digits.task.std, digits.task.shape) == (own.mean, own.std, own.shape)
    assert digits.task.data == "images"
    text = tmp_path / "text.py"
    text.write_text("\n\n".join(f"def f{n}():\n    return {n}" for n in range(30)))
    code = fm.load("demo:gpt2-code", task=text)
    assert isinstance(code.task, LanguageModeling)
    assert code.task.context == 256
    assert code.task.tokenizer is code.tokenizer


def test_fidelity_compares_with_the_model_itself(texts: Path, tmp_path: Path) -> None:
    model = fm.load(folder_of(gpt2(), tmp_path / "model"), task=texts, fidelity=True)
    assert isinstance(model.task, Fidelity)
    assert model.task.original is model.model
    assert fm.evaluate(model).value == 1
    merged = fm.apply(model, fm.MergePlan((("decoder.0", "decoder.1"),), method="vanilla"))
    assert fm.evaluate(merged).value < 1


@pytest.mark.parametrize("build", [timm_encoder, vit_encoder])
@pytest.mark.parametrize("wanted", ["digits", "images"])
def test_an_encoder_without_a_head_needs_fidelity(
    build: Callable[[], nn.Module], wanted: str, images: Path
) -> None:
    module = build()
    data = wanted if wanted == "digits" else images
    with pytest.raises(DataError, match=r"no head.*fidelity=True"):
        fm.load(module, task=data)
    model = fm.load(module, task=data, fidelity=True)
    merged = fm.apply(
        model, fm.MergePlan((("encoder.0", "encoder.1"),)), fm.calibrate(model, tokens=100)
    )
    assert fm.evaluate(model).metric == "cosine"
    assert fm.evaluate(merged).loss > fm.evaluate(model).loss


@pytest.mark.parametrize("mean", ["dark", [], ["a"], {"r": 1}])
def test_a_processor_that_makes_no_sense_is_a_sentence(
    mean: object, images: Path, tmp_path: Path
) -> None:
    folder = folder_of(transformers_vit(), tmp_path / "model", words=None)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean}))
    with pytest.raises(DataError, match=r"cannot prepare images for 1×8×8 as preprocessor_config"):
        fm.load(folder, task=images)


def test_fidelity_without_inputs_is_a_sentence() -> None:
    with pytest.raises(DataError, match="brings none"):
        fm.load(gpt2(), fidelity=True)


def test_data_that_does_not_suit_is_a_sentence(images: Path, texts: Path, tmp_path: Path) -> None:
    words = folder_of(gpt2(), tmp_path / "gpt2")
    with pytest.raises(DataError, match="digits are images"):
        fm.load(words, task="digits")
    with pytest.raises(DataError):
        fm.load(words, task=images)
    with pytest.raises(DataError):
        fm.load(transformers_vit(), task=texts)
    with pytest.raises(DataError, match=r"line 1 has 1 column"):
        fm.load(folder_of(marian(), tmp_path / "marian"), task=texts)
    with pytest.raises(DataError, match="cannot be the path"):
        fm.load(words, task="a\0b")
    with pytest.raises(DataError, match=r"no file or folder"):
        fm.load(words, task=tmp_path / "absent.txt")


def test_a_tokenizer_that_is_absent_or_anothers_is_a_sentence(texts: Path, tmp_path: Path) -> None:
    bare = folder_of(gpt2(), tmp_path / "bare", words=None)
    assert fm.load(bare).tokenizer is None
    with pytest.raises(DataError, match=r"has no tokenizer.*fm\.LanguageModeling"):
        fm.load(bare, task=texts)
    foreign = folder_of(gpt2(), tmp_path / "foreign", words=[f"w{n}" for n in range(99)])
    # What the texts hold of it has ids that the model knows.
    assert fm.evaluate(fm.load(foreign, task=texts)).metric == "perplexity"
    texts.write_text("\n\n".join(f"w{n} w{n + 1} w50" for n in range(20)))
    with pytest.raises(DataError, match=r"token 'w50', whose id is 53, and the model knows 40"):
        fm.evaluate(fm.load(foreign, task=texts))

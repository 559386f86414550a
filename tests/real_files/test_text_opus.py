"""OPUS-MT's folders: opened, translated as plain transformers does, merged and saved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from sacrebleu import BLEU
from transformers import MarianMTModel, MarianTokenizer

import ffmerge_core as fm
from ffmerge_core.tasks.translation import Translation
from tests.real_files import opus

PLAN = fm.MergePlan((("encoder.0", "encoder.1"), ("decoder.1", "decoder.2")))
VARIANTS = {
    "one vocabulary": {},
    "a vocabulary for each side": {"separate": True},
    "a bare configuration": {"bare": True},
}


@pytest.fixture(scope="module", params=VARIANTS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return opus.folder(tmp_path_factory.mktemp("opus"), **VARIANTS[request.param])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return opus.pairs_file(tmp_path)


def plain(folder: Path, sentences: list[str]) -> list[str]:
    """By transformers alone, a sentence at a time, cut as the task cuts."""
    tokenizer = MarianTokenizer.from_pretrained(folder)
    model = MarianMTModel.from_pretrained(folder).eval()
    said = []
    for sentence in sentences:
        given = tokenizer(sentence, return_tensors="pt")
        most = min(2 * given["input_ids"].shape[1] + 16, opus.LONGEST)
        ids = model.generate(**given, max_new_tokens=most, num_beams=1, do_sample=False)
        said.append(tokenizer.decode(ids[0], skip_special_tokens=True).strip())
    return said


def translation(model: fm.LoadedModel) -> Translation:
    task = model.require_task()
    assert isinstance(task, Translation)
    return task


def test_it_translates_as_plain_transformers_does(folder: Path, pairs: Path) -> None:
    model = fm.load(folder, task=pairs)
    scored = translation(model).scored("validation")
    score = fm.evaluate(model)
    expected = plain(folder, [source for source, _ in scored])
    assert list(score.predictions) == expected
    assert len(set(expected)) > 2, "or the order could not be told"
    references = [reference for _, reference in scored]
    theirs = BLEU(trg_lang="zh").corpus_score(expected, [references])
    assert score.value == pytest.approx(theirs.score)
    assert "tok:zh" in score.notes["BLEU"]
    assert "the tokenizer's target_lang" in score.notes["BLEU's tokenizer"]


def test_its_loss_is_transformers_own(folder: Path, pairs: Path) -> None:
    model = fm.load(folder, task=pairs)
    tokenizer = MarianTokenizer.from_pretrained(folder)
    theirs = MarianMTModel.from_pretrained(folder).eval()
    nats = n_tokens = 0.0
    for source, reference in translation(model).scored("validation"):
        batch = tokenizer(source, text_target=reference, return_tensors="pt")
        with torch.no_grad():
            loss = theirs(**batch).loss
        n_tokens += batch["labels"].numel()
        nats += float(loss) * batch["labels"].numel()
    assert fm.evaluate(model).loss == pytest.approx(nats / n_tokens, rel=1e-5)


@pytest.mark.parametrize("layout", ["compact", "portable"])
def test_merged_and_saved_it_opens_with_its_tokenizer(
    folder: Path, pairs: Path, layout: str, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    model = fm.load(copy, task=pairs)
    merged = fm.apply(model, PLAN, fm.calibrate(model, tokens=200))
    score = fm.evaluate(merged)
    assert score.loss != fm.evaluate(model).loss
    # Its sentencepiece files travel, though the folder that they were read from is gone.
    shutil.rmtree(copy)
    saved = fm.save(merged, tmp_path / "saved", layout).folder
    for name in ("source.spm", "target.spm"):
        assert (saved / name).read_bytes() == (folder / name).read_bytes()
    again = fm.load(saved)
    assert fm.evaluate(again).summary() == score.summary()
    assert list(fm.evaluate(again).predictions) == list(score.predictions)
    if layout == "portable":
        sources = [source for source, _ in translation(model).scored("validation")]
        assert plain(saved, sources) == list(score.predictions)


def test_an_id_that_no_token_has_stands_for_no_text(tmp_path: Path, pairs: Path) -> None:
    folder = opus.folder(tmp_path)
    words = len(MarianTokenizer.from_pretrained(folder))
    # A table that was filled up to a round number, as some are, and a model that likes the rest.
    larger = opus.marian(words + 8)
    larger.config.pad_token_id = larger.config.decoder_start_token_id = words - 1
    larger.generation_config.pad_token_id = words - 1
    larger.generation_config.decoder_start_token_id = words - 1
    larger.final_logits_bias[0, words + 3] = 1e6
    larger.save_pretrained(folder)
    model = fm.load(folder, task=pairs)
    assert translation(model).known == words + 8
    score = fm.evaluate(model)
    assert (set(score.predictions), score.value) == ({""}, 0)

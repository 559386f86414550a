"""Translation: scores as sacrebleu has them, the loss by hand, and sentences in their order."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
import torch
from sacrebleu import BLEU, CHRF
from torch import Tensor, nn
from torch.nn import functional
from transformers import MarianMTModel

from ffmerge_core import demos
from ffmerge_core.errors import Cancelled, DataError
from ffmerge_core.tasks import translation
from ffmerge_core.tasks.batch import Batch
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.translation import Translation
from tests.tasks.texts import bytes_tokenizer, letters_tokenizer, marian, set_nan

LONGEST = 24
PAIRS = (
    ("a", "ab"),
    ("the quick brown fox", "le vif renard"),
    ("jumps over", "saute par dessus, oui"),
    ("again", "x"),
    ("two words", "deux mots"),
    ("b", "un renard vif et brun."),
    ("it is late", "il est tard"),
)


def pairs_task(**changes: object) -> Translation:
    pairs = {"train": PAIRS, "validation": PAIRS[:3], "test": PAIRS}
    values = {"data": "letters", "tokenizer": letters_tokenizer(ended=True), "pairs": pairs}
    return Translation(**{**values, "longest": LONGEST, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> MarianMTModel:
    return marian(letters_tokenizer(), LONGEST)


class Scored:
    """The demo's model, damaged enough to make mistakes, on 40 of its sentences."""

    def __init__(self) -> None:
        model, self.task = demos.load("marian-en-fr")
        self.model = copy.deepcopy(model)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                if "fc1.weight" in name:
                    noise = torch.randn(weight.shape, generator=generator)
                    weight.add_(0.55 * weight.std() * noise)
        self.result: Evaluation = self.task.evaluate(self.model, "validation")
        self.said = list(self.result.predictions)
        self.references = [reference for _, reference in self.task.scored("validation")]


@pytest.fixture(scope="module")
def scored() -> Iterator[Scored]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translation, "QUICK_PAIRS", 40)
        yield Scored()


def test_bleu_and_chrf_are_sacrebleu_s(scored: Scored) -> None:
    bleu = BLEU().corpus_score(scored.said, [scored.references]).score
    chrf = CHRF().corpus_score(scored.said, [scored.references]).score
    assert 1 < bleu < 95, "or there would be nothing to compare"
    assert (scored.result.metric, scored.result.value) == ("BLEU", bleu)
    assert scored.result.others["chrF"].value == chrf
    assert scored.result.n == len(scored.said) == 40


def test_the_intervals_are_about_sacrebleu_s_own_bootstrap(scored: Scored) -> None:
    for metric, figure in (
        (BLEU(), scored.result.interval),
        (CHRF(), scored.result.others["chrF"].interval),
    ):
        theirs = metric.corpus_score(scored.said, [scored.references], n_bootstrap=2_000)
        middle, half = (figure.low + figure.high) / 2, (figure.high - figure.low) / 2
        assert half == pytest.approx(theirs._ci, rel=0.1)
        assert middle == pytest.approx(theirs._mean, abs=half / 4)


def test_the_signatures_are_noted(scored: Scored) -> None:
    notes = scored.result.notes
    assert notes["BLEU"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|")
    assert notes["chrF"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|")


def test_a_change_of_one_sentence_is_a_small_paired_difference(scored: Scored) -> None:
    result = scored.result
    index = next(i for i, text in enumerate(scored.said) if text != scored.references[i])
    better = list(scored.said)
    better[index] = scored.references[index]
    measures, notes = translation._scores(better, scored.references)
    measures.append(result.measures["loss"])
    difference = Evaluation.of("validation", measures, better, notes).versus(result)
    assert difference.changed.tolist() == [index]
    assert difference.agreement == pytest.approx(39 / 40)
    assert 0 == difference.interval.low < difference.value < difference.interval.high < 15
    before, after = (
        BLEU().corpus_score(said, [scored.references]).score for said in (scored.said, better)
    )
    assert difference.value == pytest.approx(after - before)


@torch.no_grad()
def taught(model: nn.Module, task: Translation, source: str, reference: str) -> Tensor:
    """Nats of each token of one reference, given the ones before it."""
    ids = torch.tensor([task.tokenizer(source)["input_ids"]])
    labels = task.tokenizer(text_target=reference)["input_ids"]
    losses, said = [], [0]  # what a decoder starts with
    for label in labels:
        logits = model(input_ids=ids, decoder_input_ids=torch.tensor([said])).logits[0, -1]
        losses.append(functional.cross_entropy(logits, torch.tensor(label)))
        said.append(label)
    return torch.stack(losses).double()


def test_the_loss_is_that_of_one_sentence_and_one_token_at_a_time(model: MarianMTModel) -> None:
    task = pairs_task()
    result = task.evaluate(model, "test")
    losses = [taught(model, task, *pair) for pair in PAIRS]
    statistics = result.measures["loss"].statistics
    assert statistics[:, 1].tolist() == [len(each) for each in losses]
    assert statistics[:, 1].tolist() == [len(reference) + 1 for _, reference in PAIRS]
    assert statistics[:, 0] == pytest.approx([each.sum().item() for each in losses], rel=1e-4)
    assert result.loss == pytest.approx(torch.cat(losses).mean().item(), rel=1e-4)


@pytest.mark.parametrize("size", [1, 3])
def test_the_size_of_a_batch_does_not_matter(
    model: MarianMTModel, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    together = pairs_task().evaluate(model, "test")
    monkeypatch.setattr(translation, "_PAIRS_A_BATCH", size)
    apart = pairs_task().evaluate(model, "test")
    assert apart.predictions == together.predictions
    assert apart.loss == pytest.approx(together.loss, rel=1e-6)


@torch.no_grad()
def states(model: MarianMTModel, batch: Batch) -> dict[str, Tensor]:
    kwargs = {**batch.kwargs, "output_hidden_states": True}
    output = replace(batch, kwargs=kwargs).run(model)
    last = {
        "encoder": output.encoder_last_hidden_state,
        "decoder": output.decoder_hidden_states[-1],
    }
    return {stack: rows[batch.masks[stack]] for stack, rows in last.items()}


def test_the_masks_keep_what_a_sentence_alone_would_give(model: MarianMTModel) -> None:
    (together,) = pairs_task().inputs("test")
    assert not all(mask.all() for mask in together.masks.values()), "or nothing was padded"
    batched = states(model, together)
    for stack, index in (("encoder", 0), ("decoder", 1)):
        alone = []
        for pair in PAIRS:
            pairs = {"train": PAIRS, "validation": PAIRS, "test": (pair,)}
            (batch,) = pairs_task(pairs=pairs).inputs("test")
            alone.append(states(model, batch)[stack])
        assert [len(rows) for rows in alone] == [len(pair[index]) + 1 for pair in PAIRS]
        torch.testing.assert_close(batched[stack], torch.cat(alone), rtol=1e-3, atol=2e-3)


def test_calibration_reads_every_training_pair_once_in_the_seed_s_order() -> None:
    task = pairs_task()

    def read(seed: int, batch_size: int = 2) -> list[tuple[str, str]]:
        found = []
        for batch in task.calibration(seed, batch_size):
            source = task.tokenizer.batch_decode(batch.kwargs["input_ids"], True)
            labels = batch.reference
            assert labels is not None
            target = task.tokenizer.batch_decode(labels.masked_fill(labels < 0, 0), True)
            assert torch.equal(labels >= 0, batch.masks["decoder"])
            found += list(zip(source, target, strict=True))
        return found

    state = torch.get_rng_state()
    assert read(3) == read(3, batch_size=64) != read(4)
    assert sorted(read(3)) == sorted(PAIRS)
    assert torch.equal(torch.get_rng_state(), state)


def test_translations_come_in_the_order_of_the_sentences(model: MarianMTModel) -> None:
    task = pairs_task()
    sentences = [source for source, _ in PAIRS]
    together = task.translate(model, sentences)
    assert together == [task.translate(model, [each])[0] for each in sentences]
    assert together[::-1] == task.translate(model, sentences[::-1])
    assert len(set(together)) > 3, "or the order could not be told"


def test_a_model_that_never_ends_is_cut() -> None:
    endless = marian(letters_tokenizer(), LONGEST)
    endless.final_logits_bias[0, :2] = -1e9
    endless.final_logits_bias[0, 5] = 1e6
    (said,) = pairs_task().translate(endless, ["a"])
    # Two source tokens, so twice two and 16 more are allowed; the last is the forced end.
    assert said == "d" * 19
    (said,) = pairs_task(longest=8).translate(endless, ["a"])
    assert said == "d" * 7


def test_what_is_too_long_is_cut_and_still_ends(model: MarianMTModel) -> None:
    task = pairs_task(longest=6)
    for batch in task.inputs("test"):
        assert batch.reference is not None
        assert batch.kwargs["input_ids"].shape[1] == batch.reference.shape[1] == 6
        assert (batch.reference == 1).sum(1).tolist() == [1] * len(PAIRS)
    assert task.evaluate(model, "test").n == len(PAIRS)


def test_validation_takes_the_first_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    task = pairs_task()
    monkeypatch.setattr(translation, "QUICK_PAIRS", 2)
    assert (task.size("validation"), task.size("test"), task.size("train")) == (2, 7, 7)
    (batch,) = task.inputs("validation")
    assert batch.reference is not None
    assert len(batch.reference) == 2
    assert list(task.scored("validation")) == list(PAIRS[:2])


def test_progress_counts_sentences_and_cancel_restores_the_mode(model: MarianMTModel) -> None:
    model.train()
    model.lm_head.eval()
    seen = []

    def note(
        step: int, total: int, message: str, values: Mapping[str, float] | None = None
    ) -> None:
        seen.append((step, total))
        if len(seen) == 2:
            raise Cancelled("stop")

    try:
        result = pairs_task().evaluate(model, "test", note)
        with pytest.raises(Cancelled):
            pairs_task().evaluate(model, "test", note)
        assert (model.training, model.lm_head.training) == (True, False)
    finally:
        model.eval()
    assert seen == [(7, 7), (7, 7)]
    assert result.summary() == pairs_task().evaluate(model, "test").summary()


def test_the_revision_follows_every_pair_and_its_split() -> None:
    first = pairs_task()
    assert first.revision == pairs_task().revision
    others = [
        {**first.pairs, "test": PAIRS[1:]},
        {**first.pairs, "test": PAIRS[::-1]},
        {**first.pairs, "test": PAIRS[:3], "validation": PAIRS},
    ]
    assert len({first.revision, *(pairs_task(pairs=each).revision for each in others)}) == 4
    assert pairs_task(digest="known").revision == "known"


def test_a_tokenizer_of_another_vocabulary_is_a_sentence(model: MarianMTModel) -> None:
    tokenizer = bytes_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.raises(DataError, match=r"could not translate .* Take the tokenizer that belongs"):
        pairs_task(tokenizer=tokenizer).evaluate(model, "test")


def test_weights_that_are_not_numbers_are_a_sentence() -> None:
    damaged = set_nan(marian(letters_tokenizer(), LONGEST), "model.decoder.layers.0.fc1.weight")
    with pytest.raises(DataError, match="not finite"):
        pairs_task().evaluate(damaged, "test")


def test_a_split_without_pairs_is_refused() -> None:
    with pytest.raises(DataError, match="The test split of letters has no sentence pair"):
        pairs_task(pairs={"train": PAIRS, "validation": PAIRS, "test": ()})

"""What tasks train on, and what they count as lost."""

from collections import Counter
from itertools import islice

import pytest
import torch
from torch.nn import functional

from ffmerge_core.errors import DataError
from ffmerge_core.tasks.batch import IGNORED
from ffmerge_core.tasks.fidelity import Fidelity
from ffmerge_core.tasks.task import Task
from ffmerge_core.tasks.translation import Translation
from tests.conftest import noise_task, timm_vit
from tests.models import tiny
from tests.tasks import texts

PAIRS = tuple((f"abc {n}", f"dead {n} cab"[: 4 + n]) for n in range(7))


def translation_task() -> Translation:
    splits = {"train": PAIRS, "validation": PAIRS[:3], "test": PAIRS[:3]}
    tokenizer = texts.letters_tokenizer(ended=True)
    return Translation("letters", tokenizer, splits, longest=16)  # type: ignore[arg-type]


def every_task() -> list[tuple[str, Task]]:
    images = noise_task()
    return [
        ("images", images),
        ("windows", texts.language_task()),
        ("sentences", translation_task()),
        ("fidelity", Fidelity(images, timm_vit())),
    ]


@pytest.mark.parametrize(("name", "task"), every_task())
def test_batches_are_full_endless_and_drawn_from_the_seed(name: str, task: Task) -> None:
    def targets(seed: int) -> list[list[int]]:
        batches = list(islice(task.training(seed, 8), 20))
        assert all(batch.targets is not None and len(batch.targets) == 8 for batch in batches)
        return [batch.targets.flatten().tolist() for batch in batches]

    assert targets(0) == targets(0)
    assert targets(0) != targets(1)


def test_every_image_is_seen_once_before_any_is_seen_twice() -> None:
    task = noise_task()
    seen: Counter[bytes] = Counter()
    for batch in islice(task.training(3, 10), 12):  # 60 images, twice
        seen.update(image.numpy().tobytes() for image in batch.args[0])
    assert set(seen.values()) == {2}
    assert len(seen) == 60


def test_an_image_has_its_own_label() -> None:
    task = noise_task()
    train = task.splits["train"]
    batch = next(task.training(0, 16))
    assert batch.targets is not None
    normal = task.normalised(train.images)
    for image, label in zip(batch.args[0], batch.targets, strict=True):
        (place,) = [index for index, other in enumerate(normal) if torch.equal(image, other)]
        assert train.labels[place] == label


def test_a_token_s_target_is_the_next_one_and_padding_has_none() -> None:
    task = texts.language_task()
    for batch in islice(task.training(0, 3), 6):
        ids, real, targets = batch.kwargs["input_ids"], batch.masks["decoder"], batch.targets
        assert targets is not None
        for row, mask, wanted in zip(ids, real, targets, strict=True):
            length = int(mask.sum())
            assert wanted[: length - 1].tolist() == row[1:length].tolist()
            assert set(wanted[length - 1 :].tolist()) == {IGNORED}


@torch.no_grad()
def test_a_language_model_s_loss_is_the_mean_over_tokens_and_blind_to_padding() -> None:
    task = texts.language_task()
    model = texts.gpt2(task.tokenizer, task.context)
    batch = next(task.training(0, 5))
    assert not bool(batch.masks["decoder"].all()), "there is padding to be blind to"
    loss = task.loss(batch.run(model), batch)
    nats, counted = 0.0, 0
    for row, mask in zip(batch.kwargs["input_ids"], batch.masks["decoder"], strict=True):
        ids = row[mask]
        logits = model(input_ids=ids[None], use_cache=False).logits[0]
        nats += float(functional.cross_entropy(logits[:-1], ids[1:], reduction="sum"))
        counted += len(ids) - 1
    assert float(loss.detach()) == pytest.approx(nats / counted, rel=1e-5)
    batch.kwargs["input_ids"][~batch.masks["decoder"]] = 7
    assert float(task.loss(batch.run(model), batch)) == pytest.approx(nats / counted, rel=1e-5)


def test_a_translator_s_loss_is_its_model_s_own() -> None:
    task = translation_task()
    model = texts.marian(task.tokenizer, task.longest)
    batch = next(task.training(0, 5))
    output = batch.run(model)
    assert output.loss is None, "the model computes none beside the task's"
    theirs = model(**batch.kwargs, labels=batch.reference)
    torch.testing.assert_close(task.loss(output, batch), theirs.loss)
    torch.testing.assert_close(output.logits, theirs.logits, rtol=0, atol=0)
    assert int((batch.targets == IGNORED).sum()) > 0


def test_fidelity_loses_what_it_measures() -> None:
    inner, original, model = noise_task(), timm_vit(), timm_vit()
    with torch.no_grad():
        model.get_parameter("blocks.0.mlp.fc1.bias").add_(0.5)
    task = Fidelity(inner, original)
    (batch,) = task.inputs("validation")
    loss = task.loss(batch.run(model), batch)
    assert float(loss.detach()) == pytest.approx(task.evaluate(model, "validation").loss, rel=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in original.parameters())
    assert float(task.loss(batch.run(original), batch).detach()) == pytest.approx(0, abs=1e-7)


@torch.no_grad()
def test_fidelity_of_an_encoder_loses_one_minus_the_cosine() -> None:
    original, model = tiny.timm_encoder(), tiny.timm_encoder()
    with torch.no_grad():
        model.get_parameter("blocks.0.mlp.fc1.bias").add_(0.5)
    task = Fidelity(noise_task(), original)
    (batch,) = task.inputs("validation")
    score = task.evaluate(model, "validation")
    assert score.metric == "cosine"
    assert float(task.loss(batch.run(model), batch)) == pytest.approx(score.loss, rel=1e-4)


def test_a_head_for_other_classes_is_a_sentence() -> None:
    task = noise_task()
    batch = next(task.training(0, 40))
    with pytest.raises(DataError, match=r"logits of shape \(40, 3\) for targets of shape \(40,\)"):
        task.loss(torch.zeros(40, 3), batch)

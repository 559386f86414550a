"""Image classification on data small enough to check by hand."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ViTConfig, ViTForImageClassification

from ffmerge_core.errors import Cancelled, DataError
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.image_classification import ImageClassification
from ffmerge_core.tasks.images import LabelledImages

CLASSES = ("low", "middle", "high")


def examples(n: int, seed: int) -> LabelledImages:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 1, 4, 4, generator=generator)
    return LabelledImages(images, torch.randint(0, 3, (n,), generator=generator))


def task(**changes: object) -> ImageClassification:
    splits: dict[Split, LabelledImages] = {
        "train": examples(70, 0),
        "validation": examples(600, 1),
        "test": examples(5, 2),
    }
    values = {"data": "noise", "classes": CLASSES, "splits": splits, "mean": (0.5,), "std": (0.25,)}
    return ImageClassification(**{**values, **changes})  # type: ignore[arg-type]


class Classifier(nn.Module):
    """Linear, with dropout and a batch norm, so that training mode would change its answers."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm2d(1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(16, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.norm(images).flatten(1)))
        return logits


def test_evaluation_equals_one_pass_by_hand() -> None:
    model, data = Classifier().eval(), task()
    split = data.splits["validation"]
    result = data.evaluate(model, "validation")
    with torch.no_grad():
        logits = model((split.images - 0.5) / 0.25)
    assert np.array_equal(result.predictions, logits.argmax(1).numpy())
    assert result.value == (logits.argmax(1) == split.labels).double().mean().item()
    assert result.loss == pytest.approx(functional.cross_entropy(logits, split.labels).item())
    assert (result.split, result.metric, result.n) == ("validation", "accuracy", 600)


def test_evaluation_runs_in_eval_mode_and_restores_every_module_s_mode() -> None:
    model, data = Classifier().train(), task()
    model.norm.eval()
    seen = data.evaluate(model, "validation")
    assert (model.training, model.dropout.training, model.norm.training) == (True, True, False)
    again = data.evaluate(model.eval(), "validation")
    assert seen.summary() == again.summary()
    assert np.array_equal(seen.measures["loss"].statistics, again.measures["loss"].statistics)
    assert not model.training


def test_cancel_stops_at_once_and_restores_the_mode() -> None:
    model, calls = Classifier().train(), []

    def cancel(
        step: int, total: int, message: str, values: Mapping[str, float] | None = None
    ) -> None:
        calls.append((step, total))
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled) as caught:
        task().evaluate(model, "validation", cancel)
    assert model.training, "the mode must be back while the exception is still alive"
    assert caught.value is not None
    assert calls == [(256, 600)]


def test_progress_counts_images_to_the_last() -> None:
    calls = []

    def note(
        step: int, total: int, message: str, values: Mapping[str, float] | None = None
    ) -> None:
        assert values is not None
        calls.append((step, total, values["accuracy"]))

    result = task().evaluate(Classifier(), "validation", note)
    assert [call[:2] for call in calls] == [(256, 600), (512, 600), (600, 600)]
    assert calls[-1][2] == pytest.approx(result.value)


def test_evaluation_leaves_no_gradient_and_no_inference_mode() -> None:
    modes = []
    task().evaluate(
        Classifier(), "test", lambda *_: modes.append(torch.is_inference_mode_enabled())
    )
    assert modes == [False]


def test_predict_gives_the_probabilities_that_evaluate_scored() -> None:
    model, data = Classifier(), task()
    split = data.splits["validation"]
    probabilities = data.predict(model, split.images)
    assert probabilities.shape == (600, 3)
    assert torch.allclose(probabilities.sum(1), torch.ones(600, dtype=torch.float64))
    result = data.evaluate(model, "validation")
    assert np.array_equal(probabilities.argmax(1).numpy(), result.predictions)
    right = probabilities[torch.arange(600), split.labels]
    assert np.allclose(-right.log().numpy(), result.measures["loss"].statistics[:, 0])


def test_calibration_is_the_whole_training_split_in_seeded_order() -> None:
    data = task()

    def order(seed: int) -> Tensor:
        return torch.cat([batch.args[0] for batch in data.calibration(seed, batch_size=16)])

    assert torch.equal(order(3), order(3))
    assert not torch.equal(order(3), order(4))
    expected = data.normalised(data.splits["train"].images)
    assert sorted(map(tuple, order(3).flatten(1).tolist())) == sorted(
        map(tuple, expected.flatten(1).tolist())
    )
    assert [len(batch.args[0]) for batch in data.calibration(0)] == [64, 6]


def test_calibration_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(task().calibration(5))
    assert torch.equal(before, torch.get_rng_state())


def test_transformers_models_return_their_logits() -> None:
    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=4, patch_size=2, num_channels=1, num_labels=3,
    )  # fmt: skip
    model = ViTForImageClassification(config).eval()
    data = task()
    result = data.evaluate(model, "test")
    with torch.no_grad():
        logits = model(data.normalised(data.splits["test"].images)).logits
    assert result.predictions == logits.argmax(1).tolist()


def test_another_number_of_classes_is_refused_with_both_numbers() -> None:
    with pytest.raises(DataError, match=r"tells 7 classes apart, but noise has 3"):
        task().evaluate(Classifier(classes=7), "test")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused_and_the_mode_restored(bad: float) -> None:
    model = Classifier().train()
    with torch.no_grad():
        model.head.bias[1] = bad
    with pytest.raises(DataError, match="not finite"):
        task().evaluate(model, "test")
    assert model.training


def test_images_of_the_wrong_shape_are_a_sentence() -> None:
    with pytest.raises(DataError, match="could not run on 1-channel images of 4 by 4 pixels"):
        task().evaluate(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), "test")


@pytest.mark.parametrize(
    ("model", "found"),
    [(nn.Identity(), r"shape \(5, 1, 4, 4\)"), (nn.LSTM(4, 3), "could not run|tuple")],
)
def test_what_is_no_classifier_is_refused(model: nn.Module, found: str) -> None:
    with pytest.raises(DataError, match=found):
        task().evaluate(model, "test")


def test_fitted_to_feeds_the_same_examples_in_another_shape() -> None:
    data = task()
    fitted = data.fitted_to(3, 32)
    fed = fitted.normalised(fitted.splits["test"].images)
    assert fed.shape[1:] == (3, 32, 32)
    plain = data.normalised(data.splits["test"].images)
    assert torch.allclose(fed.mean((1, 2, 3)), plain.mean((1, 2, 3)), atol=0.2)
    assert torch.equal(fed[:, 0], fed[:, 2])
    assert torch.equal(fitted.splits["test"].labels, data.splits["test"].labels)
    assert fitted.data != data.data
    assert data.fitted_to(1, 4) is data
    (first, *_) = fitted.calibration(0, batch_size=5)
    assert first.args[0].shape == (5, 3, 32, 32)


def test_fitted_to_fewer_channels_averages_them() -> None:
    colour = LabelledImages(torch.rand(4, 3, 2, 2), torch.zeros(4, dtype=torch.int64))
    splits = dict.fromkeys(("train", "validation", "test"), colour)
    data = task(splits=splits, mean=(0.2, 0.4, 0.6), std=(0.1, 0.2, 0.3))
    fed = data.fitted_to(1, 2).normalised(colour.images)
    assert torch.allclose(fed[:, 0], (colour.images.mean(1) - 0.4) / 0.2)


def _images(*shape: int, **options: object) -> Tensor:
    return torch.zeros(*shape, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("images", "labels", "found"),
    [
        (_images(2, 4, 4), torch.tensor([0, 1]), r"shape \(2, 4, 4\)"),
        (_images(0, 1, 4, 4), torch.tensor([], dtype=torch.int64), "at least one image"),
        (_images(2, 1, 4, 4, dtype=torch.float64), torch.tensor([0, 1]), "float64"),
        (_images(2, 1, 4, 4) + float("nan"), torch.tensor([0, 1]), "not finite"),
        (_images(2, 1, 4, 4) + 255, torch.tensor([0, 1]), "outside 0 to 1"),
        (_images(2, 1, 4, 4), torch.tensor([0]), "2 images need 2 labels"),
        (_images(2, 1, 4, 4), torch.tensor([0.0, 1.0]), "torch.int64"),
        (_images(2, 1, 4, 4), torch.tensor([0, -1]), "A label is -1"),
    ],
)
def test_unusable_images_are_refused(images: Tensor, labels: Tensor, found: str) -> None:
    with pytest.raises(DataError, match=found):
        LabelledImages(images, labels)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (lambda: {"splits": {"train": examples(3, 0)}}, "needs exactly train, validation, test"),
        (lambda: {"splits": {**task().splits, "test": _wider()}}, "different shapes"),
        (lambda: {"classes": CLASSES[:2]}, "has the label 2, but there are only 2 classes"),
        (lambda: {"mean": (0.5, 0.5)}, "1-channel images need 1 of each"),
        (lambda: {"std": (0.0,)}, "deviations above zero"),
    ],
)
def test_data_that_does_not_fit_together_is_refused(
    changes: Callable[[], dict[str, object]], found: str
) -> None:
    with pytest.raises(DataError, match=found):
        task(**changes())


def _wider() -> LabelledImages:
    return LabelledImages(_images(2, 1, 4, 8), torch.tensor([0, 1]))

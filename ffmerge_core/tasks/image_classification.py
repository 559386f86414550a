"""Image classification: labelled images in three splits, and accuracy as the metric."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ffmerge_core import showing
from ffmerge_core.checks import expect
from ffmerge_core.errors import DataError, FFMergeError
from ffmerge_core.progress import Report, silent
from ffmerge_core.tasks.batch import Batch, Split, batches, endless, eval_mode
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.images import LabelledImages, check_images
from ffmerge_core.tasks.measures import LOSS, Measure
from ffmerge_core.tasks.outputs import cross_entropy, logits_in

BATCH_SIZE = 256


@dataclass(frozen=True, eq=False)
class ImageClassification:
    """A `Task` for models that take (batch, channels, height, width) and tell classes apart.

    The model returns logits (batch, classes), as a tensor or as an object with `.logits`.

    Parameters
    ----------
    data : str
        The name of the data.
    classes : tuple of str
        Their names, in the order of the labels.
    splits : mapping of str to LabelledImages
        "train", "validation" and "test", images of one shape.
    mean, std : tuple of float
        A channel; images are normalised with them before the model sees them.
    fit : tuple of int, optional
        (channels, size) that the model takes, where it is not the images' own.
    notes : mapping of str to str, optional
        How the data was read, such as by what folders were matched to classes. Every score of
        this task carries them.

    Raises
    ------
    DataError
        For splits, labels or normalisation that do not go together.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> import torch
    >>> images = fm.LabelledImages(torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2]))
    >>> splits = {"train": images, "validation": images, "test": images}
    >>> task = fm.ImageClassification("noise", ("a", "b", "c"), splits, mean=(0.5,), std=(0.3,))
    >>> task
    ImageClassification(noise: 3 classes, 6 + 6 + 6 images of 1×8×8)
    """

    data: str
    classes: tuple[str, ...]
    splits: Mapping[Split, LabelledImages]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: tuple[int, int] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    kind = "image-classification"
    metric = "accuracy"
    examples = "images"
    unit = "images"

    def __post_init__(self) -> None:
        expect(DataError, splits=(self.splits, Mapping), classes=(self.classes, Collection[str]))
        if set(self.splits) != set(get_args(Split)):
            raise DataError(
                f"The data has the splits {', '.join(sorted(self.splits)) or 'none'}; it needs "
                f"exactly {', '.join(get_args(Split))}."
            )
        for split, images in self.splits.items():
            expect(DataError, **{f"The {split} split": (images, LabelledImages)})
        expect(DataError, mean=(self.mean, Collection[float]), std=(self.std, Collection[float]))
        shapes = {images.shape for images in self.splits.values()}
        if len(shapes) > 1:
            raise DataError(
                f"The splits have images of different shapes: {sorted(shapes)}. Resize them to one."
            )
        for split, images in self.splits.items():
            highest = int(images.labels.max())
            if highest >= len(self.classes):
                raise DataError(
                    f"The {split} split has the label {highest}, but there are only "
                    f"{len(self.classes)} classes, numbered from 0."
                )
        channels = self.fit[0] if self.fit else self.shape[0]
        if len(self.mean) != channels or len(self.std) != channels or min(self.std) <= 0:
            raise DataError(
                f"The mean is {self.mean} and the standard deviation {self.std}; {channels}-channel"
                f" images need {channels} of each, and deviations above zero."
            )

    def __repr__(self) -> str:
        sizes = " + ".join(f"{self.size(split):,}" for split in get_args(Split))
        shape = "×".join(map(str, self.shape))
        said = f"{self.data}: {len(self.classes):,} classes, {sizes} images of {shape}"
        return showing.line(self, said)

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width) of one image."""
        return self.splits["train"].shape

    @cached_property
    def revision(self) -> str:
        """SHA-256 of every split's images and labels, and of how they are normalised."""
        digest = sha256(f"{self.classes} {self.mean} {self.std} {self.fit}".encode())
        for split in get_args(Split):
            for tensor in (self.splits[split].images, self.splits[split].labels):
                digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def size(self, split: Split) -> int:
        """Examples in a split."""
        return len(self.splits[split])

    def count(self, split: Split) -> int:
        """Images in a split."""
        return len(self.splits[split])

    def normalised(self, images: Tensor) -> Tensor:
        """What a model is fed: `images`, fitted, minus mean, over standard deviation.

        Fitted a batch at a time: the whole data at 224×224 would fill a gigabyte.
        """
        fitted = images if self.fit is None else _fit(images, *self.fit)
        return (fitted - _per_channel(self.mean)) / _per_channel(self.std)

    def calibration(self, seed: int, batch_size: int = 64) -> Iterator[Batch]:
        """The training split once, in an order drawn from `seed`, a batch at a time."""
        images = self.splits["train"].images
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        for chosen in torch.split(order, batch_size):
            yield Batch(args=(self.normalised(images[chosen]),))

    def training(self, seed: int, batch_size: int) -> Iterator[Batch]:
        """Full batches of the training split with their labels, without end."""
        train = self.splits["train"]
        for chosen in batches(endless(len(train), seed), batch_size):
            images = self.normalised(train.images[chosen])
            yield Batch(args=(images,), targets=train.labels[chosen])

    def loss(self, output: object, batch: Batch) -> Tensor:
        """Mean cross entropy, in nats an image."""
        assert batch.targets is not None
        return cross_entropy(logits_in(output), batch.targets)

    def inputs(self, split: Split) -> Iterator[Batch]:
        """Every image of a split, normalised, a batch at a time."""
        for images in torch.split(self.splits[split].images, BATCH_SIZE):
            yield Batch(args=(self.normalised(images),))

    def evaluate(self, model: nn.Module, split: Split, report: Report = silent) -> Evaluation:
        """Score `model` (left in the mode it came in) on every example of the split.

        Raises `DataError` if it cannot run on these images, returns another number of
        classes, or returns logits that are not finite.
        """
        images, labels = self.splits[split].images, self.splits[split].labels
        scores, losses, predictions = [], [], []
        right = 0
        with eval_mode(model):
            for done in range(0, len(images), BATCH_SIZE):
                target = labels[done : done + BATCH_SIZE]
                logits = self._logits(model, images[done : done + BATCH_SIZE])
                predicted = logits.argmax(1)
                scores.append(predicted == target)
                losses.append(functional.cross_entropy(logits, target, reduction="none"))
                predictions.append(predicted)
                seen = done + len(target)
                right += int(scores[-1].sum())
                message = f"images of the {split} split classified"
                report(seen, len(images), message, {self.metric: right / seen})
        return Evaluation.of(
            split,
            [
                Measure.ratio(self.metric, torch.cat(scores).numpy()),
                Measure.ratio(LOSS, torch.cat(losses).numpy()),
            ],
            torch.cat(predictions).tolist(),
            self.notes,
        )

    def predict(self, model: nn.Module, images: Tensor) -> Tensor:
        """Class probabilities (n, classes), float64, of images (n, channels, height, width).

        images: in [0, 1], not normalised. Raises `DataError` as `evaluate` does.
        """
        check_images(images)
        with eval_mode(model):
            return torch.cat(
                [self._logits(model, batch).softmax(1) for batch in torch.split(images, BATCH_SIZE)]
            )

    def fitted_to(self, channels: int, size: int) -> ImageClassification:
        """The same examples for a model that takes another shape.

        size: height and width, reached by bilinear interpolation with antialiasing. Another
        number of channels is the mean of the present ones, repeated; it is normalised by the mean
        of their means and deviations.
        """
        if (channels, size, size) == self.shape:
            return self
        data = f"{self.data} at {channels}×{size}×{size}"
        mean, std = (of_channels(values, channels) for values in (self.mean, self.std))
        return replace(self, data=data, fit=(channels, size), mean=mean, std=std)

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits (batch, classes), float64, checked."""
        with torch.inference_mode():
            logits = _forward(model, self.normalised(images)).double()
        shape, n = tuple(logits.shape), len(images)
        if len(shape) != 2 or shape[0] != n:
            raise DataError(
                f"The model returned values of shape {shape} for {n} images; a classifier returns "
                f"logits of shape ({n}, {len(self.classes)})."
            )
        if shape[1] != len(self.classes):
            raise DataError(
                f"The model tells {shape[1]} classes apart, but {self.data} has "
                f"{len(self.classes)}. Take a model with a head for {len(self.classes)} classes, "
                "or other data."
            )
        if not bool(logits.isfinite().all()):
            raise DataError(
                "The model returned logits that are not finite numbers. Check its weights for NaN "
                "or infinity."
            )
        return logits


def _forward(model: nn.Module, images: Tensor) -> Tensor:
    try:
        output = model(images)
    except FFMergeError:
        raise
    except (AssertionError, RuntimeError, ValueError) as error:
        # How timm, torch and transformers refuse an input of the wrong shape.
        channels, height, width = images.shape[1:]
        raise DataError(
            f"The model could not run on {channels}-channel images of {height} by {width} pixels: "
            f"{error} Fit the data to the model with `fitted_to`, or take a model for this shape."
        ) from error
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise DataError(
            f"The model returned a {type(output).__name__}; a classifier returns a tensor of "
            "logits or an object with `.logits`."
        )
    return logits


def _fit(images: Tensor, channels: int, size: int) -> Tensor:
    if images.shape[1] != channels:
        images = images.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def of_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value a channel; those of other channels become their mean."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).reshape(-1, 1, 1)

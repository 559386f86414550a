"""The user's own data for a model of each kind of task, as `TASKS` names the readers.

Each takes (model, path, fidelity, report): by fidelity the data needs no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ffmerge_core.errors import DataError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.progress import Report
from ffmerge_core.sources.languages import target_language
from ffmerge_core.storage.folders import CONFIG, PREPROCESSOR
from ffmerge_core.tasks.kinds import DIGITS
from ffmerge_core.tasks.task import Task


def images(model: LoadedModel, name: str, fidelity: bool, report: Report) -> Task:
    """Images by class, or the built-in digits, for a classifier or an encoder."""
    n_classes = model.family.n_classes(model.model)
    if not fidelity and n_classes is None:
        raise DataError(
            f"{model.source} has no head that tells classes apart, so there is no accuracy to "
            "measure. Open it with fidelity=True, which compares the merged model with the "
            "original."
        )
    return _digits(model) if name == DIGITS else _own_images(model, name, n_classes, report)


def texts(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The documents of a text file, for a language model."""
    from ffmerge_core.tasks.language_modeling import LanguageModeling
    from ffmerge_core.tasks.own_data import read_texts

    own = read_texts(path)
    return LanguageModeling(
        own.name,
        _tokenizer(model),
        own.texts,
        _longest(model, "context"),
        known=_known(model, "get_input_embeddings"),
    )


def pairs(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The sentence pairs of a file, for a translator."""
    from ffmerge_core.tasks.own_data import read_pairs
    from ffmerge_core.tasks.translation import Translation

    own, told = read_pairs(path), target_language(model)
    return Translation(
        own.name,
        _tokenizer(model),
        own.pairs,
        _longest(model, "longest"),
        own.revision,
        language=told.language if told else None,
        told_by=told.by if told else "",
        known=_known(model, "get_input_embeddings"),
        # Of an OPUS model the two languages may have vocabularies of their own.
        known_target=_known(model, "get_output_embeddings"),
    )


def _tokenizer(model: LoadedModel) -> Any:
    """The model's; `DataError` if it has none."""
    if model.tokenizer is None:
        raise DataError(
            f"{model.source} has no tokenizer, so it cannot read text. Put its tokenizer.json "
            "beside the weights, or pass a task of your own."
        )
    return model.tokenizer


def _known(model: LoadedModel, table: str) -> int | None:
    """How many token ids a table of the model has; None for a module that does not tell."""
    try:
        found: Any = getattr(model.model, table, lambda: None)()
    except NotImplementedError:  # as transformers says that it does not know
        return None
    return None if found is None else int(found.weight.shape[0])


def _longest(model: LoadedModel, name: str) -> int:
    """Tokens that the model sees at once: what its own task says, or its family."""
    if (own := getattr(model.task, name, None)) is not None:
        return int(own)
    return model.family.longest_input(model.model)


def _digits(model: LoadedModel) -> Task:
    from ffmerge_core.demos.vit_digits.data import digits_task

    channels, height, width = _image_shape(model)
    if height != width:
        raise DataError(
            f"The model takes images of {height}×{width}; the digits are square. "
            "Pass task= with images of its own shape."
        )
    return digits_task().fitted_to(channels, height)


def _own_images(model: LoadedModel, path: str, n_classes: int | None, report: Report) -> Task:
    from ffmerge_core.tasks.image_classification import ImageClassification
    from ffmerge_core.tasks.own_images import image_task

    channels, height, width = _image_shape(model)
    if isinstance(model.task, ImageClassification):
        classes: Sequence[str] | None = model.task.classes
        mean: Sequence[float] = model.task.mean
        std: Sequence[float] = model.task.std
    else:
        classes = model.family.class_names(model.model, model.settings)
        mean, std = _normalisation(model, channels)
    return image_task(
        path,
        classes=classes,
        n_classes=n_classes,
        channels=channels,
        size=(height, width),
        mean=mean,
        std=std,
        report=report,
    )


def _image_shape(model: LoadedModel) -> tuple[int, int, int]:
    """(channels, height, width) that the model takes."""
    _, channels, height, width = model.family.example(model.model).args[0].shape
    return channels, height, width


def _normalisation(model: LoadedModel, channels: int) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation per channel, as the files beside the weights say; else 0.5."""
    processor = model.settings.get(PREPROCESSOR, {})
    if processor.get("do_normalize") is False:
        return (0.0,) * channels, (1.0,) * channels
    pretrained = model.settings.get(CONFIG, {}).get("pretrained_cfg") or {}
    mean = processor.get("image_mean") or pretrained.get("mean") or (0.5,)
    std = processor.get("image_std") or pretrained.get("std") or (0.5,)
    return _per_channel(mean, channels), _per_channel(std, channels)


def _per_channel(found: Any, channels: int) -> Sequence[float]:
    try:
        values = tuple(float(value) for value in found)
    except (TypeError, ValueError):
        raise DataError(
            f"{found!r} was found as the mean or deviation of a channel; a list of numbers was "
            "expected. Correct the file beside the weights."
        ) from None
    # One value for all, or values of colours before a grey image: their mean.
    return values if len(values) == channels else (sum(values) / len(values),) * channels

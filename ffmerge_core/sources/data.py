"""Which data a model is measured on: its own, the built-in digits, or the user's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffmerge_core.errors import DataError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.progress import Report, silent
from ffmerge_core.storage.folders import CONFIG, PREPROCESSOR
from ffmerge_core.tasks.task import Task

DIGITS = "digits"


def data_name(wanted: Task | str | Path | None) -> str | None:
    """`wanted` as a recipe writes it: the built-in name, an absolute path, or None."""
    if wanted == DIGITS or not isinstance(wanted, str | Path):
        return DIGITS if wanted == DIGITS else None
    try:
        path = Path(wanted).expanduser().resolve()
        found = path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"“{wanted}” cannot be the path of data ({error}).") from None
    if not found:
        raise DataError(
            f'There is no built-in data called "{wanted}", and no file or folder {path}. Give '
            f'"{DIGITS}", or the path of a text file, of sentence pairs, or of images by class.'
        )
    return str(path)


def choose_task(
    model: LoadedModel,
    wanted: Task | str | Path | None,
    *,
    fidelity: bool = False,
    report: Report = silent,
) -> Task | None:
    """What to measure `model` on; None if nothing is known.

    model: its task is what the source brings, or None. wanted: as `load` takes it. fidelity:
    compare with this very model instead of with labels. Raises `DataError`.
    """
    name = data_name(wanted)
    task: Any = model.task if wanted is None else wanted
    if name is not None:
        task = _read(model, name, fidelity, report)
    if not fidelity:
        return task  # type: ignore[no-any-return]
    if task is None:
        raise DataError(
            f"Fidelity compares models on inputs, and {model.source} brings none. Give them: "
            'task="a path to your data".'
        )
    from ffmerge_core.tasks.fidelity import Fidelity

    return Fidelity(task, model.model)


def _read(model: LoadedModel, name: str, fidelity: bool, report: Report) -> Task:
    """The data called `name`, by what the model's family is for."""
    if model.family.kind == "language-modeling":
        return _texts(model, name)
    if model.family.kind == "translation":
        return _pairs(model, name)
    if not fidelity and _n_classes(model) is None:
        raise DataError(
            f"{model.source} has no head that tells classes apart, so there is no accuracy to "
            "measure. Open it with fidelity=True, which compares the merged model with the "
            "original."
        )
    return _digits(model) if name == DIGITS else _images(model, name, report)


def _texts(model: LoadedModel, path: str) -> Task:
    from ffmerge_core.tasks.language_modeling import LanguageModeling
    from ffmerge_core.tasks.own_data import read_texts

    _refuse_digits(model, path, "a text file")
    own = read_texts(path)
    return LanguageModeling(own.name, _tokenizer(model), own.texts, _longest(model, "context"))


def _pairs(model: LoadedModel, path: str) -> Task:
    from ffmerge_core.tasks.own_data import read_pairs
    from ffmerge_core.tasks.translation import Translation

    _refuse_digits(model, path, "a file of sentence pairs")
    own = read_pairs(path)
    return Translation(
        own.name, _tokenizer(model), own.pairs, _longest(model, "longest"), own.revision
    )


def _refuse_digits(model: LoadedModel, name: str, instead: str) -> None:
    if name == DIGITS:
        raise DataError(
            f"The digits are images, and a {model.family.name} reads text. Give {instead}."
        )


def _tokenizer(model: LoadedModel) -> Any:
    """The model's; `DataError` if it has none, or one of another vocabulary."""
    if model.tokenizer is None:
        raise DataError(
            f"{model.source} has no tokenizer, so it cannot read text. Put its tokenizer.json "
            "beside the weights, or pass a task of your own."
        )
    config: Any = model.model.config
    if len(model.tokenizer) > config.vocab_size:
        raise DataError(
            f"The tokenizer of {model.source} has {len(model.tokenizer):,} tokens and the model "
            f"{config.vocab_size:,}. Put the model's own tokenizer beside the weights."
        )
    return model.tokenizer


def _longest(model: LoadedModel, name: str) -> int:
    """Tokens that the model sees at once: what its own task says, or its positions."""
    config: Any = model.model.config
    return int(getattr(model.task, name, config.max_position_embeddings))


def _digits(model: LoadedModel) -> Task:
    from ffmerge_core.demos.vit_digits.data import digits_task

    channels, height, width = _image_shape(model)
    if height != width:
        raise DataError(
            f"The model takes images of {height}×{width}; the digits are square. "
            "Pass task= with images of its own shape."
        )
    return digits_task().fitted_to(channels, height)


def _images(model: LoadedModel, path: str, report: Report) -> Task:
    from ffmerge_core.tasks.image_classification import ImageClassification
    from ffmerge_core.tasks.own_images import image_task

    channels, height, width = _image_shape(model)
    n_classes = _n_classes(model)
    if isinstance(model.task, ImageClassification):
        classes: Sequence[str] | None = model.task.classes
        mean: Sequence[float] = model.task.mean
        std: Sequence[float] = model.task.std
    else:
        classes = _class_names(model, n_classes)
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


def _n_classes(model: LoadedModel) -> int | None:
    """Classes that the model tells apart; None for an encoder without a head."""
    module: Any = model.model
    if hasattr(module, "config"):
        return int(module.config.num_labels) if hasattr(module, "classifier") else None
    return int(module.num_classes) or None


def _class_names(model: LoadedModel, n_classes: int | None) -> tuple[str, ...] | None:
    """The names that come with the weights, if they are names of these classes."""
    module: Any = model.model
    if n_classes is None:
        return None
    if hasattr(module, "config"):
        labels = [str(module.config.id2label.get(index)) for index in range(n_classes)]
        generic = all(re.fullmatch(r"LABEL_\d+", label) for label in labels)
        return None if generic else tuple(labels)
    names = model.settings.get(CONFIG, {}).get("label_names")
    if isinstance(names, list) and len(names) == n_classes:
        return tuple(map(str, names))
    return None


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

"""The user's own data for a model of each kind of task, as `TASKS` names the readers.

Each takes (model, path, fidelity, report): by fidelity the data needs no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ffmerge_core.errors import DataError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.progress import Report
from ffmerge_core.sources.languages import target_language
from ffmerge_core.sources.preparing import image_shape, preparation_of
from ffmerge_core.storage.folders import CONFIG, PROCESSORS
from ffmerge_core.tasks.kinds import DIGITS
from ffmerge_core.tasks.task import Task


def images(model: LoadedModel, name: str, fidelity: bool, report: Report) -> Task:
    """Images by class, or the built-in digits, for a classifier or an encoder."""
    from ffmerge_core.tasks.own_images import image_task

    n_classes = model.family.n_classes(model.model)
    if not fidelity and n_classes is None:
        raise DataError(
            f"{model.source} has no head that tells classes apart, so there is no accuracy to "
            "measure. Open it with fidelity=True, which compares the merged model with the "
            "original."
        )
    if name == DIGITS:
        return _digits(model)
    if fidelity:  # no labels: it does not matter which folder is which class
        return image_task(name, preparation_of(model), report=report)
    return image_task(
        name, preparation_of(model), _class_names(model), n_classes=n_classes, report=report
    )


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


def masked_texts(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The documents of a text file, for an encoder that fills in hidden tokens."""
    from ffmerge_core.tasks.masked_language_modeling import MaskedLanguageModeling
    from ffmerge_core.tasks.own_data import read_texts

    own = read_texts(path)
    return MaskedLanguageModeling(own.name, _tokenizer(model), own.texts, _room(model))


def labelled_texts(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The labelled texts of a file, for a classifier; by fidelity the labels are not read."""
    from ffmerge_core.tasks.class_names import LABEL, match_classes
    from ffmerge_core.tasks.own_data import read_labelled
    from ffmerge_core.tasks.text_classification import TextClassification

    own = read_labelled(path)
    labels = sorted({label for pairs in own.pairs.values() for label, _ in pairs})
    n_classes = None if fidelity else model.family.n_classes(model.model)
    names = None if fidelity else model.family.class_names(model.model, model.settings)
    matched = match_classes(labels, names, n_classes, own.name, LABEL)
    return TextClassification(
        own.name,
        _tokenizer(model),
        matched.classes,
        {
            split: [(matched.number[label], text) for label, text in pairs]
            for split, pairs in own.pairs.items()
        },
        _room(model),
        {} if fidelity else {"classes": matched.by},
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


def compared_texts(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The documents of a text file, on which a model that reads is compared with the original."""
    from ffmerge_core.tasks.encoding import TextEncoding
    from ffmerge_core.tasks.own_data import read_texts

    if not fidelity:
        raise DataError(
            f"{model.source} reads text and has no measure of its own here. Open it with "
            "fidelity=True, which compares the merged model with the original."
        )
    own = read_texts(path)
    return TextEncoding(
        own.name,
        _tokenizer(model),
        own.texts,
        _room(model),
        known=_known(model, "get_input_embeddings"),
    )


def recordings(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """No file of recordings is read: `DataError`."""
    raise DataError(
        f"{model.source} hears speech, and recordings are not read from files here. Pass a task "
        "of your own, whose batches hold its spectrograms, and fidelity=True."
    )


def _tokenizer(model: LoadedModel) -> Any:
    """The model's; `DataError` if it has none."""
    if model.tokenizer is None:
        raise DataError(
            f"{model.source} has no tokenizer, so it cannot read text. Put its tokenizer.json "
            "beside the weights. To a module in memory pass a task that has one: "
            "task=fm.LanguageModeling(…) or task=fm.Translation(…)."
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


def _room(model: LoadedModel) -> int:
    """Tokens of an encoder's input: its tokenizer may know of a few that positions are kept for."""
    own = getattr(_tokenizer(model), "model_max_length", None)
    return min(_longest(model, "context"), own) if own else _longest(model, "context")


def _digits(model: LoadedModel) -> Task:
    from ffmerge_core.demos.vit_digits.data import digits_task

    channels, height, width = image_shape(model)
    if height != width:
        raise DataError(
            f"The model takes images of {height}×{width}; the digits are square. "
            "Pass task= with images of its own shape."
        )
    task = digits_task().fitted_to(channels, height)
    if model.settings.keys().isdisjoint((CONFIG, *PROCESSORS)):
        return task
    # The digits, normalised as the files beside the weights say.
    own = preparation_of(model)
    return replace(task, mean=own.mean, std=own.std)


def _class_names(model: LoadedModel) -> Sequence[str] | None:
    """In the model's numbering: by its own task, or by what goes with its weights."""
    from ffmerge_core.tasks.image_classification import ImageClassification

    if isinstance(own := model.task, ImageClassification):
        return own.classes
    return model.family.class_names(model.model, model.settings)

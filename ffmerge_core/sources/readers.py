"""The user's own data for a model of each kind of task, as `TASKS` names the readers.

Each takes (model, path, fidelity, report): by fidelity the data needs no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ffmerge_core.errors import DataError
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.progress import Report
from ffmerge_core.sources.data_names import hub_data, is_hub_data, own_data
from ffmerge_core.sources.languages import target_language
from ffmerge_core.sources.preparing import feature_extractor_of, image_shape, preparation_of
from ffmerge_core.storage.folders import CONFIG, PROCESSORS
from ffmerge_core.tasks.class_files import read_class_file
from ffmerge_core.tasks.class_names import LABEL, Matched, match_by_file, match_classes
from ffmerge_core.tasks.kinds import DIGITS
from ffmerge_core.tasks.own_data import OwnPairs, OwnTexts, read_labelled, read_pairs, read_texts
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
    # By fidelity there are no labels: it does not matter which folder is which class.
    names = None if fidelity else _class_names(model)
    n_classes = None if fidelity else n_classes
    if is_hub_data(name):
        from ffmerge_core.sources.hub_tasks import hub_images

        return hub_images(
            hub_data(name), preparation_of(model), names, n_classes, not fidelity, report
        )
    own = own_data(name)
    return image_task(
        own.path,
        preparation_of(model),
        names,
        n_classes=n_classes,
        named=read_class_file(own.classes) if own.classes else None,
        report=report,
    )


def texts(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The documents of a text file, for a language model."""
    from ffmerge_core.tasks.language_modeling import LanguageModeling

    own = _texts(path, report)
    return LanguageModeling(
        own.name,
        _tokenizer(model),
        own.texts,
        _longest(model, "context"),
        known=_known(model, "get_input_embeddings"),
        notes=own.notes,
    )


def masked_texts(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The documents of a text file, for an encoder that fills in hidden tokens."""
    from ffmerge_core.tasks.masked_language_modeling import MaskedLanguageModeling

    own = _texts(path, report)
    return MaskedLanguageModeling(
        own.name,
        _tokenizer(model),
        own.texts,
        _room(model),
        own.notes,
        known=_known(model, "get_input_embeddings"),
    )


def labelled_texts(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The labelled texts of a file, for a classifier; by fidelity the labels are not read."""
    from ffmerge_core.tasks.text_classification import TextClassification

    if is_hub_data(path):
        from ffmerge_core.sources.hub_tasks import hub_labelled

        own = hub_labelled(hub_data(path), not fidelity, report)
    else:
        own = read_labelled(own_data(path).path)
    matched = _matched(model, own, path, fidelity)
    return TextClassification(
        own.name,
        _tokenizer(model),
        matched.classes,
        {
            split: [(matched.number[label], text) for label, text in pairs]
            for split, pairs in own.pairs.items()
        },
        _room(model),
        own.notes if fidelity else {"classes": matched.by, **own.notes},
        known=_known(model, "get_input_embeddings"),
    )


def pairs(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The sentence pairs of a file, for a translator."""
    from ffmerge_core.tasks.translation import Translation

    told = target_language(model)
    if is_hub_data(path):
        from ffmerge_core.sources.hub_tasks import hub_pairs

        own = hub_pairs(hub_data(path), told.language if told else None, report)
    else:
        own = read_pairs(_without_classes(path))
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
        notes=own.notes,
    )


def compared_texts(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The documents of a text file, on which a model that reads is compared with the original."""
    from ffmerge_core.tasks.encoding import TextEncoding

    if not fidelity:
        raise DataError(
            f"{model.source} reads text and has no measure of its own here. Open it with "
            "fidelity=True, which compares the merged model with the original."
        )
    own = _texts(path, report)
    return TextEncoding(
        own.name,
        _tokenizer(model),
        own.texts,
        _room(model),
        known=_known(model, "get_input_embeddings"),
    )


def recordings(model: LoadedModel, path: str, fidelity: bool, report: Report) -> Task:
    """The WAV files of a folder or zip, on which a model that hears is compared with itself."""
    from ffmerge_core.tasks.recordings import recordings_task, writes

    if not fidelity:
        raise DataError(
            f"{model.source} writes speech down and has no measure of its own here. Open it with "
            "fidelity=True, which compares the merged model with the original."
        )
    return recordings_task(
        path, feature_extractor_of(model), lambda heard: writes(model.model, heard), report
    )


def _texts(name: str, report: Report) -> OwnTexts:
    """Documents of a file, or of the hub."""
    if is_hub_data(name):
        from ffmerge_core.sources.hub_tasks import hub_texts

        return hub_texts(hub_data(name), report)
    return read_texts(_without_classes(name))


def _without_classes(name: str) -> Path:
    """The path of data that has no classes; `DataError` where a file of classes is given."""
    own = own_data(name)
    if own.classes is not None:
        raise DataError(
            f"{own.path.name} is read without classes, and {own.classes.name} says what classes "
            "are. Leave it out, or take a classifier."
        )
    return own.path


def _matched(model: LoadedModel, own: OwnPairs, name: str, fidelity: bool) -> Matched:
    """The labels of texts, matched to the model's classes."""
    labels = sorted({label for pairs in own.pairs.values() for label, _ in pairs})
    if fidelity:
        return match_classes(labels, None, None, own.name, LABEL)
    n_classes = model.family.n_classes(model.model)
    names = model.family.class_names(model.model, model.settings)
    if is_hub_data(name):
        from ffmerge_core.sources.hub_tasks import match_labels

        return match_labels(labels, own.classes, names, n_classes, hub_data(name))
    if (path := own_data(name).classes) is not None:
        file = read_class_file(path)
        return match_by_file(labels, file.said, names, n_classes, own.name, file.name, LABEL)
    return match_classes(labels, names, n_classes, own.name, LABEL)


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

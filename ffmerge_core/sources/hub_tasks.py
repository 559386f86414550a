"""Examples from data sets of the hub, in the form that files of the user's have."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch

from ffmerge_core.errors import DataError
from ffmerge_core.progress import Report
from ffmerge_core.sources.columns import Columns, Way, image_way, label_way, pair_ways, text_way
from ffmerge_core.sources.data_names import CLASSES, KEYS, NUMBERS, HubData
from ffmerge_core.sources.datasets import Limit, Rows
from ffmerge_core.sources.hub_splits import carve, read_splits
from ffmerge_core.sources.kept_rows import Row
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.class_files import read_class_file
from ffmerge_core.tasks.class_names import (
    LABEL,
    Matched,
    match_by_file,
    match_classes,
    match_numbers,
)
from ffmerge_core.tasks.image_classification import ImageClassification
from ffmerge_core.tasks.images import LabelledImages
from ffmerge_core.tasks.own_data import OwnPairs, OwnTexts
from ffmerge_core.tasks.own_images import MAX_TASK_BYTES, check_memory, read_image
from ffmerge_core.tasks.preparation import Preparation

# Read of one split at most, where the name of the data does not say how many.
MAX_TEXTS, MAX_TEXT_BYTES = 100_000, 200_000_000
# Of images in all splits together.
MAX_IMAGES, MAX_IMAGE_BYTES = 10_000, 500_000_000
# Rows that are lines or paragraphs: so many make a document of the training split.
_ROWS_A_DOCUMENT = 200


def hub_texts(data: HubData, report: Report) -> OwnTexts:
    """The documents of a data set: a row each; or rows joined, where they are parts of a text.

    Of joined rows the validation and test splits are one document each, as transformers' guide to
    perplexity has it. Raises `DataError`.
    """
    _check_keys(data, "text", "rows")
    rows = Rows(data)
    way = text_way(rows.facts.columns, data)
    kind = data.options.get("rows", "lines" if rows.facts.files == "text" else "documents")
    joined = kind != "documents"
    found = read_splits(rows, (way,), _limit(data), report, blanks=joined)
    notes = found.notes()
    documents: dict[Split, Sequence[Row]] = dict(found.rows)
    if joined:
        between = "\n\n" if kind == "paragraphs" else "\n"
        for split, each in found.rows.items():
            n = _rows_a_document(len(each)) if split == "train" else len(each)
            parts = (each[start : start + n] for start in range(0, len(each), n))
            texts = (between.join(str(row[0]) for row in part) for part in parts)
            documents[split] = [(text,) for text in texts if text.strip()]
        notes["rows"] = f"{kind}, joined by {'blank lines' if kind == 'paragraphs' else 'newlines'}"
    splits = carve(found, documents, _first, data.in_words)
    return OwnTexts(
        data.in_words,
        {split: tuple(str(row[0]) for row in each) for split, each in splits.items()},
        _revision(splits),
        notes,
    )


def hub_pairs(data: HubData, language: str | None, report: Report) -> OwnPairs:
    """The sentence pairs of a data set. language: that the model translates into, if it tells."""
    _check_keys(data, "source", "target")
    rows = Rows(data)
    ways = pair_ways(rows.facts.columns, data, language)
    found = read_splits(rows, ways, _limit(data), report)
    splits = carve(found, found.rows, _first, data.in_words)
    pairs = {
        split: tuple((str(source).strip(), str(target).strip()) for source, target in each)
        for split, each in splits.items()
    }
    return OwnPairs(data.in_words, pairs, _revision(splits), found.notes())


def hub_labelled(data: HubData, labels: bool, report: Report) -> OwnPairs:
    """The (label, text) pairs of a data set; without labels, where none are needed, "" for each."""
    _check_keys(data, "text", "label", "classes")
    rows = Rows(data)
    columns = rows.facts.columns
    text = text_way(columns, data)
    ways = (text, label_way(columns, data)) if labels else (text,)
    found = read_splits(rows, ways, _limit(data), report, spread=True)
    splits = carve(found, found.rows, _first, data.in_words)
    names = _class_names(columns, ways)
    pairs = {
        split: tuple((_label(row[1], names, data) if labels else "", str(row[0])) for row in each)
        for split, each in splits.items()
    }
    return OwnPairs(data.in_words, pairs, _revision(splits), found.notes(), names)


def hub_images(
    data: HubData,
    preparation: Preparation,
    classes: Sequence[str] | None,
    n_classes: int | None,
    labels: bool,
    report: Report,
) -> ImageClassification:
    """The images of a data set as a task. classes, n_classes: the model's, as for own images."""
    _check_keys(data, "image", "label", "classes")
    rows = Rows(data)
    columns = rows.facts.columns
    image = image_way(columns, data)
    ways = (image, label_way(columns, data)) if labels else (image,)
    found = read_splits(rows, ways, _image_limit(data, preparation), report, spread=True)
    splits = carve(found, found.rows, _first, data.in_words)
    check_memory(sum(map(len, splits.values())), preparation.shape, data.in_words)
    names = _class_names(columns, ways)
    labelled = {
        split: [_label(row[1], names, data) if labels else "" for row in each]
        for split, each in splits.items()
    }
    present = sorted({label for each in labelled.values() for label in each})
    matched = (
        match_labels(present, names, classes, n_classes, data)
        if labels
        else match_classes(present, None, None, data.in_words, LABEL)
    )
    images = {
        split: LabelledImages(
            _prepared([row[0] for row in each], preparation, f"{split} of {data.in_words}", report),
            torch.tensor([matched.number[label] for label in labelled[split]]),
        )
        for split, each in splits.items()
    }
    notes = {"images": preparation.how, **found.notes()}
    return ImageClassification(
        data=data.in_words,
        classes=matched.classes,
        splits=images,
        mean=preparation.mean,
        std=preparation.std,
        notes={"classes": matched.by, **notes} if labels else notes,
    )


def match_labels(
    present: Sequence[str],
    own: Sequence[str] | None,
    classes: Sequence[str] | None,
    n_classes: int | None,
    data: HubData,
) -> Matched:
    """Match the labels of a data set to a model's classes.

    own: the data's names of its classes, in its numbering, if it has them. By a file or by number
    where the data's name says so; else by names; a model without names takes the data's numbers.
    """
    how, name = data.options.get(CLASSES), data.in_words
    if how == NUMBERS and own is not None:
        return match_numbers(own, classes, n_classes, name)
    if how not in (None, NUMBERS):
        file = read_class_file(Path(how))
        return match_by_file(present, file.said, classes, n_classes, name, file.name, LABEL)
    if classes is None and own is not None and len(own) == n_classes:
        return match_numbers(own, classes, n_classes, name)
    try:
        return match_classes(present, classes, n_classes, name, LABEL)
    except DataError as error:
        raise DataError(
            f"{error} Or say it behind a question mark: ?{CLASSES}={NUMBERS} where the data "
            f"numbers its classes as the model does, or ?{CLASSES}=/path/to/classes.tsv"
        ) from None


def _check_keys(data: HubData, *used: str) -> None:
    """Raise `DataError` for what is said of the data and would not be heard."""
    for key in data.options:
        if key not in (*used, "train", "validation", "test", "split", "examples"):
            raise DataError(
                f"{key}= says {KEYS[key]}, and for this kind of model {', '.join(used)} are read "
                "of data. Leave it out."
            )


def _rows_a_document(n: int) -> int:
    """Of n rows; of few rows fewer, so that there are enough documents to carve from."""
    return min(_ROWS_A_DOCUMENT, max(1, n // 50))


def _limit(data: HubData) -> Limit:
    return Limit(int(data.options.get("examples", MAX_TEXTS)), MAX_TEXT_BYTES)


def _image_limit(data: HubData, preparation: Preparation) -> Limit:
    """So many of each split that all fit the memory of a task."""
    each = torch.Size(preparation.shape).numel() * torch.float32.itemsize
    n_splits = 1 if "split" in data.options else 3
    fitting = max(1, min(MAX_IMAGES, MAX_TASK_BYTES // each) // n_splits)
    return Limit(int(data.options.get("examples", fitting)), MAX_IMAGE_BYTES)


def _class_names(columns: Columns, ways: tuple[Way, ...]) -> tuple[str, ...] | None:
    """The names that the data gives the numbers in its label column, if it does."""
    column = columns.get(ways[-1][0])
    return column.names if column is not None and column.holds == "class" else None


def _label(value: object, names: Sequence[str] | None, data: HubData) -> str:
    if names is None or not isinstance(value, int):
        return str(value)
    if not 0 <= value < len(names):
        raise DataError(
            f"{data.in_words} has the label {value}, and it names {len(names):,} classes, numbered "
            "from 0. Name another column."
        )
    return names[value]


def _prepared(
    contents: Sequence[object], preparation: Preparation, of: str, report: Report
) -> torch.Tensor:
    images = torch.empty(len(contents), *preparation.shape)
    for row, content in enumerate(contents):
        assert isinstance(content, bytes), "the way leads to a column of images"
        images[row] = read_image(content, f"Image {row:,} of {of}", preparation)
        report(row + 1, len(contents), f"images of {of} prepared")
    return images


def _first(row: Row) -> str:
    """What decides the split of an example: the text, the source sentence, or the image."""
    value = row[0]
    return sha256(value).hexdigest() if isinstance(value, bytes) else str(value)


def _revision(splits: dict[Split, list[Row]]) -> str:
    """SHA-256 of every row, split by split."""
    digest = sha256()
    for split, rows in splits.items():
        for row in rows:
            said = "\t".join(sha256(str(value).encode()).hexdigest() for value in row)
            digest.update(f"{split}\t{said}\n".encode())
    return digest.hexdigest()

"""The three splits of a data set of the hub: its own where it has them, else carved by hash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from ffmerge_core.errors import DataError
from ffmerge_core.progress import Report, part
from ffmerge_core.sources.columns import Way
from ffmerge_core.sources.data_names import HubData
from ffmerge_core.sources.datasets import Limit, Rows
from ffmerge_core.sources.kept_rows import Row
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.own_data import splits_by_hash

_USUAL: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test",),
}
# How `datasets` writes the label of an example whose label is kept secret.
_SECRET = -1


@dataclass
class Splits:
    """Rows by split, whole ones alone, and how they came to be there.

    carved: the splits that have to be carved from train, each with why. cut: how many rows were
    read of those that have more; spread: whether they are from all over it. lacking: rows left out
    because they lack something.
    """

    rows: dict[Split, list[Row]] = field(default_factory=dict)
    called: dict[Split, str] = field(default_factory=dict)
    carved: dict[Split, str] = field(default_factory=dict)
    cut: dict[Split, int] = field(default_factory=dict)
    spread: bool = False
    lacking: int = 0

    def notes(self) -> dict[str, str]:
        """In words, for the scores."""
        said = []
        for split in get_args(Split):
            if split in self.carved:
                why = self.carved[split]
                said.append(f"{split} carved by hash from “{self.called['train']}”, because {why}")
            else:
                part = ""
                if (n := self.cut.get(split)) is not None:
                    part = (
                        f", {n:,} rows from all over it"
                        if self.spread
                        else f", its first {n:,} rows"
                    )
                said.append(f"{split} is “{self.called[split]}”{part}")
        notes = {"splits": "; ".join(said)}
        if self.lacking:
            rows = "row lacks" if self.lacking == 1 else "rows lack"
            notes["left out"] = f"{self.lacking:,} {rows} a value"
        return notes


def read_splits(
    rows: Rows,
    ways: tuple[Way, ...],
    limit: Limit,
    report: Report,
    *,
    blanks: bool = False,
    spread: bool = False,
) -> Splits:
    """The splits of a data set as it has them.

    blanks: whether an empty text is a value too. spread: as `Rows.read` takes it. Raises
    `DataError` where there is no train split, or none of its rows is whole.
    """
    data = rows.data
    found = Splits(called=_called(rows.facts.splits, data), spread=spread)
    column = rows.facts.columns.get(ways[-1][0])
    numbered = column is not None and column.holds == "class"
    for at, (split, name) in enumerate(found.called.items()):
        n = len(found.called)
        told = part(report, at / n, (at + 1) / n)
        read = rows.read(name, ways, limit, told, spread=spread)
        whole = [] if _is_secret(read.rows) else [
            row for row in read.rows if all(_is_whole(value, blanks, numbered) for value in row)
        ]  # fmt: skip
        if read.more:
            found.cut[split] = len(read.rows)
        if not whole and split != "train":
            found.carved[split] = f"“{name}” has no labels" if read.rows else f"“{name}” is empty"
            continue
        if not whole:
            problem = f"only rows that lack a value in “{name}”" if read.rows else "no rows"
            raise DataError(f"{data.in_words} has {problem}. Name another split or column.")
        found.lacking += len(read.rows) - len(whole)
        found.rows[split] = whole
    for split in get_args(Split):
        if split not in found.called:
            found.carved[split] = "there is none"
    return found


def carve(
    found: Splits, examples: Mapping[Split, Sequence[Row]], key: Callable[[Row], str], name: str
) -> dict[Split, list[Row]]:
    """The examples of each split, those of a split that there is not carved from train's.

    examples: of the splits that there are. key: what decides an example's split. A tenth goes to
    each that is carved.
    """
    splits = {split: list(each) for split, each in examples.items()}
    if not found.carved:
        return splits
    train = splits["train"]
    drawn = splits_by_hash([key(each) for each in train], name)
    for split in found.carved:
        splits[split] = [train[place] for place in drawn[split]]
    kept = sorted(place for split in drawn if split not in found.carved for place in drawn[split])
    splits["train"] = [train[place] for place in kept]
    return splits


def _called(there: Sequence[str], data: HubData) -> dict[Split, str]:
    """Which split of the data set is train, validation or test."""
    listed = ", ".join(there)
    if (only := data.options.get("split")) is not None:
        called: dict[Split, str] = {"train": only}
    else:
        called = {split: data.options[split] for split in get_args(Split) if split in data.options}
    for name in called.values():
        if name not in there:
            raise DataError(f"{data.in_words} has no split called {name[:100]}. It has {listed}.")
    if only is None:
        for split, names in _USUAL.items():
            usual = [name for name in names if name in there and name not in called.values()]
            if split not in called and usual:
                called[split] = usual[0]
    if "train" not in called and len(there) == 1:
        called = {"train": there[0]}
    if "train" not in called:
        raise DataError(
            f"{data.in_words} has the splits {listed}, and none is called train. Say which one it "
            f"is behind a question mark, ?train={there[0]}, or use one alone: ?split={there[0]}"
        )
    if len(set(called.values())) < len(called):
        raise DataError(
            f"{data.in_words}: two of train, validation and test are the same split. They never "
            "share examples; name others, or use one alone by ?split=…"
        )
    return {split: called[split] for split in get_args(Split) if split in called}


def _is_secret(rows: Sequence[Row]) -> bool:
    """Whether no label of a split is told. Among others −1 may well be a class of its own."""
    return bool(rows) and all(row[-1] == _SECRET for row in rows)


def _is_whole(value: object, blanks: bool, numbered: bool) -> bool:
    """numbered: whether a number is one of the classes that the data names, from 0."""
    if isinstance(value, str):
        return blanks or bool(value.strip())
    return value is not None and not (numbered and value == _SECRET)

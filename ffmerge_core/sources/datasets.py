"""Data sets of the hub, streamed through the library `datasets`, within bounds.

Files of parquet, JSON, CSV and text are read, those of the repository itself alone. Code of a
repository never runs. What was read is kept on this computer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ffmerge_core.errors import DataError
from ffmerge_core.extras import require
from ffmerge_core.progress import Report
from ffmerge_core.sources import kept_rows
from ffmerge_core.sources.columns import Column, Columns, Way, columns_of, value_at
from ffmerge_core.sources.data_names import HubData, pinned_at
from ffmerge_core.sources.hub import unreachable
from ffmerge_core.sources.hub_sentences import FORMATS, sentences, try_converted
from ffmerge_core.sources.kept_rows import Read, Row

_ROWS_A_REPORT = 100
_PARTS = 16


@dataclass(frozen=True)
class Limit:
    """The most that is read of one split."""

    examples: int
    n_bytes: int


@dataclass(frozen=True)
class Facts:
    """What a data set is, before its rows are read. files: one of `FORMATS`."""

    files: str
    splits: tuple[str, ...]
    columns: Columns


def pin(data: HubData, report: Report) -> HubData:
    """The data set at the commit that its branch or tag is now; offline, that it last was here.

    Raises `DataError` in a sentence, and for `datasets` that is not installed.
    """
    require("datasets", "Data of the hub", DataError)
    if data.pinned:
        return data
    from huggingface_hub import HfApi

    report(0, 1, f"Asking the hub for the data set {data.repo}")
    with sentences(data):
        try:
            # Of a large data set the list of its files alone would be long.
            ask = HfApi().dataset_info
            commit = ask(data.repo, revision=data.revision, timeout=10, expand=["sha"]).sha
        except unreachable():
            commit = kept_rows.kept_commit(data)
        if not commit:
            raise ConnectionError
        kept_rows.keep_commit(data, commit)
    return pinned_at(data, commit)


class Rows:
    """The rows of a data set at a commit: kept ones, or streamed. Raises `DataError` anywhere."""

    def __init__(self, data: HubData) -> None:
        self.data = data

    @cached_property
    def facts(self) -> Facts:
        """Its splits and columns."""
        if (kept := kept_rows.kept_facts(self.data)) is not None:
            return _facts_of(kept)
        with sentences(self.data):
            files, streams = self._streams
            first = next(iter(streams.values()))
            columns = columns_of(first.features or next(iter(first), {}))
        if not columns:
            raise DataError(f"{self.data.in_words} has no rows. Choose another data set.")
        facts = Facts(files, tuple(map(str, streams)), columns)
        kept_rows.keep_facts(self.data, asdict(facts))
        return facts

    def read(
        self,
        split: str,
        ways: tuple[Way, ...],
        limit: Limit,
        report: Report,
        *,
        spread: bool = False,
    ) -> Read:
        """Rows of a split, as many as the limit lets, with what is on these ways.

        The first ones; spread: some of each part, since the files of many data sets are sorted by
        class. The order is then another, and always the same.
        """
        asked = [split, ways, asdict(limit), spread]
        if (read := kept_rows.kept_rows(self.data, asked)) is None:
            with sentences(self.data):
                stream = self._stream(split, ways)
                found = _spread(stream) if spread else stream
                read = self._first(found, split, ways, limit, report)
            kept_rows.keep_rows(self.data, asked, read)
        return read

    def _first(
        self,
        stream: Iterable[Mapping[str, Any]],
        split: str,
        ways: tuple[Way, ...],
        limit: Limit,
        report: Report,
    ) -> Read:
        rows: list[Row] = []
        n_bytes = 0
        for found in stream:
            row = tuple(self._value(value_at(found, way)) for way in ways)
            n_bytes += sum(_size(value) for value in row)
            if len(rows) == limit.examples or n_bytes > limit.n_bytes:
                return Read(tuple(rows), more=True)
            rows.append(row)
            if len(rows) % _ROWS_A_REPORT == 0:
                told = f"rows of “{split}” of {self.data.in_words} read, {n_bytes / 1e6:,.1f} MB"
                report(len(rows), limit.examples, told)
        return Read(tuple(rows), more=False)

    def _value(self, value: Any) -> str | int | bytes | None:
        """One value; of an image the bytes of its file."""
        if isinstance(value, Mapping):
            content = value.get("bytes")
            if not isinstance(content, bytes):
                # A path or an address, which would lead out of the repository.
                raise DataError(
                    f"{self.data.in_words} holds an image by its place, not by its bytes, and only "
                    f"bytes are read. {try_converted(self.data)}"
                )
            return content
        if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
            return int(value)  # a float: of a column of numbers of which some are missing
        if value is None or isinstance(value, str | int | bytes):
            return value
        raise DataError(
            f"{self.data.in_words} holds a {type(value).__name__} where a text, a whole number or "
            "an image was expected. Name another column."
        )

    def _stream(self, split: str, ways: tuple[Way, ...]) -> Any:
        from datasets import Image

        stream = self._streams[1][split]
        names = list(dict.fromkeys(way[0] for way in ways))
        stream = stream.select_columns(names)
        for name in names:
            if type((stream.features or {}).get(name)).__name__ == "Image":
                stream = stream.cast_column(name, Image(decode=False))
        return stream

    @cached_property
    def _streams(self) -> tuple[str, Mapping[str, Any]]:
        """The format of its files, and each split by its name."""
        builder = self._builder()
        files = _format_of(builder)
        if files == "csv":
            # By itself it takes the words NA, null and None for values that are missing.
            builder.config.keep_default_na, builder.config.na_values = False, [""]
        if files not in FORMATS:
            raise DataError(
                f"{self.data.in_words} has its data as {files}; files of {', '.join(FORMATS)} were "
                f"expected. {try_converted(self.data)}"
            )
        return files, builder.as_streaming_dataset()

    def _builder(self) -> Any:
        from datasets import load_dataset_builder

        # With this prefix a folder of the same name on this computer is not taken for it.
        place, revision, config = (
            f"hf://datasets/{self.data.repo}",
            self.data.revision,
            (self.data.config),
        )
        try:
            return load_dataset_builder(place, config, revision=revision)
        except ValueError as error:
            if not str(error).startswith(("BuilderConfig", "Config name")):
                raise
        if config is not None:
            from datasets.data_files import EmptyDatasetError

            try:  # of the hub's copies a configuration is a folder
                return load_dataset_builder(place, data_dir=config, revision=revision)
            except (EmptyDatasetError, FileNotFoundError):
                pass
        from datasets import get_dataset_config_names

        known = get_dataset_config_names(place, revision=revision)
        problem = f"no configuration called {config}" if config else "several configurations"
        raise DataError(
            f"{self.data.repo} has {problem}. It has {', '.join(known[:20])}"
            f"{f' and {len(known) - 20:,} more' if len(known) > 20 else ''}. Name one behind a "
            f"slash: hf:{self.data.repo}/{known[0]}"
        )


def _facts_of(kept: Mapping[str, Any]) -> Facts:
    columns = {
        name: Column(column["holds"], tuple(column["names"]))
        for name, column in kept["columns"].items()
    }
    return Facts(kept["files"], tuple(kept["splits"]), columns)


def _spread(stream: Any) -> Iterator[Mapping[str, Any]]:
    """The rows of as many parts as are read side by side, one of each in turn."""
    if stream.num_shards < _PARTS:
        stream = stream.reshard()  # within the files
    n = min(_PARTS, stream.num_shards)
    parts = [iter(stream.shard(n, part)) for part in range(n)]
    while parts:
        for part in tuple(parts):
            try:
                yield next(part)
            except StopIteration:
                parts.remove(part)


def _format_of(builder: Any) -> str:
    """By the module of `datasets` that reads it, of which its class is made."""
    modules = (kind.__module__ for kind in type(builder).__mro__)
    found = next(name for name in modules if name.startswith("datasets.packaged_modules."))
    return found.rpartition(".")[2]


def _size(value: str | int | bytes | None) -> int:
    return (
        len(value.encode())
        if isinstance(value, str)
        else len(value)
        if isinstance(value, bytes)
        else 8
    )

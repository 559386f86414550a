"""Data sets of the hub, streamed through the library `datasets`, within bounds.

Files of parquet, JSON, CSV and text are read, those of the repository itself alone. Code of a
repository never runs. What was read is kept on this computer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ffmerge_core.errors import DataError, FFMergeError
from ffmerge_core.extras import require
from ffmerge_core.progress import Report
from ffmerge_core.sources import kept_rows
from ffmerge_core.sources.columns import Column, Columns, Way, columns_of, value_at
from ffmerge_core.sources.data_names import HubData, pinned_at
from ffmerge_core.sources.hub import answer_in_words, unreachable
from ffmerge_core.sources.kept_rows import Read, Row

FORMATS = ("parquet", "json", "csv", "text")
# The hub's own copy of most data sets, whatever their files are.
CONVERTED = "refs/convert/parquet"
OTHER = "a file of your own"

_ROWS_A_REPORT = 100
_ADDRESS = re.compile(r"\b(?:https?|hf)://\S+")


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
    with _sentences(data):
        try:
            commit = HfApi().dataset_info(data.repo, revision=data.revision, timeout=10).sha
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
            columns = {
                name: Column(column["holds"], tuple(column["names"]))
                for name, column in kept["columns"].items()
            }
            return Facts(kept["files"], tuple(kept["splits"]), columns)
        with _sentences(self.data):
            files, streams = self._streams
            first = next(iter(streams.values()))
            columns = columns_of(first.features or next(iter(first), {}))
        facts = Facts(files, tuple(map(str, streams)), columns)
        kept_rows.keep_facts(self.data, asdict(facts))
        return facts

    def read(self, split: str, ways: tuple[Way, ...], limit: Limit, report: Report) -> Read:
        """The first rows of a split, as many as the limit lets, with what is on these ways."""
        asked = [split, ways, asdict(limit)]
        if (read := kept_rows.kept_rows(self.data, asked)) is None:
            with _sentences(self.data):
                read = self._first(self._stream(split, ways), split, ways, limit, report)
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
                    f"bytes are read. {_try_converted(self.data)}"
                )
            return content
        if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
            return int(value)  # a float: of a column of numbers of which some are missing
        if value is None or isinstance(value, str | int):
            return value
        raise DataError(
            f"{self.data.in_words} holds a {type(value).__name__} where a text, a whole number or "
            "an image was expected. Name another column."
        )

    def _stream(self, split: str, ways: tuple[Way, ...]) -> Iterable[Mapping[str, Any]]:
        from datasets import Image

        stream = self._streams[1][split]
        names = list(dict.fromkeys(way[0] for way in ways))
        stream = stream.select_columns(names)
        for name in names:
            if type((stream.features or {}).get(name)).__name__ == "Image":
                stream = stream.cast_column(name, Image(decode=False))
        found: Iterable[Mapping[str, Any]] = stream
        return found

    @cached_property
    def _streams(self) -> tuple[str, Mapping[str, Any]]:
        """The format of its files, and each split by its name."""
        builder = self._builder()
        files = _format_of(builder)
        if files not in FORMATS:
            raise DataError(
                f"{self.data.in_words} has its data as {files}; files of {', '.join(FORMATS)} were "
                f"expected. {_try_converted(self.data)}"
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


@contextmanager
def _sentences(data: HubData) -> Iterator[None]:
    """Make a `DataError` of whatever the hub or the library answers. No address is shown.

    What the libraries would log or draw of it meanwhile is not: the sentence is enough.
    """
    logs = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.CRITICAL)
        yield
    except FFMergeError:
        raise
    except Exception as error:
        raise DataError(_in_words(data, error)) from None
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _in_words(data: HubData, found: Exception) -> str:
    from datasets.exceptions import DataFilesNotFoundError
    from huggingface_hub import errors

    error = _behind(found)
    asked = f"{data.repo} at {data.revision}" if data.revision else data.repo
    if isinstance(error, errors.GatedRepoError) or "is a gated dataset" in str(error):
        return (
            f"The data set {data.repo} is gated: its owner asks for a login and for consent to "
            "terms. Accept them on its page, then set HF_TOKEN or run `hf auth login`."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"The hub knows no data set {data.repo}, or it is private and your login may not read "
            "it. Check the spelling, or set HF_TOKEN to a token that may."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"The data set {data.repo} has no branch, tag or commit called {data.revision}. Leave "
            "it out for the newest."
        )
    if isinstance(error, errors.HfHubHTTPError):
        return answer_in_words(f"the data set {asked}", error, OTHER)
    if isinstance(error, (ConnectionError, TimeoutError, *unreachable())):
        return (
            f"The hub cannot be reached, and this of the data set {asked} was not read on this "
            f"computer before. Connect it, or give {OTHER}."
        )
    if "don't belong to" in str(error):
        return (
            f"The card of {data.repo} names a file outside of the repository, and such files are "
            f"not read. {_try_converted(data)}"
        )
    if "scripts are no longer supported" in str(error):
        return (
            f"{data.repo} is read by a script, and code of a repository never runs. "
            f"{_try_converted(data)}"
        )
    if isinstance(error, DataFilesNotFoundError | FileNotFoundError):
        return (
            f"{data.in_words} has no files of {', '.join(FORMATS)} that could be read. "
            f"{_try_converted(data)}"
        )
    said = " ".join(_ADDRESS.sub("…", str(error)).split())[:200] or type(error).__name__
    return (
        f"{data.in_words} cannot be read: {said}. Choose another configuration or revision, or "
        f"give {OTHER}."
    )


def _behind(error: BaseException) -> BaseException:
    """What the hub answered, or that it did not; `datasets` hides it behind errors of its own."""
    from huggingface_hub import errors

    told: tuple[type[Exception], ...] = (errors.HfHubHTTPError, *unreachable())
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, told) and not isinstance(each, errors.EntryNotFoundError):
            return each
        each = each.__cause__ or each.__context__
    return error


def _format_of(builder: Any) -> str:
    """By the module of `datasets` that reads it, of which its class is made."""
    modules = (kind.__module__ for kind in type(builder).__mro__)
    found = next(name for name in modules if name.startswith("datasets.packaged_modules."))
    return found.rpartition(".")[2]


def _try_converted(data: HubData) -> str:
    if data.revision == CONVERTED:
        return f"Give {OTHER}."
    config = f"/{data.config}" if data.config else "/configuration"
    return (
        "Of most data sets the hub has a copy in parquet; try it: "
        f"hf:{data.repo}{config}@{CONVERTED}"
    )


def _size(value: str | int | bytes | None) -> int:
    return (
        len(value.encode())
        if isinstance(value, str)
        else len(value)
        if isinstance(value, bytes)
        else 8
    )

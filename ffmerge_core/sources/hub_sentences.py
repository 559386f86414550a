"""Sentences for whatever the hub, or the library `datasets`, answers instead of rows."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ffmerge_core.errors import DataError, FFMergeError
from ffmerge_core.sources.data_names import HubData
from ffmerge_core.sources.hub import answer_in_words, unreachable

FORMATS = ("parquet", "json", "csv", "text")
# The hub's own copy of most data sets, whatever their files are.
CONVERTED = "refs/convert/parquet"
OTHER = "a file of your own"

_ADDRESS = re.compile(r"\b(?:https?|hf)://\S+")


@contextmanager
def sentences(data: HubData) -> Iterator[None]:
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
            "The hub cannot be reached, or the connection to it was cut, and what is asked of the "
            f"data set {asked} was not read on this computer before. Connect it, or give {OTHER}."
        )
    if "don't belong to" in str(error):
        return (
            f"The card of {data.repo} names a file outside of the repository, and such files are "
            f"not read. {try_converted(data)}"
        )
    if "scripts are no longer supported" in str(error):
        return (
            f"{data.repo} is read by a script, and code of a repository never runs. "
            f"{try_converted(data)}"
        )
    if isinstance(error, DataFilesNotFoundError | FileNotFoundError):
        return (
            f"{data.in_words} has no files of {', '.join(FORMATS)} that could be read. "
            f"{try_converted(data)}"
        )
    said = " ".join(_ADDRESS.sub("…", str(error)).split())[:200].rstrip(".")
    said = said or type(error).__name__
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


def try_converted(data: HubData) -> str:
    """What to try where the files of a repository cannot be read."""
    if data.revision == CONVERTED:
        return f"Give {OTHER}."
    config = f"/{data.config}" if data.config else "/configuration"
    return (
        "Of most data sets the hub has a copy in parquet; try it: "
        f"hf:{data.repo}{config}@{CONVERTED}"
    )

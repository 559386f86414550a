"""Names of data that are no mere path: of the hub's data sets, and of a file of classes.

    hf:org/name[/config][@revision][?key=value&key=value…]
    /path/to/folder?classes=/path/to/classes.tsv

In a value "%26" stands for "&" and "%25" for "%".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from ffmerge_core.errors import DataError
from ffmerge_core.sources.hub import HUB

# What may stand behind the question mark of a data set of the hub.
KEYS: Mapping[str, str] = {
    "text": "the column of texts",
    "label": "the column of labels",
    "image": "the column of images",
    "source": "the column or language to translate from",
    "target": "the column or language to translate into",
    "train": "the split to train on",
    "validation": "the split to choose by",
    "test": "the split of the final score",
    "split": "the only split to use",
    "examples": "how many of each split to read at most",
    "rows": "what a row is: documents, paragraphs or lines",
    "classes": "a file that says which class a label is, or numbers",
}
ROWS = ("documents", "paragraphs", "lines")
CLASSES, NUMBERS = "classes", "numbers"

_NAME = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+)(/(?P<config>[^/@?]+))?(@(?P<revision>[\w./-]+))?(\?(?P<said>.+))?",
    re.DOTALL,
)
_COMMIT = re.compile("[0-9a-f]{40}")
_ROLES = ("train", "validation", "test")


@dataclass(frozen=True)
class HubData:
    """A data set of the hub, as its name says it. options: by the keys of `KEYS`."""

    repo: str
    config: str | None = None
    revision: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        revision = f"@{self.revision}" if self.revision else ""
        said = "&".join(f"{key}={_quoted(value)}" for key, value in self.options.items())
        return f"{HUB}{self.repo}{config}{revision}{'?' if said else ''}{said}"

    @property
    def in_words(self) -> str:
        """Without the revision and without what is chosen of it."""
        return f"{self.config} of {self.repo}" if self.config else self.repo

    @property
    def pinned(self) -> bool:
        """Whether its revision is a commit, which never changes."""
        return _COMMIT.fullmatch(self.revision or "") is not None


@dataclass(frozen=True)
class OwnData:
    """A file or folder, and the file that says which class each of its folders or labels is."""

    path: Path
    classes: Path | None = None

    def __str__(self) -> str:
        return str(self.path) if self.classes is None else f"{self.path}?{CLASSES}={self.classes}"


def is_hub_data(name: str) -> bool:
    """Whether `name` is that of a data set of the hub."""
    return name.startswith(HUB)


def hub_data(name: str) -> HubData:
    """Read the name of a data set. Raises `DataError` for one that is none."""
    found = _NAME.fullmatch(name.removeprefix(HUB))
    if found is None or ".." in f"{found['repo']}/{found['config']}/{found['revision']}":
        raise DataError(
            f"“{name[:200]}” is no data set of the hub; hf:organisation/name was expected, with "
            "/configuration, @revision and ?key=value behind it if they are needed."
        )
    options = _options(name, found["said"] or "")
    classes = options.get(CLASSES, NUMBERS)
    if classes != NUMBERS:
        options[CLASSES] = str(_there(classes))
    return HubData(found["repo"], found["config"], found["revision"], options)


def own_data(name: str) -> OwnData:
    """Read the name of a file or folder, and make it absolute.

    Raises `DataError` for what cannot be a path, and if the file of classes is not there.
    """
    place, said, classes = name.rpartition(f"?{CLASSES}=")
    try:
        if said and not Path(name).expanduser().exists():
            return OwnData(Path(place).expanduser().resolve(), _there(classes))
        return OwnData(Path(name).expanduser().resolve())
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"“{name}” cannot be the path of data ({error}).") from None


def pinned_at(data: HubData, commit: str) -> HubData:
    """The same at one commit."""
    return replace(data, revision=commit)


def _options(name: str, said: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in said.split("&") if said else ():
        key, _, value = part.partition("=")
        if key not in KEYS:
            known = "; ".join(f"{each}: {what}" for each, what in KEYS.items())
            raise DataError(f"“{key[:100]}” in {name[:200]} is not known. Known are {known}.")
        if not value or key in options:
            problem = "given twice" if key in options else "empty"
            raise DataError(f"{key} in {name[:200]} is {problem}. It is {KEYS[key]}.")
        options[key] = unquote(value)
    if "split" in options and (roles := [role for role in _ROLES if role in options]):
        raise DataError(
            f"{name[:200]} names split, the only one to use, and {roles[0]} too. Leave one of them "
            "out."
        )
    if not re.fullmatch("[1-9][0-9]{0,8}", options.get("examples", "1")):
        raise DataError(
            f"examples is “{options['examples'][:50]}”; a whole number from 1 was expected, of the "
            "examples to read of each split."
        )
    if options.get("rows", ROWS[0]) not in ROWS:
        raise DataError(
            f"rows is “{options['rows'][:50]}”; it must be one of {', '.join(ROWS)}, which is what "
            "a row of the data holds."
        )
    return options


def _there(name: str) -> Path:
    """The absolute path of a file of classes. Raises `DataError` if it is not there."""
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise DataError(
            f"There is no file {path}, which was to say what the classes are. Give a classes.tsv "
            "or a classes.json."
        )
    return path


def _quoted(value: str) -> str:
    return value.replace("%", "%25").replace("&", "%26")

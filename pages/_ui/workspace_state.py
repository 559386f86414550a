"""What a workspace holds, as a frozen value that can be stored and checked when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn, get_args

from ffmerge_core.plan import Anchor, Method

Group = tuple[str, ...]
Groups = tuple[Group, ...]

FEATURES = ("output", "pre", "attention", "aligned")
METRICS = ("cka", "unbiased_cka")
METHODS = get_args(Method)
ANCHORS = get_args(Anchor)
HISTORY = 50
_FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """What a tab has chosen for similarity (tokens, seed, feature, metric) and merging."""

    tokens: int = 10_000
    seed: int = 0
    feature: str = "output"
    metric: str = "cka"
    method: str = "permute"
    anchor: str = "first"


@dataclass(frozen=True)
class State:
    """Everything a workspace holds, as one value.

    source: what `load` takes. groups: in layer order each. draft: names picked but not yet a
    group. editing: position of the group whose members the draft holds. past, future: earlier
    and undone groups, newest last. jobs: kinds of jobs that were started and not seen to end.
    run_id: the last opened run of the history.
    """

    source: str | None = None
    groups: Groups = ()
    draft: Group = ()
    editing: int | None = None
    settings: Settings = Settings()
    past: tuple[Groups, ...] = ()
    future: tuple[Groups, ...] = ()
    jobs: tuple[str, ...] = ()
    run_id: str | None = None

    def with_groups(self, groups: Groups) -> State:
        """The state after an edit that can be undone."""
        if groups == self.groups:
            return self
        past = (*self.past, self.groups)[-HISTORY:]
        return replace(self.without_edit(), groups=groups, past=past, future=())

    def without_edit(self) -> State:
        """The state after an edit in progress was given up, and its draft with it."""
        return self if self.editing is None else replace(self, editing=None, draft=())

    def to_json(self) -> str:
        return json.dumps({"format": _FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> State:
        """Inverse of `to_json`; ValueError, with the reason, for anything else."""
        data = json.loads(text)
        if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
            _refuse("no known format")
        fields = cls.__dataclass_fields__
        if set(data) != set(fields):
            _refuse("other fields than expected")
        return cls(
            source=_text_or_none(data["source"]),
            groups=_groups(data["groups"]),
            draft=_names(data["draft"]),
            editing=_position(data["editing"]),
            settings=_settings(data["settings"]),
            past=tuple(_groups(groups) for groups in _list(data["past"])),
            future=tuple(_groups(groups) for groups in _list(data["future"])),
            jobs=_names(data["jobs"]),
            run_id=_text_or_none(data["run_id"]),
        )


def _settings(data: Any) -> Settings:
    if not isinstance(data, Mapping):
        _refuse("no settings")
    known = asdict(Settings())
    choices = {"feature": FEATURES, "metric": METRICS, "method": METHODS, "anchor": ANCHORS}
    if set(data) != set(known) or any(type(data[key]) is not type(known[key]) for key in known):
        _refuse("other settings than expected")
    if any(data[key] not in allowed for key, allowed in choices.items()):
        _refuse("settings of another version")
    return Settings(**data)


def _groups(data: Any) -> Groups:
    return tuple(_names(group) for group in _list(data))


def _names(data: Any) -> Group:
    names = _list(data)
    if not all(isinstance(name, str) for name in names):
        _refuse("names that are not text")
    return tuple(names)


def _list(data: Any) -> list[Any]:
    if not isinstance(data, list):
        _refuse("no list where one is expected")
    return data


def _position(data: Any) -> int | None:
    if data is not None and (type(data) is not int or data < 0):
        _refuse("no position where one is expected")
    return data


def _text_or_none(data: Any) -> str | None:
    if data is not None and not isinstance(data, str):
        _refuse("no text where one is expected")
    return data


def _refuse(found: str) -> NoReturn:
    raise ValueError(f"the file has {found}")

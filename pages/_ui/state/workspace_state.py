"""What a workspace holds, as a frozen value that can be stored and checked when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NoReturn

from ffmerge_core.analysis.views import SIMILARITIES, VIEWS
from ffmerge_core.plan import (
    ANCHORS,
    BLEU_TOKENIZERS,
    QUANTIZATIONS,
    REPAIRS,
    merges,
    stack_of,
)
from pages._ui.state.subject import Opened

Group = tuple[str, ...]
Groups = tuple[Group, ...]

HISTORY = 50
KEPT = 20
_FORMAT = 2


@dataclass(frozen=True)
class Settings:
    """What a tab has chosen for similarity (tokens to stack) and merging.

    seed: of the calibration draw. plan_seed: of a merge that draws weights at random.
    repair: of a merge, or "" for none.
    stack: the one whose heatmap is shown; a model that has none of this name shows its first.
    quantize: a `Quantization`, or "" for weights as they are.
    """

    tokens: int = 10_000
    seed: int = 0
    feature: str = "output"
    metric: str = "cka"
    stack: str = ""
    method: str = "permute"
    anchor: str = "first"
    plan_seed: int = 0
    repair: str = ""
    quantize: str = ""


@dataclass(frozen=True)
class Picked:
    """What was picked on one model, by the names of its sublayers.

    groups: in layer order each. draft: names picked but not yet a group; a group takes those of
    one stack. editing: position of the group whose members the draft holds. past, future:
    earlier and undone groups, newest last. run_id: the last opened run of the history.
    """

    groups: Groups = ()
    draft: Group = ()
    editing: int | None = None
    past: tuple[Groups, ...] = ()
    future: tuple[Groups, ...] = ()
    run_id: str | None = None

    def with_groups(self, groups: Groups) -> Picked:
        """What is picked after an edit that can be undone."""
        if groups == self.groups:
            return self
        past = (*self.past, self.groups)[-HISTORY:]
        return replace(self.without_edit(), groups=groups, past=past, future=())

    def without_edit(self) -> Picked:
        """What is picked after an edit in progress was given up, and its draft with it."""
        if self.editing is None:
            return self
        return self.without_draft(stack_of(self.groups[self.editing][0]))

    def without_draft(self, stack: str) -> Picked:
        """What is picked without a stack's draft, and without the edit that it served."""
        draft = tuple(name for name in self.draft if stack_of(name) != stack)
        return replace(self, draft=draft, editing=None if self.edits(stack) else self.editing)

    def edits(self, stack: str) -> bool:
        """Whether a group of this stack is being edited."""
        return self.editing is not None and stack_of(self.groups[self.editing][0]) == stack

    @property
    def names(self) -> frozenset[str]:
        """Every sublayer that is named here."""
        groups = (self.groups, *self.past, *self.future)
        return frozenset(name for each in groups for group in each for name in group) | {
            *self.draft
        }


@dataclass(frozen=True)
class State:
    """Everything a workspace holds, as one value.

    picked: on the model that is open. jobs: kinds of jobs that were started and not seen to
    end. kept: what was picked on models that were open before, by source, newest last.
    """

    opened: Opened | None = None
    picked: Picked = Picked()
    settings: Settings = Settings()
    jobs: tuple[str, ...] = ()
    kept: tuple[tuple[str, Picked], ...] = ()

    def turned_to(self, opened: Opened) -> State:
        """The state with another model open, and what was picked on it before.

        Other data for the model that is open changes nothing that was picked.
        """
        if self.opened is None or self.opened.source == opened.source:
            return replace(self, opened=opened)
        kept = dict(self.kept)
        kept.pop(self.opened.source, None)
        kept[self.opened.source] = self.picked
        picked = kept.pop(opened.source, Picked())
        return replace(self, opened=opened, picked=picked, kept=tuple(kept.items())[-KEPT:])

    def to_json(self) -> str:
        return json.dumps({"format": _FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> State:
        """Inverse of `to_json`; ValueError, with the reason, for anything else."""
        data = json.loads(text)
        if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
            _refuse("no known format")
        _expect(data, cls)
        return cls(
            opened=None if data["opened"] is None else _opened(data["opened"]),
            picked=_picked(data["picked"]),
            settings=_settings(data["settings"]),
            jobs=_names(data["jobs"]),
            kept=tuple(_kept(entry) for entry in _list(data["kept"])),
        )


def _opened(data: Any) -> Opened:
    if isinstance(data, Mapping):
        # A file from before there was such a choice is as good.
        data = {"tokenize": None, "allow_bin": False, **data}
    _expect(data, Opened)
    flags = (data["fidelity"], data["allow_bin"])
    if not isinstance(data["source"], str) or not all(isinstance(each, bool) for each in flags):
        _refuse("no model where one is expected")
    if data["tokenize"] not in (None, *BLEU_TOKENIZERS):
        _refuse("a tokenizer of another version")
    return Opened(**{**data, "data": _text_or_none(data["data"])})


def _picked(data: Any) -> Picked:
    _expect(data, Picked)
    picked = Picked(
        groups=_groups(data["groups"]),
        draft=_names(data["draft"]),
        editing=_position(data["editing"]),
        past=tuple(_groups(groups) for groups in _list(data["past"])),
        future=tuple(_groups(groups) for groups in _list(data["future"])),
        run_id=_text_or_none(data["run_id"]),
    )
    if picked.editing is not None and picked.editing >= len(picked.groups):
        _refuse("an edit of a group that is not there")
    return picked


def _kept(data: Any) -> tuple[str, Picked]:
    entry = _list(data)
    if len(entry) != 2 or not isinstance(entry[0], str):
        _refuse("no model's name beside what was picked on it")
    return entry[0], _picked(entry[1])


def _expect(data: Any, cls: type) -> None:
    """Refuse anything but a mapping with exactly the fields of a dataclass."""
    if not isinstance(data, Mapping) or set(data) != {field.name for field in fields(cls)}:
        _refuse(f"no {cls.__name__} of this version")


def _settings(data: Any) -> Settings:
    known = asdict(Settings())
    if isinstance(data, Mapping):
        # A file from before there was a choice of int8, or more than one, or of the draw's seed,
        # is as good.
        older = {name: value for name, value in data.items() if name != "int8"}
        quantize = "int8" if data.get("int8") is True else ""
        data = {"quantize": quantize, "plan_seed": 0, "repair": "", **older}
    _expect(data, Settings)
    choices = {
        "feature": VIEWS,
        "metric": SIMILARITIES,
        "method": merges(),
        "anchor": ANCHORS,
        "quantize": ("", *QUANTIZATIONS),
        "repair": ("", *REPAIRS),
    }
    if any(type(data[key]) is not type(known[key]) for key in known):
        _refuse("other settings than expected")
    if any(data[key] not in allowed for key, allowed in choices.items()):
        _refuse("settings of another version")
    return Settings(**data)


def _groups(data: Any) -> Groups:
    groups = tuple(_names(group) for group in _list(data))
    if not all(groups):
        _refuse("a group of nothing")
    return groups


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

"""The state of one browser tab: what survives page switches, a refresh and a restart.

A workspace is found by an id that nobody can guess and that the tab's address carries, so
tabs do not see each other. Opening a copied address opens the same workspace.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ffmerge_core.plan import Mergeable, check_groups, in_layer_order, stack_of
from ffmerge_core.reporting.folders import write_atomically
from pages._ui.state.subject import Opened
from pages._ui.state.workspace_state import Group, Groups, Picked, Settings, State

log = logging.getLogger(__name__)

KEPT_IN_MEMORY = 500
KEPT_SECONDS = 30 * 24 * 3600.0
_ID = re.compile(r"[0-9a-f]{32}")


class Workspace:
    """One tab's state and the operations on it. Thread-safe; every change is saved.

    Operations that take `sublayers` raise `PlanError` before anything changes.
    """

    def __init__(self, id: str, state: State, path: Path | None) -> None:
        self.id = id
        self._state = state
        self._path = path
        self._lock = threading.RLock()

    @property
    def state(self) -> State:
        return self._state

    @property
    def opened(self) -> Opened | None:
        return self._state.opened

    @property
    def groups(self) -> Groups:
        return self._state.picked.groups

    @property
    def draft(self) -> Group:
        return self._state.picked.draft

    @property
    def editing(self) -> int | None:
        return self._state.picked.editing

    @property
    def settings(self) -> Settings:
        return self._state.settings

    @property
    def run_id(self) -> str | None:
        return self._state.picked.run_id

    @property
    def jobs(self) -> tuple[str, ...]:
        return self._state.jobs

    @property
    def can_undo(self) -> bool:
        return bool(self._state.picked.past)

    @property
    def can_redo(self) -> bool:
        return bool(self._state.picked.future)

    def draft_of(self, stack: str) -> Group:
        """What is picked of one stack and not yet a group."""
        return tuple(name for name in self.draft if stack_of(name) == stack)

    def editing_in(self, stack: str) -> int | None:
        """Position of the group of this stack that is being edited."""
        return self.editing if self._state.picked.edits(stack) else None

    def open(self, opened: Opened) -> None:
        """Turn to another model, or other data; what was picked on each model is kept."""
        with self._lock:
            self._become(self._state.turned_to(opened))

    def fit(self, sublayers: Sequence[Mergeable]) -> bool:
        """Forget what was picked if it names sublayers that the model has not; whether it did.

        A folder's weights may have been replaced by those of a smaller model.
        """
        with self._lock:
            fits = self._state.picked.names <= {sublayer.name for sublayer in sublayers}
            if not fits:
                self._pick(Picked())
            return not fits

    def set_groups(self, groups: Sequence[Sequence[str]], sublayers: Sequence[Mergeable]) -> None:
        check_groups(groups, sublayers)
        ordered = tuple(in_layer_order(group, sublayers) for group in groups)
        with self._lock:
            self._pick(self._state.picked.with_groups(ordered))

    def add_group(self, names: Sequence[str], sublayers: Sequence[Mergeable]) -> None:
        with self._lock:
            self.set_groups((*self.groups, tuple(names)), sublayers)

    def replace_group(
        self, index: int, names: Sequence[str], sublayers: Sequence[Mergeable]
    ) -> None:
        """Edit the group at `index`, counted from 0."""
        with self._lock:
            groups = [*self.groups]
            groups[index] = tuple(names)
            self.set_groups(groups, sublayers)

    def remove_group(self, index: int) -> None:
        """Remove the group at `index`, counted from 0."""
        with self._lock:
            groups = [*self.groups]
            del groups[index]
            self._pick(self._state.picked.with_groups(tuple(groups)))

    def clear(self) -> None:
        """Remove all groups; can be undone."""
        with self._lock:
            self._pick(self._state.picked.with_groups(()))

    def undo(self) -> None:
        """Go back one edit of the groups, if there is one."""
        with self._lock:
            if (picked := self._state.picked).past:
                *past, groups = picked.past
                future = (*picked.future, picked.groups)
                self._pick(
                    replace(picked.without_edit(), groups=groups, past=tuple(past), future=future)
                )

    def redo(self) -> None:
        """Take back the last undo, if nothing was edited since."""
        with self._lock:
            if (picked := self._state.picked).future:
                *future, groups = picked.future
                past = (*picked.past, picked.groups)
                self._pick(
                    replace(picked.without_edit(), groups=groups, past=past, future=tuple(future))
                )

    def set_draft(self, names: Sequence[str], stack: str) -> None:
        """Make `names`, all of one stack, that stack's draft."""
        with self._lock:
            others = [name for name in self.draft if stack_of(name) != stack]
            self._pick(replace(self._state.picked, draft=(*others, *names)))

    def edit(self, index: int) -> None:
        """Take the members of the group at `index`, counted from 0, into its stack's draft."""
        with self._lock:
            group = self.groups[index]
            picked = self._state.picked.without_edit().without_draft(stack_of(group[0]))
            self._pick(replace(picked, draft=(*picked.draft, *group), editing=index))

    def drop_draft(self, stack: str) -> None:
        """Empty a stack's draft and leave the group that was edited as it is."""
        with self._lock:
            self._pick(self._state.picked.without_draft(stack))

    def choose(self, **settings: Any) -> None:
        """Change some `Settings` by name."""
        with self._lock:
            chosen = replace(self.settings, **settings)
            self._become(replace(self._state, settings=chosen))

    def open_run(self, run_id: str | None) -> None:
        with self._lock:
            self._pick(replace(self._state.picked, run_id=run_id))

    def job_started(self, kind: str) -> None:
        """Remember that a job of this kind is under way, should the server stop."""
        with self._lock:
            if kind not in self.jobs:
                self._become(replace(self._state, jobs=(*self.jobs, kind)))

    def job_ended(self, kind: str) -> None:
        with self._lock:
            left = tuple(job for job in self._state.jobs if job != kind)
            self._become(replace(self._state, jobs=left))

    def _pick(self, picked: Picked) -> None:
        self._become(replace(self._state, picked=picked))

    def _become(self, state: State) -> None:
        if state == self._state:
            return
        self._state = state
        if self._path is not None:
            _write(self._path, state.to_json())


class WorkspaceStore:
    """The workspaces of one server, in memory and, where `folder` can be written, on disk.

    folder: None keeps them in memory only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._open: dict[str, Workspace] = {}
        self._lock = threading.Lock()
        if folder is not None:
            _forget_old(folder)

    def find(self, id: str | None) -> Workspace:
        """The workspace of this id; a new one, with a new id, if the id is not of our making."""
        if id is None or not _ID.fullmatch(id):
            id = secrets.token_hex(16)
        with self._lock:
            workspace = self._open.pop(id, None) or self._read(id)
            self._open[id] = workspace
            while len(self._open) > KEPT_IN_MEMORY:
                self._open.pop(next(iter(self._open)))
            return workspace

    def _read(self, id: str) -> Workspace:
        if self._folder is None:
            return Workspace(id, State(), None)
        path = self._folder / f"{id}.json"
        try:
            state = State.from_json(path.read_text(encoding="utf-8"))
            os.utime(path)
        except FileNotFoundError:
            state = State()
        except (OSError, ValueError) as error:
            log.warning("workspace %s cannot be read, a new one is started: %s", path, error)
            state = State()
        return Workspace(id, state, path)


def _write(path: Path, text: str) -> None:
    # A full or read-only disk must not stop the work: the workspace stays in memory.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        log.warning("workspace %s is not saved: %s", path, error)


def _forget_old(folder: Path) -> None:
    oldest = time.time() - KEPT_SECONDS
    try:
        for path in folder.iterdir():
            if path.suffix in (".json", ".tmp") and path.stat().st_mtime < oldest:
                path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("old workspaces in %s are not removed: %s", folder, error)

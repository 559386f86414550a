"""The history of runs, shared by many threads and processes.

A run is started before the work and finished after it: one that a crash leaves
"running" is known by its owner's process being gone.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from ffmerge_core.errors import DataError, StorageError
from ffmerge_core.reporting import run_table
from ffmerge_core.reporting.database import Database
from ffmerge_core.reporting.run import COLUMNS, Run, from_row, to_cell, to_row

# Inside `RunStore`, `list` is its method.
Runs: TypeAlias = list[Run]

LONGEST_NAME = 120
# Processes round each other's start time differently.
SAME_START_SECONDS = 2.0

SELECT = f"SELECT {', '.join(COLUMNS)} FROM runs"
INSERT = (
    f"INSERT OR IGNORE INTO runs ({', '.join(COLUMNS)}, owner, owner_started) "
    f"VALUES ({', '.join('?' * (len(COLUMNS) + 2))})"
)


class RunStore:
    """The run history of one folder, in `runs.sqlite3`.

    Every method raises `StorageError` if the file cannot be read or written, and then
    leaves it as it was.
    """

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / "runs.sqlite3")
        self._unread: str | None = None

    @property
    def path(self) -> Path:
        return self._database.path

    @property
    def notice(self) -> str | None:
        """A sentence to show the user about runs set aside or unreadable, else `None`."""
        return self._database.notice or self._unread

    def start(
        self, recipe: Mapping[str, Any], source: str, name: str, versions: Mapping[str, str]
    ) -> Run:
        """Record a run that begins now and belongs to this process."""
        run = Run(
            id=uuid.uuid4().hex, name=_checked(name), source=source, status="running",
            created=datetime.now(UTC), finished=None, recipe=recipe, result=None,
            versions=versions, seconds={}, peak_memory=None, error=None,
        )  # fmt: skip
        row = (*to_row(run), os.getpid(), psutil.Process().create_time())

        def work(connection: sqlite3.Connection) -> Run:
            connection.execute(INSERT, row)
            return _fetch(connection, run.id)

        return self._database.write(work)

    def finish(
        self,
        id: str,
        result: Mapping[str, Any],
        seconds: Mapping[str, float],
        peak_memory: int | None,
        recipe: Mapping[str, Any] | None = None,
    ) -> Run:
        """Record that a run ended well.

        recipe: as it was carried out, where that differs from what was asked.
        """
        carried_out = {} if recipe is None else {"recipe": recipe}
        return self._end(
            id, status="done", result=result, seconds=seconds, peak_memory=peak_memory, error=None,
            **carried_out,
        )  # fmt: skip

    def fail(self, id: str, error: str) -> Run:
        """Record that a run ended with an error, told in a sentence."""
        return self._end(id, status="failed", error=error)

    def cancel(self, id: str) -> Run:
        """Record that someone stopped the run."""
        return self._end(id, status="cancelled")

    def update_result(self, id: str, patch: Mapping[str, Any]) -> Run:
        """Merge later figures, such as a test evaluation, into the result.

        Nested mappings are merged key by key; any other value replaces the old one.
        """
        return self._database.write(
            lambda connection: _update(
                connection, id, result=_merged(_fetch(connection, id).result or {}, patch)
            )
        )

    def rename(self, id: str, name: str) -> Run:
        """Raises `DataError` for a name that is empty or over 120 characters."""
        checked = _checked(name)
        return self._database.write(lambda connection: _update(connection, id, name=checked))

    def delete(self, ids: Iterable[str]) -> Runs:
        """Delete runs and return them, for `restore`. Unknown ids are passed over.

        Raises `DataError`, and deletes nothing, if one of them is still at work.
        """
        wanted = tuple(ids)
        where = f"WHERE id IN ({', '.join('?' * len(wanted))})"

        def work(connection: sqlite3.Connection) -> Runs:
            _mark_interrupted(connection)
            runs = [from_row(row) for row in connection.execute(f"{SELECT} {where}", wanted)]
            for run in runs:
                if run.status == "running":
                    raise DataError(f"“{run.name}” is still running. Cancel it, then delete it.")
            connection.execute(f"DELETE FROM runs {where}", wanted)
            return runs

        return self._database.write(work)

    def restore(self, runs: Iterable[Run]) -> None:
        """Put deleted runs back as they were; a run that is there is left alone."""
        rows = [(*to_row(run), None, None) for run in runs]
        self._database.write(lambda connection: connection.executemany(INSERT, rows))

    def list(self, source: str | None = None) -> Runs:
        """The runs of one source, or all, newest first.

        A row that cannot be understood is passed over and told in `notice`.
        """
        where, values = ("WHERE source = ?", (source,)) if source is not None else ("", ())
        query = f"{SELECT} {where} ORDER BY created DESC, rowid DESC"
        rows = self._database.read(lambda connection: connection.execute(query, values).fetchall())
        runs = []
        for row in rows:
            try:
                runs.append(from_row(row))
            except ValueError:
                self._unread = f"Some runs in {self.path} are damaged and are not shown."
        return runs

    def sources(self) -> tuple[str, ...]:
        """What runs were made of, each once, the latest first."""
        query = "SELECT source FROM runs GROUP BY source ORDER BY MAX(created) DESC"
        return self._database.read(
            lambda connection: tuple(str(row[0]) for row in connection.execute(query))
        )

    def get(self, id: str) -> Run:
        """Raises `DataError` if there is no such run."""
        return self._database.read(lambda connection: _fetch(connection, id))

    def mark_interrupted(self) -> int:
        """Mark the runs whose process is gone, when a server starts; returns how many."""
        return self._database.write(_mark_interrupted)

    to_frame = staticmethod(run_table.to_frame)
    to_csv = staticmethod(run_table.to_csv)
    to_json = staticmethod(run_table.to_json)

    def _end(self, id: str, **values: object) -> Run:
        finished = datetime.now(UTC)
        return self._database.write(
            lambda connection: _update(connection, id, finished=finished, **values)
        )


def _fetch(connection: sqlite3.Connection, id: str) -> Run:
    row = connection.execute(f"{SELECT} WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise DataError(f"There is no run {id} in the history; it may have been deleted.")
    try:
        return from_row(row)
    except ValueError as error:
        raise StorageError(f"Run {id} is damaged in the history ({error}). Delete it.") from error


def _update(connection: sqlite3.Connection, id: str, **values: object) -> Run:
    assignments = ", ".join(f"{column} = ?" for column in values)
    cells = [to_cell(value) for value in values.values()]
    connection.execute(f"UPDATE runs SET {assignments} WHERE id = ?", (*cells, id))
    return _fetch(connection, id)


def _mark_interrupted(connection: sqlite3.Connection) -> int:
    running = connection.execute(
        "SELECT id, owner, owner_started FROM runs WHERE status = 'running'"
    ).fetchall()
    gone = [id for id, owner, started in running if not _alive(owner, started)]
    for id in gone:
        _update(connection, id, status="interrupted", finished=datetime.now(UTC))
    return len(gone)


def _alive(owner: int | None, started: float | None) -> bool:
    """Whether the process still runs; another one may have its number by now."""
    if owner is None or started is None:
        return False
    try:
        process = psutil.Process(owner)
        return (
            abs(process.create_time() - started) < SAME_START_SECONDS
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        # Another user's process of that number: it cannot be told, so nothing is taken away.
        return True


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(old[key], new[key])
        for key in old.keys() & new.keys()
        if isinstance(old[key], Mapping) and isinstance(new[key], Mapping)
    }
    return {**old, **new, **both}


def _checked(name: str) -> str:
    tidy = " ".join(name.split())
    if not tidy:
        raise DataError("The name is empty. Give the run a name of 1 to 120 characters.")
    if len(tidy) > LONGEST_NAME:
        raise DataError(
            f"The name has {len(tidy)} characters; at most {LONGEST_NAME} fit. Shorten it."
        )
    return tidy

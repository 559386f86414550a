"""The SQLite file under the run history: opened, made, checked, set aside when damaged."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from ffmerge_core.errors import StorageError
from ffmerge_core.reporting.folders import reason

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

SCHEMA = 1
CREATE = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, source TEXT NOT NULL, status TEXT NOT NULL,
    created TEXT NOT NULL, finished TEXT, recipe TEXT NOT NULL, result TEXT,
    versions TEXT NOT NULL, seconds TEXT NOT NULL, peak_memory INTEGER, error TEXT,
    owner INTEGER, owner_started REAL
)
"""
BUSY_SECONDS = 10.0
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
# Of two threads that find one file damaged, one sets it aside.
_SETTING_ASIDE = threading.Lock()
UNWRITABLE = (*FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class Damaged(sqlite3.DatabaseError):
    """SQLite's own check found the file inconsistent."""


class Database:
    """One file; each operation opens its own connection, so threads share nothing.

    notice: a sentence to show the user once something was set aside, else `None`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notice: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"The data folder {path.parent} cannot be made ({reason(error)}). Set "
                "FFMERGE_HOME to a folder that can be written."
            ) from error
        self.read(_check)

    def read(self, work: Work[T]) -> T:
        """What `work` returns, even where the file can be read but not written."""

        def attempt() -> T:
            try:
                return self._with_connection(work)
            except sqlite3.Error as error:
                if _code(error) not in UNWRITABLE or not self.path.is_file():
                    raise
                with closing(self._connect_unwritable()) as connection:
                    return work(connection)

        return self._on_sound_file(attempt)

    def write(self, work: Work[T]) -> T:
        """Do `work` in one transaction: all of it or, on any error, none."""

        def transaction(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                return work(connection)

        return self._on_sound_file(lambda: self._with_connection(transaction))

    def _with_connection(self, work: Work[T]) -> T:
        with closing(self._connect()) as connection:
            return work(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            if self._version(connection) == 0:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                with connection:
                    connection.execute(CREATE)
                    connection.execute(f"PRAGMA user_version = {SCHEMA}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_unwritable(self) -> sqlite3.Connection:
        # SQLite wants to make files beside a WAL database even to read it; "immutable"
        # tells it that here it cannot.
        location = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(location, uri=True, isolation_level=None)
        self._version(connection)
        return connection

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA:
            raise StorageError(
                f"{self.path} was written by a newer version of this program (its format is "
                f"{version}, this version reads {SCHEMA}). Update this program, or set "
                "FFMERGE_HOME to another folder."
            )
        return version

    def _on_sound_file(self, attempt: Callable[[], T]) -> T:
        """`attempt`, once more on a new file if the present one is damaged."""
        try:
            try:
                return attempt()
            except sqlite3.Error as error:
                if not _damaged(error):
                    raise
                with _SETTING_ASIDE:
                    return self._again_or_aside(attempt)
        except sqlite3.Error as error:
            raise StorageError(self._sentence(error)) from error

    def _again_or_aside(self, attempt: Callable[[], T]) -> T:
        # Another thread may have set the damaged file aside meanwhile.
        try:
            return attempt()
        except sqlite3.Error as error:
            if not _damaged(error):
                raise
            self._set_aside()
            return attempt()

    def _set_aside(self) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        kept = self.path.with_name(f"{self.path.stem}.damaged-{stamp}{self.path.suffix}")
        try:
            # The companions go first: beside a new database an old log must not lie.
            for suffix in ("-wal", "-shm", ""):
                file = self.path.with_name(self.path.name + suffix)
                if file.exists():
                    file.rename(kept.with_name(kept.name + suffix))
        except OSError as error:
            raise StorageError(
                f"The run history {self.path} is damaged and cannot be set aside "
                f"({reason(error)}). Move it away, or set FFMERGE_HOME to another folder."
            ) from error
        self.notice = (
            f"The run history was damaged and could not be read. It was set aside as {kept}; "
            "a new, empty history was started."
        )

    def _sentence(self, error: sqlite3.Error) -> str:
        code = _code(error)
        if code == sqlite3.SQLITE_BUSY:
            return (
                f"Another program has kept the run history {self.path} locked for more than "
                f"{BUSY_SECONDS:.0f} seconds. Try again, or close that program."
            )
        if code in FULL:
            return (
                f"The run history {self.path} cannot be written ({error}). Free some disk space, "
                "or set FFMERGE_HOME to a folder with room."
            )
        return (
            f"The run history {self.path} cannot be used ({error}). Make its folder writable, "
            "or set FFMERGE_HOME to another one."
        )


def _check(connection: sqlite3.Connection) -> None:
    finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if finding != "ok":
        raise Damaged(finding)


def _damaged(error: sqlite3.Error) -> bool:
    return isinstance(error, Damaged) or _code(error) in DAMAGED


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for errors of Python's own making."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF

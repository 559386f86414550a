"""Long steps as jobs: one worker, a queue, progress and a cancel that the work hears.

Knows nothing of Streamlit, so a job outlives page switches and browser refreshes: pages
read snapshots (`Job`) and the worker writes none of them.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import uuid
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ffmerge_core.errors import Cancelled, FFMergeError, Interrupted
from ffmerge_core.progress import Report

log = logging.getLogger(__name__)

Status = Literal["waiting", "running", "done", "failed", "cancelled"]

KEPT_PER_KIND = 2
KEPT_IN_ALL = 100
SECONDS_TO_STOP = 2.0


@dataclass(frozen=True)
class Job:
    """What is known of one job at one moment.

    owner: the workspace it belongs to. kind: "merge", …; an owner has one of a kind at a time.
    key: what exactly it works on, for the page that asks whether this is its job.
    step, total, message, values: as last reported (see `ffmerge_core.progress.Report`).
    started, finished: seconds of `time.monotonic`, None before.
    result: what the work returned, once done. error: a sentence, once failed.
    ahead: jobs that run before it. stopping: a cancel was asked for and not yet heard.
    """

    id: str
    owner: str
    kind: str
    title: str
    key: Hashable = None
    status: Status = "waiting"
    step: int = 0
    total: int = 0
    message: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    started: float | None = None
    finished: float | None = None
    result: Any = None
    error: str | None = None
    ahead: int = 0
    stopping: bool = False

    @property
    def active(self) -> bool:
        """Whether it still waits or runs."""
        return self.status in ("waiting", "running")

    @property
    def seconds(self) -> float:
        """How long it has run, or ran; 0 while it waits."""
        if self.started is None:
            return 0.0
        return (time.monotonic() if self.finished is None else self.finished) - self.started

    @property
    def fraction(self) -> float:
        """Done so far, 0 to 1."""
        return min(self.step / self.total, 1.0) if self.total > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the pace so far; None before there is a pace."""
        if self.status != "running" or self.fraction in (0.0, 1.0):
            return None
        return self.seconds * (1.0 - self.fraction) / self.fraction


Work = Callable[[Report], Any]
OnEnd = Callable[[Job], None]


@dataclass
class _Entry:
    """A job's place in the registry. `job` is replaced, never changed; guarded by the lock."""

    job: Job
    work: Work | None
    on_end: OnEnd | None
    cancel: threading.Event = field(default_factory=threading.Event)


class JobRegistry:
    """Every job of one server, run one after the other on one thread. Thread-safe."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._changed = threading.Condition()
        self._closed = False
        # A daemon, because an executor's threads would hold the server open until its job ends.
        self._worker = threading.Thread(target=self._serve, name="jobs", daemon=True)
        self._worker.start()
        atexit.register(self.close)

    def submit(
        self,
        owner: str,
        kind: str,
        title: str,
        work: Work,
        on_end: OnEnd | None = None,
        key: Hashable = None,
    ) -> Job:
        """Queue `work`, or return the owner's job of this kind and key that is not over yet.

        A job of the same kind and another key is cancelled: nobody waits for it any more.

        work: called on the worker's thread with a `Report` that raises `Cancelled` once a
            cancel was asked for.
        on_end: called on the worker's thread with the finished job, just before pages can see
            that it ended; what it raises fails the job. A job cancelled while it waits never
            calls it.
        """
        with self._changed:
            mine = [
                entry
                for entry in self._entries.values()
                if entry.job.active and (entry.job.owner, entry.job.kind) == (owner, kind)
            ]
            for entry in mine:
                if entry.job.key == key and not entry.cancel.is_set():
                    return self._snapshot(entry)
                self.cancel(entry.job.id)
            job = Job(id=uuid.uuid4().hex, owner=owner, kind=kind, title=title, key=key)
            self._entries[job.id] = entry = _Entry(job, work, on_end)
            self._changed.notify_all()
            return self._snapshot(entry)

    def get(self, job_id: str) -> Job | None:
        """The job as it is now; None if it was never here or is forgotten."""
        with self._changed:
            entry = self._entries.get(job_id)
            return None if entry is None else self._snapshot(entry)

    def latest(self, owner: str, kind: str) -> Job | None:
        """The owner's newest job of a kind, whatever its status."""
        with self._changed:
            for entry in reversed(self._entries.values()):
                if (entry.job.owner, entry.job.kind) == (owner, kind):
                    return self._snapshot(entry)
            return None

    def active(self, owner: str) -> tuple[Job, ...]:
        """The owner's jobs that wait or run, oldest first."""
        with self._changed:
            return tuple(
                self._snapshot(entry)
                for entry in self._entries.values()
                if entry.job.owner == owner and entry.job.active
            )

    def cancel(self, job_id: str) -> None:
        """End a waiting job now and a running one at its next report."""
        with self._changed:
            entry = self._entries.get(job_id)
            if entry is None or not entry.job.active:
                return
            entry.cancel.set()
            if entry.job.status == "waiting":
                self._close_entry(entry, replace(entry.job, status="cancelled"))
            else:
                entry.job = replace(entry.job, stopping=True)

    def wait(self, job_id: str, timeout: float) -> Job | None:
        """Block until the job is over or `timeout` seconds passed; for scripts and tests."""
        with self._changed:
            self._changed.wait_for(
                lambda: job_id not in self._entries or not self._entries[job_id].job.active,
                timeout,
            )
        return self.get(job_id)

    def close(self) -> None:
        """Stop at the next report; gives up waiting after `SECONDS_TO_STOP`."""
        with self._changed:
            self._closed = True
            for entry in self._entries.values():
                entry.cancel.set()
            self._changed.notify_all()
        self._worker.join(SECONDS_TO_STOP)
        atexit.unregister(self.close)

    def _snapshot(self, entry: _Entry) -> Job:
        ahead = 0
        if entry.job.status == "waiting":
            for other in self._entries.values():
                if other is entry:
                    break
                ahead += other.job.active
        return replace(entry.job, ahead=ahead)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next() is not None)
                entry = self._next()
                if self._closed or entry is None:
                    return
                entry.job = replace(entry.job, status="running", started=time.monotonic())
            self._run(entry)

    def _next(self) -> _Entry | None:
        waiting = (e for e in self._entries.values() if e.job.status == "waiting")
        return next(waiting, None)

    def _run(self, entry: _Entry) -> None:
        def report(
            step: int, total: int, message: str, values: Mapping[str, float] | None = None
        ) -> None:
            if self._closed:
                raise Interrupted("The server is stopping.")
            if entry.cancel.is_set():
                raise Cancelled("Cancelled: nothing was changed.")
            with self._changed:
                entry.job = replace(
                    entry.job, step=step, total=total, message=message, values=dict(values or {})
                )

        assert entry.work is not None
        # BaseException: a worker that dies would leave every later job waiting for ever.
        try:
            result = entry.work(report)
        except Cancelled:
            self._end(entry, status="cancelled")
        except BaseException as error:
            self._end(entry, status="failed", error=_sentence(entry.job, error))
        else:
            self._end(entry, status="done", result=result)

    def _end(self, entry: _Entry, **outcome: Any) -> None:
        ended = replace(entry.job, finished=time.monotonic(), stopping=False, **outcome)
        if entry.on_end is not None:
            try:
                entry.on_end(ended)
            except BaseException as error:
                sentence = _sentence(ended, error)
                ended = replace(ended, status="failed", error=sentence, result=None)
        with self._changed:
            self._close_entry(entry, ended)

    def _close_entry(self, entry: _Entry, ended: Job) -> None:
        # The closures hold models and data; a job that is over needs neither.
        entry.job, entry.work, entry.on_end = ended, None, None
        self._prune()
        self._changed.notify_all()

    def _prune(self) -> None:
        seen: dict[tuple[str, str], int] = {}
        over = [e.job for e in reversed(self._entries.values()) if not e.job.active]
        for position, job in enumerate(over):
            rank = seen[job.owner, job.kind] = seen.get((job.owner, job.kind), 0) + 1
            if rank > KEPT_PER_KIND or position >= KEPT_IN_ALL:
                del self._entries[job.id]


def _sentence(job: Job, error: BaseException) -> str:
    if isinstance(error, FFMergeError):
        return str(error)
    log.error("job %s (%s) failed", job.kind, job.title, exc_info=error)
    text = " ".join(str(error).split()) or "no message"
    return (
        f"{job.title} stopped on an unexpected {type(error).__name__}: {text}. "
        "The details are in the server's log."
    )

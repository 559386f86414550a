"""Jobs: order, progress, cancelling, errors, bounds, threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from ffmerge_core.errors import PlanError
from ffmerge_core.progress import Report
from pages._ui.state import jobs
from pages._ui.state.jobs import Job, JobRegistry

SOON = 10.0


@pytest.fixture
def registry() -> Iterator[JobRegistry]:
    registry = JobRegistry()
    yield registry
    registry.close()


class Steps:
    """Work that reports one step each time the test lets it, and says when it has."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.reported: list[int] = []
        self._go = threading.Semaphore(0)
        self._done = threading.Semaphore(0)

    def __call__(self, report: Report) -> str:
        for step in range(1, self.total + 1):
            assert self._go.acquire(timeout=SOON)
            report(step, self.total, f"batch {step}", {"loss": 1.0 / step})
            self.reported.append(step)
            self._done.release()
        return "merged"

    def advance(self, steps: int = 1) -> None:
        for _ in range(steps):
            self._go.release()
            assert self._done.acquire(timeout=SOON)

    def let_go(self) -> None:
        """Allow all steps, without waiting for them."""
        self._go.release(self.total)


def quick(result: object = None) -> Callable[[Report], object]:
    return lambda report: result


def ended(registry: JobRegistry, job: Job) -> Job:
    after = registry.wait(job.id, SOON)
    assert after is not None
    assert not after.active
    return after


def test_progress_is_seen_while_the_work_runs(registry: JobRegistry) -> None:
    work = Steps(4)
    job = registry.submit("tab", "merge", "Merge", work)
    work.advance()
    running = registry.get(job.id)
    assert running is not None
    assert (running.status, running.step, running.total) == ("running", 1, 4)
    assert (running.message, running.values, running.fraction) == ("batch 1", {"loss": 1.0}, 0.25)
    assert running.seconds_left == pytest.approx(3 * running.seconds, abs=0.05)
    work.let_go()
    done = ended(registry, job)
    assert (done.status, done.result, done.error) == ("done", "merged", None)
    assert done.seconds_left is None
    assert done.seconds == done.seconds > 0


def test_cancel_is_heard_at_the_next_report(registry: JobRegistry) -> None:
    work = Steps(100)
    job = registry.submit("tab", "merge", "Merge", work)
    work.advance(3)
    registry.cancel(job.id)
    stopping = registry.get(job.id)
    assert stopping is not None
    assert stopping.stopping
    work.let_go()
    after = ended(registry, job)
    assert (after.status, after.result, after.error) == ("cancelled", None, None)
    assert not after.stopping
    assert work.reported == [1, 2, 3]


def test_a_waiting_job_is_cancelled_at_once_and_never_runs(registry: JobRegistry) -> None:
    first, ran = Steps(1), []
    running = registry.submit("a", "merge", "Merge", first)
    waiting = registry.submit("b", "merge", "Merge", lambda report: ran.append("b"))
    last = registry.submit("c", "merge", "Merge", quick())
    assert [job.ahead for job in (running, waiting, last)] == [0, 1, 2]
    registry.cancel(waiting.id)
    cancelled = registry.get(waiting.id)
    moved_up = registry.get(last.id)
    assert cancelled is not None
    assert moved_up is not None
    assert (cancelled.status, cancelled.seconds, moved_up.ahead) == ("cancelled", 0.0, 1)
    first.let_go()
    assert ended(registry, last).status == "done"
    assert ran == []


def test_cancelling_a_finished_or_unknown_job_changes_nothing(registry: JobRegistry) -> None:
    job = ended(registry, registry.submit("tab", "merge", "Merge", quick(1)))
    registry.cancel(job.id)
    registry.cancel("unknown")
    assert registry.get(job.id) == job


def test_jobs_run_in_order_one_at_a_time_off_the_callers_thread(registry: JobRegistry) -> None:
    order: list[int] = []
    inside, threads = [], set()

    def work(number: int) -> Callable[[Report], None]:
        def run(report: Report) -> None:
            inside.append(number)
            assert inside == [number]
            threads.add(threading.get_ident())
            order.append(number)
            inside.remove(number)

        return run

    made = [registry.submit(f"tab{n}", "merge", "Merge", work(n)) for n in range(20)]
    assert all(ended(registry, job).status == "done" for job in made)
    assert order == list(range(20))
    assert len(threads - {threading.get_ident()}) == 1


def test_an_owner_has_one_job_of_a_kind_at_a_time(registry: JobRegistry) -> None:
    work = Steps(1)
    job = registry.submit("a", "merge", "Merge", work)
    assert registry.submit("a", "merge", "Again", quick()).id == job.id
    other_kind = registry.submit("a", "similarity", "Similarity", quick())
    other_owner = registry.submit("b", "merge", "Merge", quick())
    assert len({job.id, other_kind.id, other_owner.id}) == 3
    assert [j.id for j in registry.active("a")] == [job.id, other_kind.id]
    work.let_go()
    ended(registry, other_owner)
    assert registry.active("a") == ()
    again = registry.submit("a", "merge", "Merge", quick(2))
    assert again.id != job.id
    assert ended(registry, again).result == 2
    latest = registry.latest("a", "merge")
    assert latest is not None
    assert latest.id == again.id
    assert registry.latest("a", "unknown") is None


def test_an_error_of_ours_is_its_own_sentence(registry: JobRegistry) -> None:
    def work(report: Report) -> None:
        raise PlanError("Group 1 has 1 sublayer. A group needs at least two to merge.")

    job = ended(registry, registry.submit("tab", "merge", "Merge", work))
    assert job.status == "failed"
    assert job.error == "Group 1 has 1 sublayer. A group needs at least two to merge."


@pytest.mark.parametrize("error", [ZeroDivisionError("division by\n zero"), SystemExit(3)])
def test_an_unexpected_error_is_a_sentence_a_log_entry_and_not_the_end(
    registry: JobRegistry, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def work(report: Report) -> None:
        raise error

    with caplog.at_level(logging.ERROR):
        job = ended(registry, registry.submit("tab", "merge", "Merging", work))
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.startswith(f"Merging stopped on an unexpected {type(error).__name__}: ")
    assert "\n" not in job.error
    assert "Traceback" in caplog.text
    assert ended(registry, registry.submit("tab", "merge", "Merging", quick(1))).result == 1


def test_on_end_is_over_before_the_end_is_seen(registry: JobRegistry) -> None:
    seen: list[tuple[object, bool]] = []

    def on_end(job: Job) -> None:
        visible = registry.get(job.id)
        assert visible is not None
        seen.append((job.result, visible.active))

    ended(registry, registry.submit("tab", "merge", "Merge", quick("m"), on_end))
    assert seen == [("m", True)]


def test_what_on_end_raises_fails_the_job(registry: JobRegistry) -> None:
    def on_end(job: Job) -> None:
        raise PlanError("The run could not be stored.")

    job = ended(registry, registry.submit("tab", "merge", "Merge", quick("m"), on_end))
    assert (job.status, job.error, job.result) == (
        "failed", "The run could not be stored.", None,
    )  # fmt: skip


def test_old_finished_jobs_are_forgotten(registry: JobRegistry) -> None:
    many = jobs.KEPT_PER_KIND + 3
    made = [ended(registry, registry.submit("a", "merge", "M", quick(n))) for n in range(many)]
    kept = [job.result for job in made if registry.get(job.id) is not None]
    assert kept == list(range(many))[-jobs.KEPT_PER_KIND :]


def test_memory_is_bounded_over_all_owners(
    registry: JobRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "KEPT_IN_ALL", 5)
    made = [ended(registry, registry.submit(f"t{n}", "merge", "M", quick(n))) for n in range(9)]
    assert [job.result for job in made if registry.get(job.id)] == [4, 5, 6, 7, 8]


def test_many_threads_may_submit_and_read_at_once(registry: JobRegistry) -> None:
    ran: list[str] = []
    problems: list[BaseException] = []

    def tab(owner: str) -> None:
        try:
            for _ in range(15):
                job = registry.submit(owner, "merge", "M", lambda report: ran.append(owner))
                assert registry.latest(owner, "merge") is not None
                assert ended(registry, job).status == "done"
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=tab, args=(f"tab{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert problems == []
    assert {owner: ran.count(owner) for owner in set(ran)} == {f"tab{n}": 15 for n in range(8)}


def test_closing_stops_the_running_job() -> None:
    registry = JobRegistry()
    work = Steps(100)
    job = registry.submit("tab", "merge", "Merge", work)
    work.advance()
    threading.Timer(0.2, work.let_go).start()
    registry.close()
    after = registry.wait(job.id, SOON)
    assert after is not None
    assert after.status == "cancelled"
    assert work.reported == [1], "stopped at its next report"
    assert not registry._worker.is_alive()

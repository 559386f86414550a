"""What a run history goes through: killed processes, damage, full and read-only disks."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ffmerge_core.errors import StorageError
from ffmerge_core.reporting.runs import RunStore

ROOT = Path(__file__).parents[2]
IMPORT = "from ffmerge_core.reporting.runs import RunStore"


def begin(*lines: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(("from pathlib import Path", IMPORT, *lines))],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def filled(folder: Path, n: int = 3) -> RunStore:
    store = RunStore(folder)
    for number in range(n):
        run = store.start({"pad": "x" * 5_000}, "demo", f"run {number}", {})
        store.finish(run.id, {"n": number}, {}, None)
    return store


def names(store: RunStore) -> list[str]:
    return [run.name for run in store.list()]


def test_processes_that_make_and_fill_one_file_at_once_lose_nothing(tmp_path):
    work = (
        f"store = RunStore(Path({str(tmp_path)!r}))",
        "for i in range(10): store.cancel(store.start({}, 'demo', 'n', {}).id)",
    )
    processes = [begin(*work) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    for process in processes:
        process.stdout.close()
    assert [run.status for run in RunStore(tmp_path).list()] == ["cancelled"] * 40


def test_a_killed_process_leaves_an_interrupted_run_and_the_rest_intact(tmp_path):
    filled(tmp_path)
    process = begin(
        f"store = RunStore(Path({str(tmp_path)!r}))",
        "store.start({}, 'demo', 'killed', {})",
        "def hang(connection):",
        "    connection.execute('DELETE FROM runs')",
        "    print('in a transaction', flush=True)",
        "    import time; time.sleep(60)",
        "store._database.write(hang)",
    )
    assert process.stdout.readline() == "in a transaction\n"
    os.kill(process.pid, signal.SIGKILL)
    # Not waited for yet: a zombie is gone too.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    later = RunStore(tmp_path)
    assert later.mark_interrupted() == 1
    process.wait()
    process.stdout.close()
    assert later.mark_interrupted() == 0
    assert names(later) == ["killed", "run 2", "run 1", "run 0"]
    assert later.list()[0].status == "interrupted"
    assert later.notice is None


def test_a_reused_process_number_does_not_keep_a_run_alive(tmp_path):
    store = RunStore(tmp_path)
    run = store.start({}, "demo", "old", {})
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE runs SET owner_started = owner_started - 1000")
    connection.close()
    assert store.mark_interrupted() == 1
    assert store.get(run.id).status == "interrupted"


def damage_header(data: bytes) -> bytes:
    return b"garbage!" * (len(data) // 8)


def damage_by_truncation(data: bytes) -> bytes:
    return data[: len(data) // 2]


def damage_in_the_middle(data: bytes) -> bytes:
    return data[:4096] + b"\xff" * 4096 + data[8192:]


@pytest.mark.parametrize(
    "damage", [damage_header, damage_by_truncation, damage_in_the_middle], ids=lambda f: f.__name__
)
def test_a_damaged_file_is_set_aside_and_a_new_one_started(tmp_path, damage):
    path = filled(tmp_path).path
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    store = RunStore(tmp_path)
    (kept,) = tmp_path.glob("runs.damaged-*.sqlite3")
    assert kept.read_bytes() == damaged
    assert str(kept) in store.notice
    assert names(store) == []
    store.start({}, "demo", "new", {})
    assert names(RunStore(tmp_path)) == ["new"]
    assert RunStore(tmp_path).notice is None


def test_damage_while_the_store_is_open_is_set_aside_too(tmp_path):
    store = filled(tmp_path)
    store.path.write_bytes(b"garbage!" * 1000)
    assert names(store) == []
    assert "damaged" in store.notice
    store.start({}, "demo", "new", {})
    assert names(store) == ["new"]


def test_a_file_deleted_while_the_store_is_open_is_made_again(tmp_path):
    store = filled(tmp_path)
    store.path.unlink()
    store.start({}, "demo", "new", {})
    assert names(store) == ["new"]


def test_one_unreadable_row_hides_itself_only(tmp_path):
    store = filled(tmp_path)
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE runs SET result = '{\"n\":' WHERE name = 'run 1'")
    connection.close()
    assert store.notice is None
    assert names(store) == ["run 2", "run 0"]
    assert "not shown" in store.notice


def test_a_newer_file_is_refused_and_untouched(tmp_path):
    path = filled(tmp_path).path
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="newer version"):
        RunStore(tmp_path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_read_only_folder_is_read_and_refuses_writing(open_folder, as_reader):
    filled(open_folder)
    done = as_reader(
        IMPORT,
        f"store = RunStore(Path({str(open_folder)!r}))",
        "print([run.name for run in store.list()], store.notice)",
        "store.start({}, 'demo', 'new', {})",
    )
    assert done.stdout == "['run 2', 'run 1', 'run 0'] None\n"
    assert "StorageError: The run history" in done.stderr
    assert "FFMERGE_HOME" in done.stderr
    assert len(names(RunStore(open_folder))) == 3


def test_a_read_only_empty_folder_is_a_sentence(open_folder, as_reader):
    done = as_reader(IMPORT, f"RunStore(Path({str(open_folder)!r}))")
    assert "StorageError: The run history" in done.stderr
    assert "FFMERGE_HOME" in done.stderr


def test_a_full_disk_is_a_sentence_and_leaves_the_history_as_it_was(tmp_path, full_disk):
    filled(tmp_path, n=5)
    done = full_disk(
        IMPORT,
        f"store = RunStore(Path({str(tmp_path)!r}))",
        "print(len(store.list()))",
        "store.start({'pad': 'x' * 100_000}, 'demo', 'too much', {})",
    )
    assert done.stdout == "5\n"
    assert "StorageError: The run history" in done.stderr
    assert "Free some disk space" in done.stderr
    store = RunStore(tmp_path)
    assert store.notice is None
    assert len(names(store)) == 5

import threading
from datetime import UTC, datetime

import numpy as np
import pytest

from ffmerge_core.errors import DataError, StorageError
from ffmerge_core.plan import MergePlan, Recipe
from ffmerge_core.reporting.runs import RunStore

SOURCE = "demo:vit-digits"
RECIPE = Recipe(SOURCE, MergePlan((("encoder.3", "encoder.4"),)), seed=7).to_dict()
VERSIONS = {"torch": "2.14.1"}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def start(store, name="a run", source=SOURCE):
    return store.start(RECIPE, source, name, VERSIONS)


def test_a_run_is_kept_whole_and_read_by_another_store(store, tmp_path):
    before = datetime.now(UTC)
    run = start(store)
    assert (run.status, run.result, run.finished) == ("running", None, None)
    result = {"merged": {"n_parameters": 10, "validation": {"interval": [0.1, 0.2]}}}
    store.finish(run.id, result, {"merge": 0.5, "evaluate": 1.5}, 1_000)
    again = RunStore(tmp_path).get(run.id)
    assert again.status == "done"
    assert again.result == result
    assert again.seconds == {"merge": 0.5, "evaluate": 1.5}
    assert again.peak_memory == 1_000
    assert again.versions == VERSIONS
    assert before <= again.created <= again.finished <= datetime.now(UTC)
    assert Recipe.from_dict(again.recipe) == Recipe.from_dict(RECIPE)


def test_numpy_numbers_and_not_finite_ones_survive(store):
    run = start(store)
    store.finish(run.id, {"loss": np.float32(0.5), "n": np.int64(3), "bad": np.nan}, {}, None)
    result = store.get(run.id).result
    assert (result["loss"], result["n"]) == (0.5, 3)
    assert np.isnan(result["bad"])


def test_what_is_no_figure_is_refused_and_changes_nothing(store):
    run = start(store)
    with pytest.raises(DataError, match="type object"):
        store.finish(run.id, {"model": object()}, {}, None)
    assert store.get(run.id) == run


def test_runs_are_listed_newest_first_and_by_source(store):
    ids = [start(store, source=source).id for source in ("a", "b", "a")]
    assert [run.id for run in store.list()] == ids[::-1]
    assert [run.id for run in store.list("a")] == [ids[2], ids[0]]
    assert store.list("c") == []
    assert store.sources() == ("a", "b"), "each once, the latest first"


def test_failed_and_cancelled_runs_say_so(store):
    failed = store.fail(start(store).id, "No data.")
    assert (failed.status, failed.error) == ("failed", "No data.")
    cancelled = store.cancel(start(store).id)
    assert (cancelled.status, cancelled.error) == ("cancelled", None)
    assert cancelled.finished is not None


def test_a_later_evaluation_joins_the_result(store):
    run = start(store)
    store.finish(run.id, {"merged": {"n_parameters": 1, "validation": {"value": 0.5}}}, {}, None)
    patch = {"merged": {"test": {"value": 0.4}}, "difference": {"test": {"value": -0.1}}}
    assert store.update_result(run.id, patch).result == {
        "merged": {"n_parameters": 1, "validation": {"value": 0.5}, "test": {"value": 0.4}},
        "difference": {"test": {"value": -0.1}},
    }


def test_rename_tidies_and_refuses(store):
    run = start(store)
    assert store.rename(run.id, "  two\n words ").name == "two words"
    assert store.rename(run.id, "x" * 120).name == "x" * 120
    for bad, why in (("  ", "empty"), ("x" * 121, "121 characters")):
        with pytest.raises(DataError, match=why):
            store.rename(run.id, bad)
    assert store.get(run.id).name == "x" * 120


def test_delete_and_restore_undo_each_other(store):
    runs = [store.cancel(start(store, name).id) for name in ("one", "two", "three")]
    deleted = store.delete([runs[0].id, runs[2].id, "unknown"])
    assert {run.name for run in deleted} == {"one", "three"}
    assert [run.name for run in store.list()] == ["two"]
    store.restore(deleted)
    store.restore(deleted)
    assert store.list() == runs[::-1]


def test_a_run_at_work_is_not_deleted(store):
    done, running = store.cancel(start(store, "done").id), start(store, "at work")
    with pytest.raises(DataError, match="“at work” is still running"):
        store.delete([done.id, running.id])
    assert len(store.list()) == 2


def test_an_unknown_run_is_a_sentence(store):
    for act in (
        lambda: store.get("nope"),
        lambda: store.rename("nope", "name"),
        lambda: store.finish("nope", {}, {}, None),
    ):
        with pytest.raises(DataError, match="no run nope"):
            act()


def test_threads_write_at_once_and_nothing_is_lost(store):
    errors = []

    def work(number):
        try:
            for step in range(10):
                run = start(store, f"{number}.{step}")
                store.finish(run.id, {"n": step}, {}, None)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    names = [run.name for run in store.list()]
    assert sorted(names) == sorted(f"{a}.{b}" for a in range(8) for b in range(10))
    assert {run.status for run in store.list()} == {"done"}


def test_patches_from_many_threads_all_arrive(store):
    run = start(store)
    threads = [
        threading.Thread(target=store.update_result, args=(run.id, {"at": {str(number): 1}}))
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.get(run.id).result["at"]) == 16


def test_a_live_run_is_not_interrupted(store):
    run = start(store)
    assert store.mark_interrupted() == 0
    assert store.get(run.id).status == "running"


def test_a_folder_below_a_file_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="FFMERGE_HOME"):
        RunStore(tmp_path / "file" / "home")

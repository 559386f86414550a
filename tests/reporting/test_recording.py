"""A recipe carried out as a run of the history ends there as what it came to."""

from dataclasses import replace
from pathlib import Path

import pytest

import ffmerge_core as fm
from ffmerge_core.compression.running import fixed
from ffmerge_core.errors import Cancelled, DataError, Interrupted
from ffmerge_core.progress import Report
from ffmerge_core.reporting.recording import record
from ffmerge_core.reporting.runs import RunStore
from tests.conftest import determined

PLAN = fm.MergePlan((("encoder.0", "encoder.1"),))


@pytest.fixture
def recipe(model: fm.LoadedModel) -> fm.Recipe:
    return fixed(fm.Recipe(model.source, PLAN, tokens=200), model)


@pytest.fixture
def history(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def test_a_run_that_ends_well_holds_what_the_recipe_gave(
    history: RunStore, recipe: fm.Recipe, model: fm.LoadedModel
) -> None:
    states = []

    def work(wanted: fm.Recipe, report: Report) -> fm.RunResult:
        states.extend(run.status for run in history.list())
        return fm.run(wanted, report, model=model)

    id, result = record(history, recipe, "A name", work)
    (run,) = history.list()
    assert states == ["running"]
    assert (run.id, run.name, run.status, run.source) == (id, "A name", "done", model.source)
    assert fm.Recipe.from_dict(run.recipe) == recipe == result.recipe
    assert run.result == result.record()
    assert determined(run.result) == determined(fm.run(recipe, model=model).record())
    assert run.seconds == result.seconds
    assert run.peak_memory == result.peak_memory
    assert run.versions == result.versions


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DataError("No data here."), "failed", "No data here."),
        (ZeroDivisionError(), "failed", "It stopped on an unexpected ZeroDivisionError."),
        (Cancelled("stop"), "cancelled", None),
        (KeyboardInterrupt(), "cancelled", None),
        (Interrupted("stop"), "running", None),
    ],
)
def test_a_run_that_does_not_says_so_and_passes_the_error_on(
    history: RunStore, recipe: fm.Recipe, error: BaseException, status: str, said: str | None
) -> None:
    def work(wanted: fm.Recipe, report: Report) -> fm.RunResult:
        raise error

    with pytest.raises(type(error)) as caught:
        record(history, recipe, "A name", work)
    assert caught.value is error
    (run,) = history.list()
    assert (run.status, run.error, run.result) == (status, said, None)


def test_other_weights_than_the_recipes_are_a_failed_run(
    history: RunStore, recipe: fm.Recipe, model: fm.LoadedModel
) -> None:
    other = replace(recipe, revision="0" * 64)
    with pytest.raises(fm.FFMergeError, match=r"weights of .* have changed since this recipe"):
        record(history, other, "A name", lambda asked, report: fm.run(asked, report, model=model))
    (run,) = history.list()
    assert run.status == "failed"
    assert "have changed since this recipe was written" in (run.error or "")

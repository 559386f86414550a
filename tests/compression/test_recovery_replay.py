"""A recovery that was cancelled is made again from its recipe, to the last digit."""

import json
from pathlib import Path

import pytest

import ffmerge_core as fm
from ffmerge_core.compression.running import fixed
from ffmerge_core.errors import Cancelled, Interrupted
from ffmerge_core.models.structure import fingerprint
from ffmerge_core.plan import Recovery
from ffmerge_core.progress import Report
from ffmerge_core.reporting import recoveries
from ffmerge_core.reporting.runs import RunStore
from tests.compression.test_recovery import MODELS
from tests.compression.test_recovery_resuming import same, stop_at
from tests.conftest import determined

RESULTS = Path(__file__).parent.parent.parent / "docs" / "results"
# A score every second step. The reports of each: one of the score, then one a step.
OPTIONS = {"steps": 20, "batch_size": 6, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def merged() -> fm.LoadedModel:
    """With dropout, whose draws must not depend on the cancel."""
    return MODELS["GPT-2"]()  # type: ignore[no-any-return]


def calls(merged: fm.LoadedModel) -> int:
    """How often a whole recovery reports, and so can be cancelled."""
    told: list[int] = []

    def listen(step: int, total: int, message: str, values: object = None) -> None:
        told.append(step)

    fm.recover(merged, **OPTIONS, report=listen)  # type: ignore[arg-type]
    return len(told)


@pytest.mark.parametrize("rank", [None, 2])
def test_wherever_it_was_cancelled_it_ends_there_again(
    rank: int | None, merged: fm.LoadedModel
) -> None:
    ends: set[int] = set()
    scored: set[bool] = set()
    for call in range(2, calls(merged) + 1, 3 if rank is None else 7):
        try:
            one = fm.recover(
                merged, **OPTIONS, lora_rank=rank, report=stop_at(call, Cancelled)  # type: ignore[arg-type]
            )  # fmt: skip
        except Cancelled:
            assert not ends, "before the first score, and never after it"
            continue
        assert one.curve is not None
        if one.curve.stopped != "cancelled":
            assert call == calls(merged), "the last report is that of the last score"
            continue
        again = fm.recover(merged, **OPTIONS, lora_rank=rank, until=one.curve.steps)  # type: ignore[arg-type]
        assert same(again, one), f"cancelled at report {call}"
        ends.add(one.curve.steps)
        scored.add(one.curve.points[-1].step == one.curve.steps)
    assert scored == {True, False}
    assert len(ends) > 4


def test_it_can_be_interrupted_and_cancelled_again(merged: fm.LoadedModel, tmp_path: Path) -> None:
    whole = fm.recover(merged, **OPTIONS, until=13)  # type: ignore[arg-type]
    assert whole.curve is not None
    assert (whole.curve.stopped, whole.curve.steps) == ("cancelled", 13)
    for call in (12, 5):
        with pytest.raises(Interrupted):
            fm.recover(
                merged, **OPTIONS, until=13, folder=tmp_path, report=stop_at(call, Interrupted)  # type: ignore[arg-type]
            )  # fmt: skip
    shares: list[float] = []

    def listen(step: int, total: int, message: str, values: object = None) -> None:
        shares.append(step / total)

    done = fm.recover(merged, **OPTIONS, until=13, folder=tmp_path, report=listen)  # type: ignore[arg-type]
    assert same(done, whole)
    assert shares[-1] == 1, "progress is of the steps that it takes"
    sooner = fm.recover(merged, **OPTIONS, until=13, report=stop_at(12, Cancelled))  # type: ignore[arg-type]
    assert sooner.curve is not None
    assert sooner.curve.steps < 13
    assert same(fm.recover(merged, **OPTIONS, until=sooner.curve.steps), sooner)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def test_the_history_s_recipe_gives_the_history_s_figures(store: RunStore) -> None:
    model = fm.load("demo:vit-digits")
    plan = fm.MergePlan((("encoder.4", "encoder.5", "encoder.6"),))
    recovery = Recovery(20, batch_size=8)
    asked = fixed(fm.Recipe(model.source, plan, tokens=500, seed=3, recovery=recovery), model)

    def run(recipe: fm.Recipe, report: Report, folder: Path) -> fm.RunResult:
        return fm.run(recipe, report, model=model, folder=folder)

    def press(step: int, total: int, message: str, values: object = None) -> None:
        if message == "Recovering: step 5 of 20":
            raise Cancelled("Cancelled.")

    id, first = recoveries.record_recovery(store, asked, run, press)
    stored = store.get(id)
    recipe = fm.Recipe.from_dict(stored.recipe)
    assert recipe == first.recipe != asked
    assert recipe.recovery == Recovery(20, batch_size=8, until=5)
    assert recoveries.recovery_in_words(recipe.recovery).startswith("5 of 20 steps, ")
    second_id, second = recoveries.record_recovery(store, recipe, run)
    assert store.get(second_id).recipe == stored.recipe
    assert determined(store.get(second_id).result) == determined(stored.result)
    assert fingerprint(second.merged.model) == fingerprint(first.merged.model)


def test_a_recovery_that_nobody_cancelled_is_written_as_ever() -> None:
    """Stored results are known by their recipe: a field more, and all would be made again."""
    found = 0
    for path in RESULTS.glob("*/*.json"):
        stored = json.loads(path.read_text("utf-8")).get("recipe")
        if stored is not None:
            again = json.loads(json.dumps(fm.Recipe.from_dict(stored).to_dict()))
            assert again == stored, path.name
            found += stored["recovery"] is not None
    assert found >= 20

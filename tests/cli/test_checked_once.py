"""A plan is checked where its recipe is pinned to a model and at the library's door; no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ffmerge_core.plan import MergePlan
from ffmerge_core.reporting.runs import RunStore
from tests.cli.conftest import Call

DEMO = "demo:vit-digits"


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[MergePlan]:
    counted: list[MergePlan] = []
    check = MergePlan.check

    def counting(plan: MergePlan, sublayers: Any) -> None:
        counted.append(plan)
        check(plan, sublayers)

    monkeypatch.setattr(MergePlan, "check", counting)
    return counted


def test_a_merge_checks_its_plan_at_each_door_once(
    ffmerge: Call, store: RunStore, checks: list[MergePlan]
) -> None:
    done = ffmerge("merge", DEMO, "--group", "encoder.1-2", "--method", "vanilla")
    assert done.exit_code == 0
    assert len(checks) == 2


def test_what_fits_no_layer_leaves_no_file_and_no_run(
    ffmerge: Call, store: RunStore, tmp_path: Path
) -> None:
    file = tmp_path / "recipe.json"
    done = ffmerge("merge", DEMO, "--group", "encoder.1", "--recipe", file)
    assert done.exit_code == 1
    assert "needs at least two" in done.stderr
    assert not file.exists()
    assert store.list() == []

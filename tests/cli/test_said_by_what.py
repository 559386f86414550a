"""What outputs are matched to data by is printed, and stored with the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ffmerge_core.reporting.runs import RunStore
from ffmerge_core.tasks.class_names import FOLDER, ORDER, OWN_NAMES
from tests.cli.conftest import Call
from tests.real_files.images import CLASSES, pictures, timm_folder, timm_vit


@pytest.mark.parametrize("named", [False, True])
def test_how_classes_were_matched_is_said(
    named: bool, ffmerge: Call, store: RunStore, tmp_path: Path
) -> None:
    images = pictures(tmp_path / "images", each=5)
    config = {"label_names": list(CLASSES)} if named else {}
    folder = timm_folder(tmp_path / "model", timm_vit(), config)
    expected = OWN_NAMES if named else ORDER.format(FOLDER)
    given = [folder, "--data", images]
    info = ffmerge("info", *given).stdout
    assert f"Classes: {expected}\n" in info
    assert "Images: timm's transform to 3×16×16" in info
    assert json.loads(ffmerge("info", *given, "--json").stdout)["data"]["notes"]["classes"] == (
        expected
    )
    assert f"classes: {expected}\n" in ffmerge("evaluate", *given).stdout
    merged = ffmerge("merge", *given, "--group", "encoder.0-1", "--method", "vanilla").stdout
    assert f"Validation · classes: {expected} · images: timm's" in " ".join(merged.split())
    (run,) = store.list()
    assert run.result is not None
    assert run.result["original"]["validation"]["notes"]["classes"] == expected

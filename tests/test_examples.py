"""The notebooks of examples/ run from end to end, and print what their prose speaks of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
# What each has to print, in this order; figures of search and training are the machine's affair.
PRINTED = {
    "walk": (
        "602,058 parameters, 66% of them in FF sublayers",
        "It takes away 132,352 parameters.",
        "602,058 -> 469,706 parameters",
        "The higher a window's mean CKA, the less its merge hurts",
        "469,706 parameters, accuracy ",
    ),
    "own_family": (
        "discovered (GPTJForCausalLM)",
        "cannot be dropped: what its configuration calls the number of layers is not known",
        "decoder.0: its output recomputed from the declared weights is off",
        "50,177 -> 45,985 parameters",
        "45,985 parameters, the same score: True",
    ),
}


def test_each_notebook_is_known_here() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(PRINTED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_valid_and_stored_without_outputs(path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.read(path, as_version=4))
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert cells[0]["source"][0].startswith("# ")
    assert not [cell["id"] for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    # The kernel is a process of its own, which starts elsewhere and reads no settings of the user.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for variable in ("FFMERGE_HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    notebook: Any = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=240, resources=resources).execute()
    printed = "".join(
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output["output_type"] == "stream" and output["name"] == "stdout"
    )
    for expected in PRINTED[path.stem]:
        assert expected in printed
        printed = printed.partition(expected)[2]

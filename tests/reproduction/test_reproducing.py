"""A small reproduction, really carried out: stopped, gone on with, written, replayed."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import ffmerge_core as fm
from ffmerge_core.cli import app
from ffmerge_core.errors import StorageError
from ffmerge_core.plan import Recipe, Recovery
from ffmerge_core.reproduction.carrying_out import reproduce
from ffmerge_core.reproduction.experiments import Scope
from ffmerge_core.reproduction.results import read
from ffmerge_core.reproduction.writing import write

# It merges and scores 34 windows, and tunes seven models for two steps.
pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

SMALL = Scope(
    "vit-digits", Recovery(steps=2, batch_size=8), ("third",), (0,), others=False, tokens=500
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All of it, stopped once in the middle."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FFMERGE_HOME", str(tmp_path_factory.mktemp("home")))
        started = list(islice(reproduce(SMALL, folder), 4))
        assert len(list((folder / "vit-digits").glob("*-0.json"))) == 2
        kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
        names = list(reproduce(SMALL, folder))
        again = {path: path.stat().st_mtime_ns for path in kept if path.stem != "planned"}
        assert names[:4] == started
        assert again.items() <= kept.items()
        yield folder


def test_all_that_was_planned_is_there(results: Path) -> None:
    (found,) = read(results)
    assert found.missing == ()
    assert len(found.trials) == 2 + 4 + 4 + 4
    assert not list(results.rglob("*.tmp"))


def test_nothing_is_left_of_recoveries(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ffmerge_core.reporting.folders import data_folder

    assert not list((data_folder() / "unfinished").iterdir())


def test_results_are_strict_json_and_small(results: Path) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    for path in results.rglob("*.json"):
        json.loads(path.read_text("utf-8"), parse_constant=refuse)
        assert path.stat().st_size < 50_000


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["third-permute-tuned-0", "third-permute-int8-tuned-0"])
def test_a_number_is_replayed_from_its_file(results: Path, name: str) -> None:
    stored = json.loads((results / "vit-digits" / f"{name}.json").read_text("utf-8"))
    assert stored["versions"]["threads"] == "1"
    again = fm.run(Recipe.from_dict(stored["recipe"]))
    assert again.after.summary() == stored["result"]["merged"]["validation"]
    assert fm.evaluate(again.merged, "test").summary() == stored["result"]["merged"]["test"]


def test_the_control_is_the_original(results: Path) -> None:
    stored = json.loads((results / "vit-digits/original-untuned-0.json").read_text("utf-8"))
    assert stored["result"]["merged"]["test"] == stored["result"]["original"]["test"]
    assert stored["result"]["difference"]["test"]["agreement"] == 1


def test_losses_by_example_give_the_stored_loss(results: Path) -> None:
    (found,) = read(results)
    for trial in found.trials:
        assert trial.losses.figure.value == pytest.approx(trial.score("loss"), rel=1e-5)


def test_the_page_says_what_was_found_and_what_was_not_run(results: Path) -> None:
    page = write(results)
    text = page.read_text("utf-8")
    assert page == results.parent / f"{results.name}.md"
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) >= 2 * 14
    assert all((page.parent / link).is_file() for link in links)
    assert "gpt2-code: nothing of it" in text
    assert "vit-digits: After tuning, the window matters little" in text
    (found,) = read(results)
    assert found.sizes is not None
    for share in ("none", "third"):
        for weights in ("float32", "int8"):
            sizes = found.sizes[share][weights]
            said = " | ".join(f"{sizes[size] / 1e6:.2f} MB" for size in ("weights", "disk", "peak"))
            assert f"| {share} | {weights} | {said} |" in text


def test_other_work_is_done_anew(results: Path, tmp_path: Path) -> None:
    """A result of another budget does not stand for this one's."""
    place = tmp_path / "vit-digits"
    place.mkdir()
    stored = json.loads((results / "vit-digits/original-tuned-0.json").read_text("utf-8"))
    for path in (results / "vit-digits").glob("*.json"):
        (place / path.name).write_bytes(path.read_bytes())
    longer = Scope(
        "vit-digits", Recovery(steps=3, batch_size=8), ("third",), (0,), others=False, tokens=500
    )
    names = iter(reproduce(longer, tmp_path))
    while next(names) != "original-tuned-0":
        pass
    made = json.loads((place / "original-tuned-0.json").read_text("utf-8"))
    assert stored["recipe"]["recovery"]["steps"] == 2
    assert made["recipe"]["recovery"]["steps"] == 3


def test_a_damaged_result_is_named(results: Path, tmp_path: Path) -> None:
    (tmp_path / "vit-digits").mkdir()
    (tmp_path / "vit-digits" / "third-copy-tuned-0.json").write_text("{")
    with pytest.raises(StorageError, match=r"third-copy-tuned-0\.json cannot be read"):
        read(tmp_path)


def test_several_demos_are_processes_whose_ends_are_heard(tmp_path: Path) -> None:
    for name in ("vit-digits", "marian-en-fr"):
        (tmp_path / name).write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-m", "ffmerge_core.cli", "reproduce", "vit-digits", "marian-en-fr",
         "--out", str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    for name in ("vit-digits", "marian-en-fr"):
        assert f"{tmp_path / name} cannot be made" in done.stderr
    assert "Not done: vit-digits, marian-en-fr." in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_knows_the_demos() -> None:
    result = CliRunner().invoke(app, ["reproduce", "bert-digits"])
    assert result.exit_code == 1
    assert "There is no demo “bert-digits”; there are" in result.output

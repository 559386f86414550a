"""Every verb on the smallest demo: what it prints, what it writes, what it says of bad input."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import ffmerge_core as fm
from ffmerge_core import demos
from ffmerge_core.plan import MergePlan, Recipe
from ffmerge_core.reporting.runs import RunStore
from tests.cli.conftest import ROOT, Call
from tests.conftest import determined, transformers_vit

DEMO = "demo:vit-digits"
PLAN = MergePlan((("encoder.3", "encoder.4"),))
RECIPE = Recipe(DEMO, PLAN, tokens=2000)
MERGE = ("merge", DEMO, "--group", "encoder.3,encoder.4", "--tokens", 2000)


@pytest.fixture(scope="module")
def expected() -> fm.RunResult:
    return fm.run(RECIPE)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: object) -> Path:
        file = tmp_path / "recipe.json"
        file.write_text(json.dumps(replace(RECIPE, **changes).to_dict()))  # type: ignore[arg-type]
        return file

    return write


def test_help_and_the_cards_come_without_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from ffmerge_core.cli import app\n"
        "for call in (['--help'], ['--version'], ['merge', '--help'], ['info'],\n"
        "             ['info', 'demo:gpt2-code'], ['info', '--json']):\n"
        "    assert CliRunner().invoke(app, call).exit_code == 0, call\n"
        "print([m for m in ('torch', 'transformers', 'timm', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]"


def test_version(ffmerge: Call) -> None:
    assert ffmerge("--version").stdout == f"ffmerge {fm.__version__}\n"


def test_info_lists_the_demos(ffmerge: Call) -> None:
    lines = ffmerge("info").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [f"demo:{name}" for name in demos.names()]
    every = json.loads(ffmerge("info", "--json").stdout)["demos"]
    assert [each["n_parameters"] for each in every] == [
        demos.card(name).n_parameters for name in demos.names()
    ]


def test_info_of_a_demo_is_its_card(ffmerge: Call) -> None:
    facts = json.loads(ffmerge("info", DEMO, "--json").stdout)
    card = demos.card(DEMO)
    assert sum(facts["parts"].values()) == facts["n_parameters"] == card.n_parameters
    assert facts["revision"] == card.revision
    assert facts["validation"] == card.validation
    assert [each["name"] for each in facts["sublayers"]] == [f"encoder.{i}" for i in range(12)]
    shown = ffmerge("info", DEMO).stdout
    assert "image-classification" in shown
    assert "602,058" in shown
    assert len([line for line in shown.splitlines() if line.startswith("encoder.")]) == 12


def test_info_of_a_model_says_what_its_card_says(ffmerge: Call) -> None:
    card = json.loads(ffmerge("info", DEMO, "--json").stdout)
    model = json.loads(ffmerge("info", DEMO, "--data", "digits", "--json").stdout)
    for key in ("source", "family", "revision", "n_parameters", "parts", "sublayers"):
        assert model[key] == card[key]
    assert model["data"]["splits"] == card["data"]["splits"]


def test_info_says_what_was_left_out_of_a_file(ffmerge: Call, tmp_path: Path) -> None:
    transformers_vit().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"vit.pooler.dense.bias": torch.ones(32)}, file, {"format": "pt"})
    assert "1 tensor without a use in this model" in ffmerge("info", tmp_path).stdout
    facts = json.loads(ffmerge("info", tmp_path, "--json").stdout)
    assert (facts["left_out"], facts["without_power"]) == (["vit.pooler.dense.bias"], [])


def test_similarity_is_the_package_s_matrix(ffmerge: Call, tmp_path: Path) -> None:
    file = tmp_path / "matrix.csv"
    asked = ("similarity", DEMO, "--tokens", 2000, "--seed", 3, "--of", "pre")
    done = ffmerge(*asked, "--metric", "unbiased_cka", "--out", file, "--json")
    found = json.loads(done.stdout)
    feats = fm.calibrate(fm.load(DEMO), 2000, seed=3)
    matrix = fm.similarity_matrix(feats, "pre", "unbiased_cka")
    assert found["names"] == list(matrix.index)
    assert found["matrix"] == matrix.to_numpy().tolist()
    assert found["n_tokens"] == 2000
    with file.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    assert header[1:] == [row[0] for row in rows] == list(matrix.index)
    assert [[float(cell) for cell in row[1:]] for row in rows] == matrix.to_numpy().tolist()


def test_similarity_shows_a_row_a_sublayer(ffmerge: Call) -> None:
    header, *rows = ffmerge("similarity", DEMO, "--tokens", 200).stdout.splitlines()
    assert header.split() == [str(i) for i in range(12)]
    assert [row.split()[0] for row in rows] == [f"encoder.{i}" for i in range(12)]
    assert all(row.split()[i + 1] == "1.00" for i, row in enumerate(rows))


def test_evaluate_says_what_the_package_says(ffmerge: Call) -> None:
    expected = fm.evaluate(fm.load(DEMO), "test").summary()
    found = json.loads(ffmerge("evaluate", DEMO, "--split", "test", "--json").stdout)
    assert {key: found[key] for key in expected} == expected
    shown = ffmerge("evaluate", DEMO, "--split", "test").stdout
    assert "n = 540 images" in shown
    assert f"{100 * expected['value']:.1f}% ({100 * expected['interval'][0]:.1f}% to" in shown


def test_merge_is_a_run_of_the_history_with_the_recipe_s_numbers(
    ffmerge: Call, store: RunStore, expected: fm.RunResult, tmp_path: Path
) -> None:
    written = tmp_path / "recipe.json"
    printed = json.loads(ffmerge(*MERGE, "--recipe", written, "--json").stdout)
    (run,) = store.list()
    assert printed["id"] == run.id
    assert printed["result"] == run.result
    assert determined(printed["result"]) == determined(expected.record())
    assert (run.name, run.status) == ("Permute encoder 3–4, anchor first", "done")
    assert Recipe.from_dict(run.recipe) == expected.recipe
    assert Recipe.from_dict(json.loads(written.read_text())) == expected.recipe
    assert expected.recipe.revision is not None
    assert expected.recipe.data_revision is not None


def test_merge_shows_before_after_and_the_paired_change(
    ffmerge: Call, expected: fm.RunResult
) -> None:
    done = ffmerge(*MERGE)
    change = expected.after.versus(expected.before)
    rows = {line[:40].strip(): line for line in done.stdout.splitlines()}
    assert "−33,088 (−5.5%)" in rows["Parameters"]
    assert "359 images" in done.stdout
    assert f"{100 * expected.after.value:.1f}%" in done.stdout
    assert f"{change.loss:+.3f}".replace("-", "−") in done.stdout
    assert "Kept in the run history" in done.stderr


def test_what_merge_prints_is_run_again_and_the_test_split_is_added(
    ffmerge: Call, store: RunStore, expected: fm.RunResult, tmp_path: Path
) -> None:
    stored = tmp_path / "run.json"
    stored.write_text(ffmerge(*MERGE, "--json").stdout)
    again = json.loads(ffmerge("run", stored, "--final", "--json").stdout)
    first = json.loads(stored.read_text())
    assert again["id"] != first["id"]
    assert again["recipe"] == first["recipe"]
    for part in ("original", "merged", "difference"):
        assert again["result"][part]["validation"] == first["result"][part]["validation"]
        assert "test" not in first["result"][part]
    final = fm.evaluate(expected.merged, "test").summary()
    assert again["result"]["merged"]["test"] == json.loads(json.dumps(final))
    assert len(store.list()) == 2


def test_fidelity_is_part_of_the_recipe(ffmerge: Call, store: RunStore) -> None:
    asked = ("--method", "copy", "--anchor", "last", "--fidelity", "--json")
    printed = json.loads(ffmerge(*MERGE, *asked).stdout)
    assert printed["recipe"]["fidelity"] is True
    assert printed["recipe"]["plan"]["anchor"] == "last"
    assert printed["result"]["original"]["validation"]["value"] == 1
    assert printed["result"]["merged"]["validation"]["metric"] == "top-1 agreement"
    again = fm.run(Recipe.from_dict(printed["recipe"]))
    assert determined(again.record()) == determined(printed["result"])


@pytest.mark.parametrize("layout", ["compact", "portable"])
def test_export_of_a_recipe_opens_again_with_the_same_score(
    ffmerge: Call,
    recipe_file: Callable[..., Path],
    expected: fm.RunResult,
    tmp_path: Path,
    layout: str,
) -> None:
    out = tmp_path / "out"
    sizes = json.loads(
        ffmerge("export", "--recipe", recipe_file(), out, "--layout", layout, "--json").stdout
    )
    copies = 0 if layout == "compact" else 33_088
    assert sizes["saved"]["n_parameters"] == expected.merged.n_parameters + copies
    assert sizes["original"]["n_parameters"] == 602_058
    assert sizes["saved"]["n_bytes"] == sum(file.stat().st_size for file in out.iterdir())
    assert (sizes["saved"]["n_bytes"] < sizes["original"]["n_bytes"]) == (layout == "compact")
    again = json.loads(ffmerge("evaluate", out, "--json").stdout)
    assert again["value"] == expected.after.value
    assert again["loss"] == pytest.approx(expected.after.loss, abs=1e-12)
    assert again["n_parameters"] == expected.merged.n_parameters
    assert "Merged: Permute encoder 3–4, anchor first" in ffmerge("info", out).stdout
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_export_of_a_source_changes_its_layout(ffmerge: Call, tmp_path: Path) -> None:
    first, second = tmp_path / "compact", tmp_path / "portable"
    done = ffmerge(*MERGE, "--export", first, "--json")
    assert json.loads(done.stdout)["export"]["saved"]["layout"] == "compact"
    shown = ffmerge("export", first, second, "--layout", "portable")
    assert "602,058" in shown.stdout
    assert fm.load(second).n_parameters == fm.load(first).n_parameters == 568_970
    refused = ffmerge("export", first, second)
    assert "is not empty. Give another folder, or --overwrite to replace" in refused.stderr
    assert ffmerge("export", first, second, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("info", "demo:nothing"), "There is no demo called 'nothing'"),
        (("evaluate", "/nowhere/at/all"), "There is no folder /nowhere/at/all"),
        (("merge", DEMO, "--group", "encoder.3-60"), "encoder.60 is not an FF sublayer"),
        (("merge", DEMO, "--group", "encoder.6-3"), "Write encoder.3-6"),
        (("merge", DEMO, "--group", "encoder.3"), "Group 1 has 1 sublayer"),
        (("merge", DEMO, "--group", "encoder.3-4", "--group", "encoder.4-5"), "already in group"),
        (("merge", DEMO, "--group", "encoder.3-4", "--data", "nothing"), 'data called "nothing"'),
        (("similarity", DEMO, "--stack", "decoder"), "has no stack “decoder”; it has encoder"),
        (("similarity", "demo:marian-en-fr"), "--stack encoder"),
        (("run", "/nowhere.json"), "/nowhere.json cannot be read (No such file or directory)."),
        (
            ("similarity", DEMO, "--tokens", 200, "--out", "/nowhere/matrix.csv"),
            "/nowhere/matrix.csv cannot be written (No such file or directory).",
        ),
        (
            (*MERGE, "--recipe", "/nowhere/recipe.json"),
            "/nowhere/recipe.json cannot be written (No such file or directory).",
        ),
    ],
)
def test_bad_input_is_told_in_a_sentence(
    ffmerge: Call, store: RunStore, arguments: tuple[object, ...], said: str
) -> None:
    done = ffmerge(*arguments, *(() if arguments[0] == "info" else ("--json",)))
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert store.list() == [], "what never began is no run"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("merge", DEMO),
        ("merge", DEMO, "--group", "encoder.3-4", "--method", "magic"),
        ("similarity", DEMO, "--tokens", 1),
        ("export", "only-out"),
        ("export", "a", "b", "c"),
        ("export", "--recipe", "r.json", "a", "b"),
        ("fly",),
    ],
)
def test_wrong_usage_exits_with_two(ffmerge: Call, arguments: tuple[object, ...]) -> None:
    assert ffmerge(*arguments).exit_code == 2


def test_a_recipe_of_other_weights_or_data_is_refused_and_kept_as_failed(
    ffmerge: Call, store: RunStore, recipe_file: Callable[..., Path], tmp_path: Path
) -> None:
    weights = ffmerge("run", recipe_file(revision="0" * 64))
    assert weights.exit_code == 1
    assert "weights of demo:vit-digits have changed" in weights.stderr
    data = ffmerge("run", recipe_file(data_revision="0" * 64, python="3.0.0"))
    assert data.exit_code == 1
    assert "It was written under Python 3.0.0" in data.stderr
    assert [run.status for run in store.list()] == ["failed", "failed"]
    out = tmp_path / "out"
    assert ffmerge("export", "--recipe", recipe_file(revision="0" * 64), out).exit_code == 1
    assert not out.exists()

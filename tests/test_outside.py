"""What a forge, pre-commit and a citing reader read: it parses, and names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORGE = ROOT / ".github"
FORMS = sorted(path for path in (FORGE / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
FILES = (
    *FORMS,
    FORGE / "workflows" / "ci.yml",
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_yaml(path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_says_what_each_field_is(path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    form = yaml.safe_load(path.read_text("utf-8"))
    assert form["name"]
    assert form["description"]
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    assert all(field["attributes"]["label"] for field in form["body"])


def test_the_workflow_may_only_read_and_runs_what_everyone_runs() -> None:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((FORGE / "workflows" / "ci.yml").read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert {step["run"] for step in steps if "run" in step} == {".ci/run", "make docs"}
    assert all(re.search(r"@v\d", step["uses"]) for step in steps if "uses" in step)


def test_hooks_fetch_nothing_and_are_the_linters() -> None:
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [each["repo"] for each in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    lint = (ROOT / "Makefile").read_text("utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    asked = re.findall(r"\$\(BIN\)/(\w+)", lint)
    assert [hook["entry"].split()[0] for hook in hooks] == [f".venv/bin/{each}" for each in asked]


def test_every_make_command_that_is_named_is_a_target() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    pages = (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *FORGE.rglob("*.*"))
    named = {
        target
        for page in pages
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
    }
    assert {"app", "test", "lint", "docs"} <= named <= set(targets)


def test_the_version_is_the_same_everywhere() -> None:
    import ffmerge_core

    version = ffmerge_core.__version__
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text("utf-8")

"""What the site is made of: every page has its place, every public name its page."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import ffmerge_core as fm

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "results" not in path.relative_to(DOCS).parts)


def listed(page: Path) -> set[Path]:
    """The pages that a page leads to in the menu."""
    found = re.search(r"^```\{toctree\}\n.*?\n\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    assert found is not None
    names = [line for line in found.group(1).split("\n") if line and "<self>" not in line]
    return {page.parent / f"{name}.md" for name in names}


def test_the_menu_leads_to_every_page_and_to_nothing_else() -> None:
    top, names = DOCS / "index.md", DOCS / "api" / "index.md"
    assert {top} | listed(top) | listed(names) == set(PAGES)


def test_every_public_name_stands_on_one_page() -> None:
    said = "".join(page.read_text("utf-8") for page in (DOCS / "api").glob("*.md"))
    told = Counter(re.findall(r"^\.\. auto\w+:: ffmerge_core\.(\w+)$", said, re.MULTILINE))
    assert told == Counter(fm.__all__)


def test_pages_that_the_site_takes_from_the_top_exist() -> None:
    names = re.findall(r'^    "(\w+\.md)": "(\w+)",$', (DOCS / "conf.py").read_text("utf-8"), re.M)
    assert len(names) == 4
    for name, page in names:
        assert (DOCS.parent / name).is_file()
        assert (DOCS / f"{page}.md").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).is_file(), target


def test_what_the_architecture_names_is_there() -> None:
    """Modules, functions and classes by their places, such as `compression.running.run`."""
    text = (DOCS / "architecture.md").read_text("utf-8")
    wings = "|".join(path.name for path in (DOCS.parent / "ffmerge_core").iterdir())
    named = set(re.findall(rf"`((?:pages\._ui|kinds|{wings})\.[\w.]+)`", text))
    assert len(named) > 40
    assert [name for name in sorted(named) if not stands(name)] == []


def stands(name: str) -> bool:
    root = DOCS.parent if name.startswith("pages.") else DOCS.parent / "ffmerge_core"
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        place = root.joinpath(*parts[:end])
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if path.is_file():
            code = path.read_text("utf-8")
            return all(
                re.search(rf"^\s*(?:def|class) {each}\b|^{each}\b.* =", code, re.MULTILINE)
                for each in parts[end:]
            )
    return False

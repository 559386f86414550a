"""The site of the documentation, which `make docs` builds into build/docs/.

It is read from a disk or from any server, and fetches nothing from elsewhere.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

sys.path.insert(0, str(Path(__file__).parents[1]))

import ffmerge_core

project = "ffmerge"
author = copyright = "The ffmerge authors"
version = release = ffmerge_core.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"ffmerge {release}"
html_copy_source = False
html_show_sphinx = False
exclude_patterns = ["results/*"]
myst_heading_anchors = 3

# Docstrings are NumPy's, with code between single backticks.
default_role = "code"
napoleon_google_docstring = False
# Plain lists: the fields of two classes may have one name.
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
add_module_names = False
# The code is read, and none of what it computes with has to be installed.
autodoc_mock_imports = [
    "numpy",
    "pandas",
    "PIL",
    "platformdirs",
    "psutil",
    "safetensors",
    "scipy",
    "sklearn",
    "timm",
    "tokenizers",
    "torch",
    "torchvision",
    "transformers",
]


ROOT = Path(__file__).parents[1]
# Pages that stand at the top of the repository, where a reader of the code looks for them.
TOP = {
    "README.md": "index",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
    "CHANGELOG.md": "changelog",
}
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def from_the_top(app: Sphinx, page: str, source: list[str]) -> None:
    """The text of such a page, and links to one, turned to where they lead from here."""
    for name, own in TOP.items():
        if page == own:
            source[0] = LINK.sub(_turned, (ROOT / name).read_text("utf-8")) + source[0]
        source[0] = source[0].replace(f"](../{name}", f"]({own}.md")


def _turned(link: re.Match[str]) -> str:
    target = link[1]
    if target in TOP:
        return f"]({TOP[target]}.md"
    return "](" + (target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}")


def without_charts(app: Sphinx, page: str, source: list[str]) -> None:
    """Charts that one can point at fetch plotly from a server; their pictures stand on the page."""
    if page == "results":
        source[0] = re.sub(r" \(\[interactive\]\([^)]*\.html\)\)", "", source[0])


def as_it_stands(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Napoleon takes the words before a property's first colon for its type."""
    if what == "property":
        lines.insert(0, "")


# What a browser fetches without being asked: scripts, styles, images, fonts.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["'](?:https?:)?//[^"']+"""
    r"""|<link\b[^>]*\brel=["'](?:stylesheet|preload|icon)[^>]*\bhref=["'](?:https?:)?//[^"']+"""
    r"""|(?:@import\s+|url\()["']?(?:https?:)?//[^"')]+"""
)


def nothing_foreign(app: Sphinx, error: Exception | None) -> None:
    """Every page can be read without a network."""
    for path in Path(app.outdir).rglob("*"):
        if error is None and path.suffix in (".html", ".css"):
            for found in FETCHED.findall(path.read_text("utf-8")):
                raise ExtensionError(f"{path} fetches from elsewhere: {found}")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", nothing_foreign)
    app.connect("source-read", from_the_top)
    app.connect("source-read", without_charts)
    # Before napoleon, which is at 500.
    app.connect("autodoc-process-docstring", as_it_stands, priority=400)

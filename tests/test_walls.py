"""The walls of the house: which part may know of which. Each test names every offender."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE, PAGES = ROOT / "ffmerge_core", ROOT / "pages"
# Above all wings: what anyone may import.
ABOVE = {"", "checks", "errors", "extras", "kinds", "palette", "progress", "showing"}
# A wing imports only from wings that stand before it.
WINGS = (
    "plan",
    "tasks",
    "demos",
    "models",
    "storage",
    "sources",
    "analysis",
    "compression",
    "reporting",
    "reproduction",
    "cli",
)
PURE = (
    "checks",
    "kinds",
    "palette",
    "plan",
    "progress",
    "tasks.kinds",
    "tasks.metrics",
    "analysis.views",
    "analysis.similarity",
    "analysis.alignment",
    "analysis.clustering",
    "analysis.prediction",
    "reporting.figures",
)
# Numbers and names alone: torch, too, is more than these know.
LIGHT = (
    "checks",
    "kinds",
    "palette",
    "plan",
    "progress",
    "tasks.kinds",
    "tasks.metrics",
    "analysis.views",
)
# A demo's scripts are run, never imported: they stand on the whole package.
SCRIPTS = {"train.py", "training.py", "describe.py"}


def is_script(path: Path) -> bool:
    return "demos" in path.parts and path.name in SCRIPTS


def name_of(path: Path) -> str:
    """ "plan.merge"; a package by its own name, the face by none."""
    parts = path.relative_to(CORE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted(CORE.rglob("*.py")) if not is_script(path)}
# What all pages share comes first, then a room a page.
ROOMS = ("state", "pieces")
LONGEST = 300


def imports(path: Path) -> set[str]:
    """Every name that a file imports, those for type checkers too: "a.b" of "from a import b"."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(path: Path) -> set[str]:
    """The modules of the core that a file imports."""
    found = set()
    for name in imports(path):
        while name and name.partition(".")[0] == "ffmerge_core":
            name_in = name.partition(".")[2]
            if name_in in MODULES:
                found.add(name_in)
                break
            name = name.rpartition(".")[0]
    return found


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def wing_of(module: str) -> str:
    return module.partition(".")[0]


def within(module: str, parts: Iterable[str]) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in parts)


def test_every_module_is_of_a_wing_or_above_all() -> None:
    assert {wing_of(name) for name in MODULES} == {*ABOVE, *WINGS}


def test_the_core_never_imports_streamlit_or_pages() -> None:
    assert {name: found for name, path in MODULES.items()
            if (found := roots(path) & {"streamlit", "pages", "app"})} == {}  # fmt: skip


def test_wings_import_only_from_wings_before_them() -> None:
    order = {name: place for place, name in enumerate(WINGS)}
    offenders = {
        (name, other)
        for name, path in MODULES.items()
        for other in own(path)
        if order.get(wing_of(other), -1) > order.get(wing_of(name), -1)
    }
    assert offenders == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: Mapping[str, set[str]] = {name: own(path) - {name, ""} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' → '.join(error.args[1])}")


def reached(name: str) -> set[str]:
    """A module and all to which its imports lead."""
    seen, ahead = {name}, [name]
    while ahead:
        new = own(MODULES[ahead.pop()]) - seen
        seen |= new
        ahead += new
    return seen


def test_pure_modules_reach_no_model_and_no_model_library() -> None:
    offenders = {
        (name, other)
        for name in MODULES
        if within(name, PURE)
        for other in reached(name)
        if wing_of(other) == "models" or roots(MODULES[other]) & {"transformers", "timm"}
    }
    assert offenders == set()


def test_names_and_numbers_alone_need_no_torch() -> None:
    heavy = {"torch", "numpy", "pandas", "scipy", "plotly"}
    offenders = {
        (name, other)
        for name in MODULES
        if within(name, LIGHT)
        for other in reached(name)
        if roots(MODULES[other]) & heavy
    }
    assert offenders == set()


def test_no_script_is_imported() -> None:
    scripts = [name_of(path) for path in CORE.rglob("*.py") if is_script(path)]
    assert len(scripts) == 5
    called = [f"ffmerge_core.{name}" for name in scripts]
    offenders = {
        (name, found)
        for name, path in MODULES.items()
        for found in imports(path)
        if within(found, called)
    }
    assert offenders == set()


def test_nothing_unpickles_or_runs_remote_code() -> None:
    for name, path in MODULES.items():
        text = path.read_text("utf-8")
        if name == "storage.pickled":
            # What somebody said yes to: torch's weights-only loader, and the name of its refusal.
            (call,) = re.findall(r"torch\.load\((.*?)\)\n", text)
            assert "weights_only=True" in call
            assert set(re.findall(r"\bpickle\.\w+", text)) == {"pickle.UnpicklingError"}
            continue
        assert not roots(path) & {"pickle", "marshal", "shelve", "dill", "joblib"}, name
        for forbidden in ("torch.load(", "trust_remote_code=True", "weights_only=False"):
            assert forbidden not in text, name


def test_rooms_of_the_pages_know_what_all_share_and_themselves() -> None:
    offenders = {
        (path.relative_to(PAGES).as_posix(), other)
        for path in sorted((PAGES / "_ui").rglob("*.py"))
        for other in rooms_in(path)
        if other not in allowed(path.relative_to(PAGES / "_ui").parts[0])
    }
    assert offenders == set()


def allowed(room: str) -> set[str]:
    shared = ROOMS[: ROOMS.index(room)] if room in ROOMS else ROOMS
    return {room, *shared}


def rooms_in(path: Path) -> set[str]:
    return {name.split(".")[2] for name in imports(path) if name.startswith("pages._ui.")}


def test_a_page_knows_its_own_room_alone() -> None:
    for path in sorted(PAGES.glob("*.py")):
        assert rooms_in(path) <= {*ROOMS, path.stem}, path.name


def test_no_file_is_longer_than_a_reader_s_patience() -> None:
    every = (*CORE.rglob("*.py"), *PAGES.rglob("*.py"), *(ROOT / "tests").rglob("*.py"))
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in every
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


def test_importing_the_face_costs_nothing() -> None:
    heavy = "torch", "transformers", "timm", "sklearn", "scipy", "pandas", "plotly", "numpy"
    code = f"import sys, ffmerge_core; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]"


def test_the_face_has_every_name_it_promises() -> None:
    import ffmerge_core as fm

    for name in fm.__all__:
        assert getattr(fm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        fm.nonsense  # type: ignore[attr-defined]  # noqa: B018

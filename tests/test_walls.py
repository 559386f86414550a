"""The walls of the house: which part may know of which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parent.parent / "ffmerge_core"
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
    "plan",
    "tasks.metrics",
    "tasks.kinds",
    "analysis.similarity",
    "analysis.alignment",
    "analysis.clustering",
    "analysis.prediction",
    "reporting.figures",
)
# A demo's training scripts are run, never imported: they stand on the whole package.
SCRIPTS = ("train.py", "training.py", "describe.py")
MODULES = sorted(path for path in CORE.rglob("*.py") if path.name not in SCRIPTS)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(CORE).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_core_never_imports_streamlit_or_pages(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & {"streamlit", "pages", "app"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_wings_import_only_from_wings_above(path: Path) -> None:
    wing = path.relative_to(CORE).parts[0]
    if wing not in WINGS:
        # The face and the values at the top: a value imports no wing at run time.
        return
    below = WINGS[WINGS.index(wing) + 1 :]
    reached = {name.split(".")[1] for name in imports(path) if name.startswith("ffmerge_core.")}
    assert not reached & set(below)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_pure_modules_know_no_model_library(path: Path) -> None:
    if name_of(path).startswith(PURE):
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & {"transformers", "timm"}
        assert not any(name.startswith("ffmerge_core.models") for name in imports(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_unpickles_or_runs_remote_code(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not {"pickle", "marshal", "shelve", "dill", "joblib"} & imports(path)
    for forbidden in ("torch.load(", "trust_remote_code=True", "weights_only=False"):
        assert forbidden not in text


def test_importing_the_face_costs_nothing() -> None:
    heavy = "torch", "transformers", "timm", "sklearn", "scipy", "pandas", "plotly", "numpy"
    code = f"import sys, ffmerge_core; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CORE.parent
    )
    assert out.stdout.strip() == "[]"


def test_the_face_has_every_name_it_promises() -> None:
    import ffmerge_core as fm

    for name in fm.__all__:
        assert getattr(fm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        fm.nonsense  # noqa: B018

"""Real ways to make writing fail, which also hold for the superuser."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def python(*lines: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def full_disk():
    """Run lines where no file can grow past 20 kB, as if the disk were full.

    The first line (imports) runs before the limit.
    """

    def run(imports: str, *lines: str) -> subprocess.CompletedProcess[str]:
        return python(
            "import resource",
            "from pathlib import Path",
            imports,
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))",
            *lines,
        )

    return run


@pytest.fixture
def open_folder():
    """A folder below which another user may look (pytest's own are closed to them)."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def as_reader(open_folder):
    """Run lines as someone who may read `open_folder` and not write it."""

    def run(imports: str, *lines: str) -> subprocess.CompletedProcess[str]:
        for path in open_folder.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        open_folder.chmod(0o555)
        step_down = f"os.setuid({NOBODY})" if os.geteuid() == 0 else "pass"
        done = python("import os", "from pathlib import Path", imports, step_down, *lines)
        open_folder.chmod(0o755)
        return done

    return run

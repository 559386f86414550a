"""What is installed: a wheel built from this tree, tried from a foreign folder.

Nothing is downloaded. The packages that it needs are those of this environment, without what
only its extras bring: so the rest is seen to work where no extra is.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.error
import urllib.request
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from ffmerge_core.extras import EXTRAS

ROOT = Path(__file__).parents[1]
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "app.py", ".streamlit")
SECONDS = 120

pytestmark = [pytest.mark.distribution, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Installed:
    """A virtual environment that holds the wheel, and a folder that is nobody's to work in."""

    wheel: Path
    programs: Path
    folder: Path

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=SECONDS,
        )  # fmt: skip

    def python(self, code: str) -> str:
        done = self.run(self.programs / "python", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        foreign = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {**foreign, "FFMERGE_HOME": str(self.folder / "home")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    place = tmp_path_factory.mktemp("distribution")
    wheel = built(place)
    venv.create(place / "venv", symlinks=True)
    programs = place / "venv" / "bin"
    site = sysconfig.get_path("purelib", vars={"base": str(place / "venv")})
    lend_packages(Path(site))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet",
         "--no-deps", "--no-index", "--disable-pip-version-check", wheel],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (place / "elsewhere").mkdir()
    return Installed(wheel, programs, place / "elsewhere")


def built(place: Path) -> Path:
    """The wheel of a copy of this tree, since a build leaves things beside its sources."""
    copy = place / "tree"
    skipped = shutil.ignore_patterns("__pycache__")
    for name in (*SOURCES, "pages", "ffmerge_core"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=skipped)
        else:
            copy.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, copy)
    build = "import setuptools.build_meta as build; build.build_wheel('..')"
    done = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = place.glob("*.whl")
    return wheel


def lend_packages(site: Path) -> None:
    """Links to all packages of this environment but ffmerge itself and what extras bring."""
    left_out = ("ffmerge", "__editable__", *EXTRAS)
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if not each.name.lower().startswith(left_out):
            (site / each.name).symlink_to(each)


def test_the_wheel_claims_one_name_and_carries_the_dashboard(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = set(wheel.namelist())
        size = sum(each.compress_size for each in wheel.infolist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ffmerge_core"}
    home = "ffmerge_core/dashboard/"
    at_the_top = {name for name in names if name.startswith(home) and name.count("/") == 2}
    assert at_the_top == {f"{home}app.py"}
    assert f"{home}.streamlit/config.toml" in names
    pages = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pages").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name.removeprefix(home) for name in names if name.startswith(f"{home}pages/")} == pages
    assert {"ffmerge_core/py.typed", "ffmerge_core/__init__.pyi"} <= names
    assert size < 15e6


def test_the_command_says_its_verbs(installed: Installed) -> None:
    done = installed.run(installed.programs / "ffmerge", "--help")
    assert done.returncode == 0, done.stderr
    assert "merge" in done.stdout
    assert "Serve the dashboard on this machine" in done.stdout


def test_without_extras_the_rest_works_and_each_says_what_to_install(
    installed: Installed,
) -> None:
    said = installed.python("""
import ffmerge_core as fm
print(fm.__file__)
model = fm.load("demo:vit-digits")
feats = fm.calibrate(model, tokens=200)
merged = fm.apply(model, fm.MergePlan(groups=(("encoder.4", "encoder.5"),)), feats)
print(fm.load(fm.save(merged, "merged").folder).n_parameters)
for use in (
    lambda: fm.recover(merged, steps=1),
    lambda: fm.quantize(merged),
    lambda: fm.quantize(merged, "llm.int8"),
    lambda: fm.load("demo:marian-en-fr"),
    lambda: fm.load("demo:gpt2-code", task="wikitext-2"),
):
    try:
        use()
    except fm.FFMergeError as error:
        print(error)
""").splitlines()
    assert Path(said[0]).is_relative_to(installed.programs.parent)
    assert said[1] == "568970"
    extras = [line.partition("pip install ")[2] for line in said[2:]]
    assert extras == [
        '"ffmerge[recover]".',
        '"ffmerge[int8]".',
        '"ffmerge[llm-int8]".',
        '"ffmerge[translation]".',
        '"ffmerge[datasets]".',
    ]


def test_extras_bring_what_the_errors_say() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for package, extra in EXTRAS.items():
        assert any(each.startswith(f"{package}>=") for each in extras[extra])
        assert not any(each.startswith(f"{package}>=") for each in project["dependencies"])


def test_the_dashboard_is_served_to_this_machine_alone(installed: Installed) -> None:
    port = free_port()
    log = installed.folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [installed.programs / "ffmerge", "app", "--port", str(port)],
            cwd=installed.folder, env=installed.environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_until_healthy(server, port, log)
        said = log.read_text()
        assert f"http://localhost:{port}" in said
        assert "usage statistics" not in said
        # 127.0.0.2 is this machine too; a server that listens everywhere would answer there.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)
    finally:
        server.terminate()
        server.wait(20)


def test_the_first_page_runs_where_it_is_installed(installed: Installed) -> None:
    said = installed.python("""
from streamlit.testing.v1 import AppTest
from ffmerge_core.cli.dashboard import script
import sys
sys.path.insert(0, str(script().parent))
tab = AppTest.from_file(str(script()), default_timeout=60).run()
print(script(), [each.value for each in tab.exception], [each.value for each in tab.title])
""")
    assert str(installed.programs.parent) in said
    assert "[] ['" in said


def test_a_user_of_the_face_sees_its_types(installed: Installed) -> None:
    (installed.folder / "theirs.py").write_text("""
import ffmerge_core as fm

model = fm.load("demo:vit-digits")
feats: fm.Features = fm.calibrate(model, tokens=2_000)
merged = fm.apply(model, fm.DropLayers(("encoder.3",)), feats)
change: fm.PairedDifference = fm.evaluate(merged).versus(fm.evaluate(model))
reveal_type(fm.run(fm.Recipe("demo:vit-digits", fm.MergePlan(()))).after.interval.low)
wrong: int = fm.evaluate(merged, split="nonsense")
""")
    # What its libraries say of themselves takes a minute to read and is not asked here.
    (installed.folder / "mypy.ini").write_text("""
[mypy]
strict = true
[mypy-numpy.*,pandas.*,scipy.*,timm.*,torch.*,transformers.*]
follow_imports = skip
follow_imports_for_stubs = true
""")
    done = installed.run(
        sys.executable, "-m", "mypy", "--python-executable", installed.programs / "python",
        "theirs.py",
    )  # fmt: skip
    assert [line.split(": ", 1)[-1] for line in done.stdout.splitlines()] == [
        'note: Revealed type is "float"',
        'error: Incompatible types in assignment (expression has type "Evaluation", variable has '
        'type "int")  [assignment]',
        'error: Argument "split" to "evaluate" has incompatible type "Literal[\'nonsense\']"; '
        "expected \"Literal['train', 'validation', 'test']\"  [arg-type]",
        "Found 2 errors in 1 file (checked 1 source file)",
    ]


def wait_until_healthy(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"the server did not start; it said:\n{log.read_text(errors='replace')[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

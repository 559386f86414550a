"""In processes of their own: the same numbers to the last digit, and Ctrl-C."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ffmerge_core as fm
from ffmerge_core.plan import Recipe
from ffmerge_core.reporting.runs import RunStore
from tests.cli.conftest import ROOT, Call, Process, environment
from tests.conftest import determined

# Each process imports torch anew, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)

# As a shell in the foreground starts it, wherever the tests were started.
INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from ffmerge_core.cli import app; app(prog_name='ffmerge')"
)


def texts(path: Path) -> Path:
    blocks = (f"def add_{i}(value):\n    return value + {i * i}\n" for i in range(40))
    path.write_text("\n".join(blocks))
    return path


def pairs(path: Path) -> Path:
    path.write_text("".join(f"on {i} May 2{i:03}\tle {i} mai 2{i:03}\n" for i in range(1, 29)))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("demo", "group", "data"),
    [
        ("vit-digits", "encoder.5-6", None),
        ("gpt2-code", "decoder.2,decoder.3", texts),
        ("marian-en-fr", "decoder.2-3", pairs),
    ],
)
def test_a_recipe_replays_in_another_process_to_the_last_digit(
    ffmerge: Call, process: Process, store: RunStore, tmp_path: Path, demo: str, group: str, data
) -> None:
    recipe = tmp_path / "recipe.json"
    given = () if data is None else ("--data", data(tmp_path / "own.txt"))
    asked = ("merge", f"demo:{demo}", "--group", group, "--tokens", 2000, *given)
    first = process(*asked, "--recipe", recipe, "--json")
    assert first.returncode == 0, first.stderr
    again = ffmerge("run", recipe, "--json")
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert determined(one["result"]) == determined(two["result"])
    assert one["recipe"] == two["recipe"] == json.loads(recipe.read_text())
    result = fm.run(Recipe.from_dict(one["recipe"]))
    assert determined(result.record()) == determined(one["result"])
    assert [run.status for run in store.list()] == ["done", "done"]
    assert first.stderr.count("\n") == 1, "no progress bar where nobody looks"


def test_ctrl_c_leaves_a_cancelled_run(home: Path, store: RunStore) -> None:
    asked = ("merge", "demo:gpt2-code", "--group", "decoder.2-3")
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *asked],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(home),
    ) as working:  # fmt: skip
        while working.poll() is None and not store.list():
            time.sleep(0.1)
        working.send_signal(signal.SIGINT)
        out, said = working.communicate(timeout=200)
    assert (working.returncode, out, said) == (130, "", "Cancelled.\n")
    (run,) = store.list()
    assert (run.status, run.result) == ("cancelled", None)

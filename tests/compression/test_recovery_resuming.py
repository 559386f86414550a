"""A recovery that was interrupted or killed goes on to the result of one that was not."""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import ffmerge_core as fm
from ffmerge_core.errors import Cancelled, Interrupted, PlanError, StorageError
from ffmerge_core.models.structure import fingerprint
from tests.compression.test_recovery import MODELS

OPTIONS = {"steps": 12, "batch_size": 6, "learning_rate": 3e-3}
ROOT = Path(__file__).parent.parent.parent


def stop_at(call: int, error: type[Cancelled]) -> object:
    calls: list[int] = []

    def report(step: int, total: int, message: str, values: object = None) -> None:
        calls.append(step)
        if len(calls) == call:
            raise error("Stopped.")

    return report


@pytest.fixture
def merged() -> fm.LoadedModel:
    """With dropout, whose draws must not depend on the interruption."""
    return MODELS["GPT-2"]()  # type: ignore[no-any-return]


def same(one: fm.LoadedModel, other: fm.LoadedModel) -> bool:
    return one.curve == other.curve and fingerprint(one.model) == fingerprint(other.model)


@pytest.mark.parametrize("rank", [None, 2])
def test_an_interrupted_one_goes_on_to_the_same_result(
    rank: int | None, merged: fm.LoadedModel, tmp_path: Path
) -> None:
    whole = fm.recover(merged, **OPTIONS, lora_rank=rank)  # type: ignore[arg-type]
    assert whole.curve is not None
    assert whole.curve.best_step > 0
    interrupted = 0
    # In the middle of a score, after a step, after a score: wherever the call falls.
    for call in (5, 4, 6, 7):
        with pytest.raises(Interrupted):
            fm.recover(
                merged,
                **OPTIONS,  # type: ignore[arg-type]
                lora_rank=rank,
                folder=tmp_path,
                report=stop_at(call, Interrupted),  # type: ignore[arg-type]
            )
        interrupted += 1
        assert len(list(tmp_path.iterdir())) == 2, "one state and its tensors"
    assert interrupted == 4
    state = json.loads((tmp_path / "recovery.json").read_text("utf-8"))
    assert 0 < state["step"] < 12
    again = fm.recover(merged, **OPTIONS, lora_rank=rank, folder=tmp_path)  # type: ignore[arg-type]
    assert same(again, whole)
    finished = fm.recover(
        merged,
        **OPTIONS,  # type: ignore[arg-type]
        lora_rank=rank,
        folder=tmp_path,
        report=stop_at(1, Cancelled),  # type: ignore[arg-type]
    )
    assert same(finished, whole), "nothing is left to do"


def test_a_cancelled_one_can_be_taken_up_again(merged: fm.LoadedModel, tmp_path: Path) -> None:
    whole = fm.recover(merged, **OPTIONS)  # type: ignore[arg-type]
    cancelled = fm.recover(
        merged,
        **OPTIONS,  # type: ignore[arg-type]
        folder=tmp_path,
        report=stop_at(8, Cancelled),  # type: ignore[arg-type]
    )
    assert cancelled.curve is not None
    assert cancelled.curve.stopped == "cancelled"
    assert same(fm.recover(merged, **OPTIONS, folder=tmp_path), whole)  # type: ignore[arg-type]


KILLED = """
import sys, time
from pathlib import Path
import torch
import ffmerge_core as fm
from tests.compression.test_recovery import MODELS
from tests.compression.test_recovery_resuming import OPTIONS

torch.set_num_threads(int(sys.argv[2]))

def report(step, total, message, values=None):
    if step == 7:
        print("seven", flush=True)
        time.sleep(600)

fm.recover(MODELS["GPT-2"](), **OPTIONS, folder=sys.argv[1], report=report)
"""


def test_a_killed_one_goes_on_to_the_same_result(merged: fm.LoadedModel, tmp_path: Path) -> None:
    whole = fm.recover(merged, **OPTIONS)  # type: ignore[arg-type]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), str(torch.get_num_threads())],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == b"seven\n"
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    state = json.loads((tmp_path / "recovery.json").read_text("utf-8"))
    assert state["step"] in (6, 7)
    # Half a file, as a process leaves that is killed while it writes.
    (tmp_path / "recovery-half.safetensors").write_bytes(b"half")
    steps: list[int] = []

    def listen(step: int, total: int, message: str, values: object = None) -> None:
        steps.append(step)

    again = fm.recover(merged, **OPTIONS, folder=tmp_path, report=listen)  # type: ignore[arg-type]
    assert same(again, whole)
    assert min(steps) >= 6, "it did not begin anew"
    assert not (tmp_path / "recovery-half.safetensors").exists()


def test_a_checkpoint_holds_tied_weights_once(merged: fm.LoadedModel, tmp_path: Path) -> None:
    fm.recover(merged, **OPTIONS, folder=tmp_path)  # type: ignore[arg-type]
    (file,) = tmp_path.glob("*.safetensors")
    with safe_open(file, framework="pt") as written:
        names = [name for name in written.keys() if name.startswith("now.")]  # noqa: SIM118
        n_values = sum(written.get_tensor(name).numel() for name in names)
    buffers = sum(buffer.numel() for buffer in merged.model.buffers())
    assert n_values == merged.n_parameters + buffers


def test_another_recovery_s_checkpoint_is_refused(merged: fm.LoadedModel, tmp_path: Path) -> None:
    fm.recover(merged, **OPTIONS, folder=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"of another recovery \(its settings and seed differ\)"):
        fm.recover(merged, steps=5, seed=1, folder=tmp_path)
    with torch.no_grad():
        next(merged.model.parameters()).add_(1)
    with pytest.raises(PlanError, match=r"\(its weights differ\)"):
        fm.recover(replace(merged), **OPTIONS, folder=tmp_path)  # type: ignore[arg-type]


def test_a_damaged_checkpoint_is_a_sentence(merged: fm.LoadedModel, tmp_path: Path) -> None:
    fm.recover(merged, **OPTIONS, folder=tmp_path)  # type: ignore[arg-type]
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(StorageError, match="is damaged"):
        fm.recover(merged, **OPTIONS, folder=tmp_path)  # type: ignore[arg-type]
    (tmp_path / "recovery.json").write_text("[]")
    with pytest.raises(StorageError, match="is damaged"):
        fm.recover(merged, **OPTIONS, folder=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("room", [100, 30_000])
def test_a_disk_without_room_leaves_the_last_checkpoint(
    room: int, merged: fm.LoadedModel, tmp_path: Path
) -> None:
    whole = fm.recover(merged, **OPTIONS)  # type: ignore[arg-type]
    with pytest.raises(Interrupted):
        fm.recover(
            merged,
            **OPTIONS,  # type: ignore[arg-type]
            folder=tmp_path,
            report=stop_at(8, Interrupted),  # type: ignore[arg-type]
        )
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        with pytest.raises(StorageError, match="The last checkpoint there is intact"):
            fm.recover(merged, **OPTIONS, folder=tmp_path)  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert same(fm.recover(merged, **OPTIONS, folder=tmp_path), whole)  # type: ignore[arg-type]

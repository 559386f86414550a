"""A recovery by two processes, as on two GPUs: each takes half of every batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ffmerge_core as fm

PLAN = fm.MergePlan((("encoder.4", "encoder.5", "encoder.6"),), method="vanilla")
SCRIPT = """
import os, sys, torch
import ffmerge_core as fm
from safetensors.torch import save_model
from tests.compression.test_recovery_processes import PLAN
torch.set_num_threads(1)
tuned = fm.recover(fm.apply(fm.load("demo:vit-digits"), PLAN), steps=3, batch_size=8, seed=3)
save_model(tuned.model, sys.argv[1] + os.environ["RANK"])
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_do_what_one_does_with_twice_the_batch(tmp_path: Path) -> None:
    script = tmp_path / "recover.py"
    script.write_text(SCRIPT, "utf-8")
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         str(script), str(tmp_path / "rank-")],
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": "."},
    )  # fmt: skip
    first, second = (load_file(tmp_path / f"rank-{rank}") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)

    merged = fm.apply(fm.load("demo:vit-digits"), PLAN)
    alone = fm.recover(merged, steps=3, batch_size=16, seed=3)
    weights, before = alone.model.state_dict(), merged.model.state_dict()
    assert len(first) < len(weights), "tied weights are there once"
    moved = max(float((weights[name] - before[name]).abs().max()) for name in first)
    for name, found in first.items():
        torch.testing.assert_close(found, weights[name], rtol=0, atol=0.1 * moved)

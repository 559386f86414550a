"""How long a folder takes to open and what it needs of memory, against plain `from_pretrained`.

    python -m benchmarks.opening [--type bfloat16] [--layers 24]

A GPT-2 of about 1.5 GB with random weights is written to a temporary folder. Each way of opening it
runs in a process of its own, with the libraries imported before the clock starts. The proof, the
comparison with the file and the fingerprint are part of ours.

transformers maps a float32 file into memory and has read nothing of it when it returns. So plain
`from_pretrained` stands here twice: as it returns, and once every weight was used. The targets are
of the second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.timing import machine

TIME, MEMORY = 1.3, 1.15
REPEATS = 3


@dataclass(frozen=True)
class Opened:
    """What a process took: wall time and processor time in seconds, the peak of memory in bytes."""

    seconds: float
    processor: float
    peak: int


def plain(folder: str) -> None:
    """transformers alone, in float32 as here; nothing of a float32 file is read yet."""
    from transformers import GPT2LMHeadModel

    GPT2LMHeadModel.from_pretrained(folder, dtype="float32")


def plain_used(folder: str) -> None:
    """The same, and every weight is used once."""
    from transformers import GPT2LMHeadModel

    for parameter in GPT2LMHeadModel.from_pretrained(folder, dtype="float32").parameters():
        parameter.detach().sum()


def ours(folder: str) -> None:
    import ffmerge_core as fm

    fm.load(folder)


WAYS: dict[str, Callable[[str], None]] = {
    "from_pretrained": plain,
    "from_pretrained, weights used": plain_used,
    "ffmerge_core.load": ours,
}


def one(way: str, folder: str) -> None:
    """Open the folder in this process and print what it took."""
    import resource

    from transformers import GPT2LMHeadModel

    from ffmerge_core.sources.loading import load

    assert GPT2LMHeadModel, load
    start, before = time.perf_counter(), time.process_time()
    WAYS[way](folder)
    took = time.perf_counter() - start, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([*took, peak * (1 if sys.platform == "darwin" else 1024)]))


def called(*arguments: str) -> str:
    """What this script prints in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.opening", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def measured(way: str, folder: Path) -> Opened:
    """The quickest of some processes: others on this machine only ever add."""
    found = []
    for _ in range(REPEATS):
        found.append(Opened(*json.loads(called("--one", way, str(folder)).splitlines()[-1])))
    return Opened(
        min(each.seconds for each in found),
        min(each.processor for each in found),
        min(each.peak for each in found),
    )


def write(folder: str, dtype: str, layers: str) -> None:
    """A GPT-2 with random weights."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_layer=int(layers), n_embd=1024, n_head=16)
    GPT2LMHeadModel(config).to(getattr(torch, dtype)).save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--type", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--layers", type=int, help="24 make 1.4 GB in float32")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        one(*asked.one)
        return
    if asked.write is not None:
        write(*asked.write)
        return
    with tempfile.TemporaryDirectory() as place:
        layers = asked.layers or (24 if asked.type == "float32" else 50)
        # This process stays small: the peak of one that starts another is counted as that one's.
        called("--write", place, asked.type, str(layers))
        size = (Path(place) / "model.safetensors").stat().st_size
        print(f"{machine()}\n{size / 1e9:.2f} GB in {asked.type}, {layers} layers\n")
        found = {way: measured(way, Path(place)) for way in WAYS}
    print(f"{'':<32}{'seconds':>9}{'processor':>11}{'peak GB':>9}")
    for way, took in found.items():
        print(f"{way:<32}{took.seconds:9.2f}{took.processor:11.2f}{took.peak / 1e9:9.2f}")
    reference, here = found["from_pretrained, weights used"], found["ffmerge_core.load"]
    print(f"\nratios to the second: {here.seconds / reference.seconds:.2f} × the time", end="")
    print(f" (at most {TIME}), {here.processor / reference.processor:.2f} × the processor", end="")
    print(f", {here.peak / reference.peak:.2f} × the peak of memory (at most {MEMORY})")


if __name__ == "__main__":
    main()

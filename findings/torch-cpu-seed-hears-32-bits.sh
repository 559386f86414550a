#!/usr/bin/env bash
# torch 2.13.0, CPU: a generator takes and reports 64-bit seeds, but draws by the lowest 32 bits.
# Seeds that are 2^32 apart give the same numbers, so a larger number added to a seed to keep two
# draws apart (one a layer, one a stack, one a process) may add nothing. No warning is given.
# Seen: equal draws for 7 and 7 + 2^32; initial_seed() tells the two apart.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
"$place/venv/bin/python" - <<'PYTHON'
import torch

print("torch", torch.__version__)
low, high = 7, 7 + 2**32
one, other = (torch.Generator().manual_seed(seed) for seed in (low, high))
assert one.initial_seed() == low and other.initial_seed() == high, "the seeds are told apart"
draws = [torch.randn(1000, generator=each) for each in (one, other)]
print("seeds", low, "and", high, "draw alike:", torch.equal(*draws))
assert torch.equal(*draws), "the draws differ now: all 64 bits are heard"
near = torch.randn(1000, generator=torch.Generator().manual_seed(low + 1))
assert not torch.equal(draws[0], near), "seeds that are 1 apart draw alike"
print("as found")
PYTHON

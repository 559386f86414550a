"""How large a model is: the bytes of its weights, on disk, and held while a batch runs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch

from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.storage.checkpoint import save
from ffmerge_core.storage.placing import called
from ffmerge_core.tasks.batch import eval_mode


@dataclass(frozen=True)
class Footprint:
    """All in bytes, a tied tensor once.

    weights: as they are held. disk: of the compact layout's weights. peak: the most that is held
    while the first batch of the validation split runs: the weights and what the pass makes.
    """

    weights: int
    disk: int
    peak: int


def footprint(model: LoadedModel) -> Footprint:
    """Counted, not sampled: the same on every machine that runs the same operators."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        with called(folder, "a temporary folder"):
            saved = save(model, folder).folder
        disk = sum(path.stat().st_size for path in saved.glob("*.safetensors"))
    return Footprint(model.weight_bytes, disk, model.weight_bytes + _made_in_a_pass(model))


def _made_in_a_pass(model: LoadedModel) -> int:
    """Bytes that a forward pass has allocated at its highest, by torch's profiler."""
    batch = next(iter(model.require_task().inputs("validation")))
    with (
        eval_mode(model.model),
        torch.inference_mode(),
        torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as profile,
    ):
        batch.run(model.model)
    # `events()` adds them up by operator, which loses their order.
    assert profile.profiler is not None
    made = sorted(
        (event.start_ns(), event.nbytes())
        for event in profile.profiler.kineto_results.events()
        if event.name() == "[memory]"
    )
    return max(accumulate(n_bytes for _, n_bytes in made), default=0)

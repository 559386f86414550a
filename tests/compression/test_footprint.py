"""Sizes of a model: each counted by itself, a tied tensor once."""

import torch
from torch import Tensor, nn

import ffmerge_core as fm
from ffmerge_core.compression.footprint import footprint
from ffmerge_core.tasks.batch import eval_mode


def largest(model: fm.LoadedModel) -> int:
    """Bytes of the largest tensor that a module returns in a pass of the first batch."""
    seen: list[int] = []

    def look(module: nn.Module, given: object, output: object) -> None:
        if isinstance(output, Tensor):
            seen.append(output.numel() * output.element_size())

    hooks = [part.register_forward_hook(look) for part in model.model.modules()]
    batch = next(iter(model.require_task().inputs("validation")))
    with eval_mode(model.model), torch.inference_mode():
        batch.run(model.model)
    for hook in hooks:
        hook.remove()
    return max(seen)


def test_tied_weights_are_held_and_written_once() -> None:
    model = fm.load("demo:vit-digits")
    merged = fm.apply(
        model, fm.MergePlan((("encoder.3", "encoder.4", "encoder.5"),), method="vanilla")
    )
    before, after = footprint(model), footprint(merged)
    saved = 4 * (model.n_parameters - merged.n_parameters)
    assert before.weights == 4 * model.n_parameters
    assert before.weights - after.weights == saved
    # The files' heads differ by the names of what is gone.
    assert saved <= before.disk - after.disk < saved + 3_000
    assert after.weights < after.disk < after.weights + 30_000
    assert before.peak - after.peak == saved, "the pass itself holds as much: it does the same"


def test_the_peak_has_room_for_the_largest_tensor_and_repeats() -> None:
    model = fm.load("demo:vit-digits")
    size = footprint(model)
    made, least = size.peak - size.weights, largest(model)
    assert 2 * least < made < 10 * least, "an FF sublayer's hidden layer, and little beside it"
    assert footprint(model) == size


def test_int8_weights_are_smaller_in_memory_and_on_disk() -> None:
    model = fm.load("demo:vit-digits")
    whole, small = footprint(model), footprint(fm.quantize(model))
    assert small.weights < 0.3 * whole.weights
    assert small.disk < 0.35 * whole.disk
    saved = whole.weights - small.weights
    assert whole.peak - small.peak <= saved, "each pass turns them back, a matrix at a time"

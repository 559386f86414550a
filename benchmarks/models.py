"""Load, calibrate, compare, merge and score: the demos, and models of GPT-2's and ViT-B's size.

    python -m benchmarks.models [--only NAME]

The large models have random weights, made from their configurations: what they compute means
nothing, what it takes does. Each step stands beside a reference from the same run: the bare
forward pass of the same data, or the step's floor (operations over the matrix rate measured
here, or bytes over the measured rate of a copy). On a shared machine compare ratios.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice

import timm
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import ffmerge_core as fm
from benchmarks.timing import Row, copy_rate, machine, matrix_rate, once, print_table, seconds
from ffmerge_core import demos
from ffmerge_core.demos.files import read_tokenizer
from ffmerge_core.demos.gpt2_code.model import FOLDER as CODE
from ffmerge_core.demos.gpt2_code.model import code_task
from ffmerge_core.demos.vit_digits.data import digits_task
from ffmerge_core.tasks.batch import Batch
from ffmerge_core.tasks.images import LabelledImages
from ffmerge_core.tasks.task import Task

TOKENS = 10_000
GROUP = 5  # FF sublayers merged, from the second on: 4 removed
IMAGES = 32  # of the digits' validation split, for the large vision model
CHARACTERS = 24_000  # of the validation text, for the large language model


def gpt2_size() -> tuple[nn.Module, Task]:
    """GPT-2 (124 million), random; its data are the demo's, its context 1,024 tokens."""
    torch.manual_seed(0)
    task = code_task(read_tokenizer(CODE))
    short = dict(task.texts)
    short["validation"] = (" ".join(task.texts["validation"])[:CHARACTERS],)
    model = GPT2LMHeadModel(GPT2Config()).eval()
    return model, replace(task, texts=short, context=1024, _streams={})


def vit_b_size() -> tuple[nn.Module, Task]:
    """ViT-B/16 at 224×224 (86 million), random; its data are the digits, enlarged."""
    torch.manual_seed(0)
    task = digits_task().fitted_to(3, 224)
    few = task.splits["validation"]
    splits = dict(task.splits)
    splits["validation"] = LabelledImages(few.images[:IMAGES], few.labels[:IMAGES])
    model = timm.create_model("vit_base_patch16_224", num_classes=10).eval()
    return model, replace(task, splits=splits)


def opened(name: str) -> Callable[[], fm.LoadedModel]:
    if name in demos.names():
        return partial(fm.load, f"{demos.PREFIX}{name}")
    module, task = {"gpt2-124m": gpt2_size, "vit-b": vit_b_size}[name]()
    return partial(fm.load, module, task=task)


def rows(name: str, flops_a_second: float, bytes_a_second: float) -> list[Row]:
    load = opened(name)
    model = load()
    # Medians where a step is short; a large model's steps are long enough to be told once.
    timed = seconds if model.n_parameters < 10_000_000 else once
    task, stack = model.require_task(), model.stacks[-1]
    layers = [sublayer for sublayer in model.sublayers if sublayer.stack == stack]
    plan = fm.MergePlan((tuple(sublayer.name for sublayer in layers[1 : 1 + GROUP]),))
    calls: list[object] = []  # calibrate reports once a batch
    feats = fm.calibrate(model, TOKENS, report=lambda *call: calls.append(call))
    batches = list(islice(task.calibration(0), len(calls)))
    pairs = len(layers) * (len(layers) + 1) // 2
    cka_flops = 2 * pairs * feats.n_tokens * layers[0].d_model ** 2
    # Correlations of the anchor with each other member; the assignment has no floor here.
    merge_flops = 2 * (GROUP - 1) * feats.n_tokens * layers[0].d_ff ** 2
    return [
        Row(f"load {model.n_parameters:,} parameters", timed(load),
            "read the weights", model.weight_bytes / bytes_a_second),
        # A pair's match is kept, so this is timed once, and first.
        Row(f"merge {GROUP} sublayers of d_ff {layers[0].d_ff}",
            once(lambda: fm.apply(model, plan, feats)), "floor", merge_flops / flops_a_second),
        Row(f"calibrate {feats.n_tokens:,} tokens", timed(lambda: fm.calibrate(model, TOKENS)),
            "bare forward pass", timed(lambda: forward(model, batches))),
        Row(f"similarity of {len(layers)} FF outputs",
            timed(lambda: fm.similarity_matrix(feats, stack=stack)),
            "floor", cka_flops / flops_a_second),
        Row(f"score {task.size('validation')} {task.examples}",
            timed(lambda: fm.evaluate(model)), "bare forward pass",
            timed(lambda: forward(model, list(task.inputs("validation"))))),
    ]  # fmt: skip


def forward(model: fm.LoadedModel, batches: list[Batch]) -> None:
    with torch.inference_mode():
        for batch in batches:
            batch.run(model.model)


def main() -> None:
    names = (*demos.names(), "gpt2-124m", "vit-b")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=names, action="append")
    chosen = parser.parse_args().only or names
    flops_a_second, bytes_a_second = matrix_rate(), copy_rate()
    print(
        f"{machine()}; float32 matrix product {flops_a_second / 1e9:.0f} GFLOP/s, "
        f"copy {bytes_a_second / 1e9:.1f} GB/s"
    )
    for name in chosen:
        print(f"\n{name}")
        print_table(rows(name, flops_a_second, bytes_a_second))


if __name__ == "__main__":
    main()

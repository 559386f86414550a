"""Trains the demo and writes its weights and card.

    python -m ffmerge_core.demos.vit_digits.train --out some/folder

Gradients come from the training split, the epoch is chosen by the validation loss, and
the test split is scored once, at the end. One seed gives one model on one machine and
one version of torch. A script that stands on the whole package; nothing imports it.
"""

from __future__ import annotations

import argparse
import copy
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ffmerge_core.demos.describe import describe, in_words
from ffmerge_core.demos.files import WEIGHTS
from ffmerge_core.demos.vit_digits.data import digits_task
from ffmerge_core.demos.vit_digits.model import FOLDER, build
from ffmerge_core.reporting.folders import write_atomically
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.image_classification import ImageClassification

EPOCHS = 100
SEED = 0
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
WARM_UP = 0.1  # share of the steps
EMA_DECAY = 0.995
GRADIENT_NORM = 1.0
EPOCHS_A_CHECK = 5

# Largest distortions, drawn evenly: radians, share of the size, shear, share of half the width.
ROTATION, SCALING, SHEAR, SHIFT = 0.2, 0.1, 0.1, 0.15
ELASTIC = 0.05  # standard deviation of a 3×3 grid of displacements, in half widths


@dataclass(frozen=True, eq=False)
class Trained:
    """The weights (averaged over steps) with the lowest validation loss."""

    model: nn.Module
    epoch: int
    seconds: float


def train(task: ImageClassification, epochs: int, seed: int) -> Trained:
    """Train from scratch; prints a line a check."""
    torch.manual_seed(seed)
    started = time.perf_counter()
    model = build()
    ema = get_ema_multi_avg_fn(EMA_DECAY)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=ema)
    steps = epochs * (task.size("train") // BATCH_SIZE)
    optimiser, schedule = _optimiser(model, steps)
    best_loss, best_epoch, best_model = float("inf"), 0, model
    for epoch in range(1, epochs + 1):
        model.train()
        for images, labels in _batches(task):
            loss = functional.cross_entropy(model(task.normalised(distorted(images))), labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
            optimiser.step()
            schedule.step()
            averaged.update_parameters(model)
        if epoch % EPOCHS_A_CHECK and epoch != epochs:
            continue
        checked = task.evaluate(averaged.module, "validation")
        seconds = time.perf_counter() - started
        print(
            f"epoch {epoch:3}  training loss {loss.item():.3f}  validation loss "
            f"{checked.loss:.4f}  accuracy {checked.value:.4f}  {seconds:.0f} s",
            flush=True,
        )
        if checked.loss < best_loss:
            best_loss, best_epoch = checked.loss, epoch
            best_model = copy.deepcopy(averaged.module)
    return Trained(best_model.eval(), best_epoch, time.perf_counter() - started)


def distorted(images: Tensor) -> Tensor:
    """Handwriting varied: each of (n, 1, h, w) turned, scaled, sheared, shifted and bent a little.

    Simard, Steinkraus & Platt, "Best Practices for Convolutional Neural Networks Applied
    to Visual Document Analysis", ICDAR 2003.
    """
    n, _, height, width = images.shape

    def drawn(largest: float) -> Tensor:
        return (2 * torch.rand(n) - 1) * largest

    angle, wide, high = drawn(ROTATION), 1 + drawn(SCALING), 1 + drawn(SCALING)
    across = torch.stack(
        [angle.cos() * wide, drawn(SHEAR) - angle.sin() * wide, drawn(SHIFT)], dim=1
    )
    down = torch.stack([angle.sin() * high, angle.cos() * high, drawn(SHIFT)], dim=1)
    grid = functional.affine_grid(
        torch.stack([across, down], dim=1), list(images.shape), align_corners=False
    )
    bend = functional.interpolate(
        torch.randn(n, 2, 3, 3) * ELASTIC, size=(height, width), mode="bicubic", align_corners=True
    )
    return functional.grid_sample(images, grid + bend.permute(0, 2, 3, 1), align_corners=False)


def told(trained: Trained, task: ImageClassification, seed: int, epochs: int) -> dict[str, Any]:
    """What the card says that its weights do not."""
    splits: tuple[Split, ...] = ("train", "validation", "test")
    return {
        "name": "vit-digits",
        "title": "Vision transformer on handwritten digits",
        "description": (
            "A 12-block vision transformer that tells the digits 0 to 9 apart on images of "
            "8×8 pixels."
        ),
        "data": (
            "UCI Optical Recognition of Handwritten Digits, by way of scikit-learn: 1,797 images "
            "of 8×8 pixels with 17 grey levels, written by 13 people"
        ),
        "data_licence": "CC BY 4.0",
        "weights_licence": "MIT",
        "splits": {split: task.size(split) for split in splits},
        "unit": task.examples,
        "training_command": (
            f"python -m ffmerge_core.demos.vit_digits.train --epochs {epochs} --seed {seed}"
        ),
        "training_time": f"{trained.seconds / 60:.0f} minutes on one thread",
        "training_note": "",
        "seed": seed,
        "kept": f"epoch {trained.epoch} kept",
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "timm", "scikit-learn")},
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the digits demo; write weights and card.")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()

    # Matrices this small gain nothing from a second thread, and one keeps sums in one order.
    torch.set_num_threads(1)
    task = digits_task()
    trained = train(task, options.epochs, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out / WEIGHTS, save(trained.model.state_dict()))
    known = told(trained, task, options.seed, options.epochs)
    print(in_words(describe("vit-digits", options.out, known)))


def _batches(task: ImageClassification) -> Iterator[tuple[Tensor, Tensor]]:
    examples = task.splits["train"]
    for chosen in torch.split(torch.randperm(len(examples)), BATCH_SIZE):
        # A smaller last batch is left out, so that every step weighs its examples alike.
        if len(chosen) == BATCH_SIZE:
            yield examples.images[chosen], examples.labels[chosen]


def _optimiser(
    model: nn.Module, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW that decays matrices only, with a warm-up and a cosine over all steps."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP
    )
    return optimiser, schedule


if __name__ == "__main__":
    main()

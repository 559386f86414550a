"""What training a small transformer takes: optimisers, a learning rate, checkpoints.

The text demos (this one and marian-en-fr) share it.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load_model, save_file, save_model
from torch import Tensor, nn

from ffmerge_core.demos.files import WEIGHTS
from ffmerge_core.demos.gpt2_code.muon import Muon

WARM_UP = 50  # steps
WEIGHT_DECAY = 0.1
GRADIENT_NORM = 1.0
STEPS_A_CHECK = 100
CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"

Model = TypeVar("Model", bound=nn.Module)


class Training(Generic[Model]):
    """A model, its optimisers and how far they are.

    Muon takes the matrices inside the blocks, AdamW everything else.
    done: steps. cpu_seconds: of this process and those it goes on from. best: the lowest
    validation figure so far, at step best_step.
    """

    def __init__(
        self,
        model: Model,
        blocks: Iterable[nn.Module],
        muon_rate: float,
        adam_rate: float,
        inputs_first: bool,
    ) -> None:
        self.model = model
        matrices = [each for block in blocks for each in block.parameters() if each.ndim == 2]
        chosen = {id(each) for each in matrices}
        self.rest = [
            each for each in model.parameters() if each.requires_grad and id(each) not in chosen
        ]
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "muon": Muon(matrices, muon_rate, 0.95, WEIGHT_DECAY, inputs_first),
            "adam": torch.optim.AdamW(
                self.rest, lr=adam_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True
            ),
        }
        self.rates = {"muon": muon_rate, "adam": adam_rate}
        self.done = 0
        self.best, self.best_step = math.inf, 0
        self._cpu_before = -time.process_time()

    @property
    def cpu_seconds(self) -> float:
        return self._cpu_before + time.process_time()

    def run(
        self,
        steps: int,
        decay: int,
        loss_of: Callable[[int], Tensor],
        check: Callable[[], float],
        folder: Path,
        say: Callable[[str], object],
    ) -> None:
        """Train until `steps` are done; the model ends with the best weights by `check`.

        decay: steps, the last ones, over which the learning rate falls to zero.
        loss_of: the loss of step n's batch, on the training split. check: a figure of the
        validation split, the lower the better. folder: gets the checkpoint, and the best
        weights so far. say: given a line a check.
        """
        if (folder / CHECKPOINT).exists():
            self._resume(folder / CHECKPOINT)
        losses: list[float] = []
        while self.done < steps:
            losses.append(self._step(loss_of(self.done), learning_rate(self.done, steps, decay)))
            if self.done % STEPS_A_CHECK and self.done != steps:
                continue
            checked = check()
            say(
                f"step {self.done:5}  training loss {sum(losses) / len(losses):.4f}  "
                f"validation {checked:.4f}  {self.cpu_seconds:.0f} CPU s"
            )
            losses.clear()
            if checked < self.best:
                self.best, self.best_step = checked, self.done
                replace(folder / BEST, lambda path: save_model(self.model, str(path)))
            self._save(folder / CHECKPOINT)
        load_model(self.model, folder / BEST)

    def _step(self, loss: Tensor, share: float) -> float:
        for kind, optimiser in self.optimisers.items():
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = self.rates[kind] * share
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.rest, GRADIENT_NORM)
        for optimiser in self.optimisers.values():
            optimiser.step()
        self.done += 1
        return loss.item()

    def _save(self, path: Path) -> None:
        tensors = {f"model/{name}": each for name, each in _weights(self.model).items()}
        for kind, optimiser in self.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"{kind}/{index}/{key}": each for key, each in state.items()}
        facts = {
            "done": self.done,
            "cpu_seconds": self.cpu_seconds,
            "best": self.best,
            "best_step": self.best_step,
        }
        metadata = {key: repr(value) for key, value in facts.items()}
        replace(path, lambda temporary: save_file(tensors, temporary, metadata))

    def _resume(self, path: Path) -> None:
        with safe_open(path, "pt") as file:
            facts: Mapping[str, str] = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.done, self.best_step = int(facts["done"]), int(facts["best_step"])
        self.best = float(facts["best"])
        self._cpu_before += float(facts["cpu_seconds"])
        for name, weight in _weights(self.model).items():
            weight.copy_(tensors[f"model/{name}"])
        for kind, optimiser in self.optimisers.items():
            state: dict[str, Any] = optimiser.state_dict()
            for key, value in tensors.items():
                owner, index, *part = key.split("/")
                if owner == kind:
                    state["state"].setdefault(int(index), {})[part[0]] = value
            optimiser.load_state_dict(state)


def learning_rate(done: int, steps: int, decay: int) -> float:
    """Share of the highest rate: up in a line, level, then down in a line to zero.

    The level part is the same for any number of steps, so a training that turns out slower
    or faster than thought can be stopped and gone on with towards another number.
    """
    return min(1.0, (done + 1) / WARM_UP, (steps - done) / decay)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Every trained parameter once, by name: a tied head is the embedding."""
    return {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def training_options(about: str, folder: Path, steps: int, decay: int) -> argparse.Namespace:
    """What a training script is asked on the command line; makes its folders."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, default=folder, help="folder to write to")
    parser.add_argument("--work", type=Path, help="folder for checkpoints; --out unless given")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--decay", type=int, default=decay, help="steps, the last ones")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work = options.work or options.out
    for each in (options.out, options.work):
        each.mkdir(parents=True, exist_ok=True)
    return options


def export(model: nn.Module, folder: Path) -> None:
    """Write the model's weights in half precision."""
    halved = copy.deepcopy(model).half()
    replace(folder / WEIGHTS, lambda path: save_model(halved, str(path)))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path`, then rename, so that a reader never sees half a file."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    os.replace(temporary, path)

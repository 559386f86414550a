"""The loop of a recovery, on accelerate: one GPU, several or none, by the same lines."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn

from ffmerge_core.compression.resuming import Checkpoint
from ffmerge_core.errors import Cancelled, DataError, Interrupted, ProofError
from ffmerge_core.models.ties import ties
from ffmerge_core.plan import Curve, CurvePoint, Recovery, Stopped
from ffmerge_core.progress import Report
from ffmerge_core.tasks.batch import IGNORED, Batch, eval_mode
from ffmerge_core.tasks.outputs import divergence, logits_in, output_of
from ffmerge_core.tasks.task import Task

WEIGHT_DECAY = 0.01
GRADIENT_NORM = 1.0
PATIENCE = 3  # checks without gain
# A validation loss this many times the start's, and rising, has diverged.
_BEYOND = 2.0


class Training:
    """A recovery under way. It trains `student` in place; nothing else changes."""

    def __init__(
        self,
        student: nn.Module,
        task: Task,
        recovery: Recovery,
        seed: int,
        teacher: nn.Module | None,
        checkpoint: Checkpoint | None,
    ) -> None:
        from accelerate import Accelerator

        self._student, self._task, self._recovery = student, task, recovery
        self._seed, self._checkpoint = seed, checkpoint
        self._ties = ties(student)
        self._accelerator = Accelerator()
        # Before the optimiser is made: on a GPU its state must follow the weights there.
        student.to(self._accelerator.device)
        self._teacher = teacher and copy.deepcopy(teacher).to(self._accelerator.device)
        self._adamw = _adamw(student)
        self._prepared, self._optimiser = self._accelerator.prepare(student, self._adamw)
        self._step = 0
        self._points: list[CurvePoint] = []
        self._losses: list[float] = []  # of the steps since the last point
        self._best: dict[str, Tensor] = {}
        self._stopped: Stopped | None = None

    def run(self, report: Report) -> Curve:
        """Train to the end and leave the best weights in the student.

        Cancelled after the first score, it ends with the best so far. Interrupted, it writes
        its checkpoint and raises on. A step whose score was due and did not come counts as not
        taken, so that `Recovery.until` says all that is needed to make the same curve again.
        """
        self._resume()
        batches = self._batches()
        # A step's dropout follows from its number, so that a resumed run draws the same.
        with torch.random.fork_rng(self._forked):
            try:
                while self._stopped is None:
                    if self._unscored:
                        self._check(report)
                    elif self._step == self._recovery.until:
                        self._stopped = "cancelled"
                    else:
                        self._train(next(batches), report)
            except Cancelled as error:
                if not self._points:
                    raise
                self._save()
                if isinstance(error, Interrupted):
                    raise
                if self._stopped is None:
                    self._stopped = "cancelled"
                    self._step -= self._unscored
        self._set(self._best)
        self._student.cpu().eval()
        assert self._stopped is not None
        best = min(self._points, key=lambda point: point.loss)
        return Curve(
            metric=self._task.metric,
            points=tuple(self._points),
            steps=self._step,
            asked=self._recovery.steps,
            best_step=best.step,
            stopped=self._stopped,
        )

    @property
    def _unscored(self) -> bool:
        """Whether a score is due after the steps that were taken."""
        due = self._step % self._recovery.interval == 0 or self._step == self._recovery.steps
        return due and (not self._points or self._points[-1].step < self._step)

    @property
    def _forked(self) -> list[torch.device]:
        device = self._accelerator.device
        return [device] if device.type == "cuda" else []

    def _batches(self) -> Iterator[Batch]:
        """From where the training is; with several processes, each takes its turn."""
        of = self._accelerator
        every = self._task.training(self._seed, self._recovery.batch_size)
        first = self._step * of.num_processes + of.process_index
        return islice(every, first, None, of.num_processes)

    def _train(self, batch: Batch, report: Report) -> None:
        """One step of the optimiser, or the end if the loss is not finite."""
        of = self._accelerator
        number = (self._seed * 1_000_003 + self._step) * 1009 + of.process_index
        torch.manual_seed(number % 2**63)
        self._prepared.train()
        for group in self._adamw.param_groups:
            group["lr"] = self._recovery.rate(self._step)
        loss = self._loss(batch.to(of.device))
        value = float(of.reduce(loss.detach(), "mean"))
        if not torch.isfinite(torch.tensor(value)):
            self._stopped = "diverged"
            return
        self._optimiser.zero_grad()
        of.backward(loss)
        of.clip_grad_norm_(self._prepared.parameters(), GRADIENT_NORM)
        self._optimiser.step()
        self._step += 1
        self._losses.append(value)
        self._tell(report, {"training loss": value})

    def _loss(self, batch: Batch) -> Tensor:
        """Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015."""
        output = output_of(self._prepared, batch, self._task.data)
        loss = self._task.loss(output, batch)
        if self._teacher is None:
            return loss
        assert batch.targets is not None
        with eval_mode(self._teacher), torch.no_grad():
            taught = logits_in(output_of(self._teacher, batch, self._task.data))
        return (loss + divergence(taught, logits_in(output), batch.targets != IGNORED)) / 2

    def _check(self, report: Report) -> None:
        """Score on the validation split; keep the best; decide whether to go on."""

        def listen(step: int, total: int, message: str, values: object = None) -> None:
            self._tell(report, {})

        try:
            score = self._task.evaluate(self._scored(), "validation", listen)
        except DataError:
            if not self._points:
                raise
            # It ran on this data before: its logits are no longer finite.
            self._stopped = "diverged"
            return
        seen = sum(self._losses) / len(self._losses) if self._losses else None
        point = CurvePoint(self._step, seen, score.loss, score.value)
        if all(point.loss < earlier.loss for earlier in self._points):
            self._best = self._weights()
        self._points.append(point)
        self._losses.clear()
        self._stopped = self._verdict()
        self._save()
        self._tell(report, {"validation loss": score.loss, score.metric: score.value})

    def _verdict(self) -> Stopped | None:
        losses = [point.loss for point in self._points]
        if len(losses) > 1 and losses[-1] > max(_BEYOND * losses[0], losses[-2]):
            return "diverged"
        if self._step == self._recovery.steps:
            return "finished"
        # The start is no rival here: a warm-up often costs something before it gains.
        since = losses[1:]
        without_gain = len(since) - 1 - since.index(min(since)) if since else 0
        return "no gain" if without_gain >= PATIENCE else None

    def _scored(self) -> nn.Module:
        """The student where tasks score: on the CPU."""
        if self._accelerator.device.type == "cpu":
            return self._student
        return copy.deepcopy(self._student).cpu()

    def _tell(self, report: Report, values: dict[str, float]) -> None:
        total = self._recovery.last
        report(self._step, total, f"step {self._step} of {total}", values)

    def _trained(self) -> dict[str, Tensor]:
        """Everything that training changes, a tied parameter once."""
        parameters = self._student.named_parameters()
        return dict(
            chain(
                ((name, each) for name, each in parameters if each.requires_grad),
                self._student.named_buffers(),
            )
        )

    def _weights(self) -> dict[str, Tensor]:
        # Copies even where they lie on the CPU already: the next step changes those in place.
        return {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self._trained().items()
        }

    def _set(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self._trained().items():
                tensor.copy_(weights[name])

    def _save(self) -> None:
        if ties(self._student) != self._ties:
            raise ProofError("Training untied weights that were tied; nothing of it is kept.")
        if self._checkpoint is None or not self._accelerator.is_main_process:
            return
        tensors = {f"now.{name}": tensor for name, tensor in self._weights().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        for name, parameter in self._trained().items():
            for key, value in self._adamw.state.get(parameter, {}).items():
                tensors[f"adamw.{key}.{name}"] = value.detach().cpu()
        state: dict[str, Any] = {
            "step": self._step,
            "points": [asdict(point) for point in self._points],
            "losses": self._losses,
            "stopped": self._stopped,
        }
        self._checkpoint.write(state, tensors)

    def _resume(self) -> None:
        found = self._checkpoint.read() if self._checkpoint else None
        if found is None:
            return
        state, tensors = found
        self._step, self._losses, self._stopped = state["step"], state["losses"], state["stopped"]
        self._points = [CurvePoint(**point) for point in state["points"]]
        trained = self._trained()
        self._best = {name: tensors[f"best.{name}"] for name in trained}
        self._set({name: tensors[f"now.{name}"] for name in trained})
        for name, parameter in trained.items():
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if (value := tensors.get(f"adamw.{key}.{name}")) is not None:
                    kept = value if key == "step" else value.to(parameter.device)
                    self._adamw.state[parameter][key] = kept


def _adamw(model: nn.Module) -> torch.optim.AdamW:
    """Decay on matrices alone."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]
    vectors = [parameter for parameter in trained if parameter.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": vectors, "weight_decay": 0.0},
        ]
    )

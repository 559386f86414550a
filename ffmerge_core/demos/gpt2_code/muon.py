"""Muon: momentum whose steps are made orthogonal, for the matrices inside the blocks.

Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
A tiny transformer gets further with it per second of processor time than with AdamW.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

# The quintic of Jordan's post: pushes every singular value towards 1 within five rounds.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """For 2-D parameters only, all stored outputs × inputs, or all inputs × outputs.

    A matrix three times as wide as high is three side by side: GPT-2 packs query, key and
    value so.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        lr: float,
        momentum: float,
        weight_decay: float,
        inputs_first: bool,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(matrices, defaults)
        self.inputs_first = inputs_first

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            # Matrices of one shape are orthogonalised together: few large products.
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                for target, part in zip(_unpacked(parameter), _unpacked(update), strict=True):
                    by_shape[part.shape].append((target, part))
            for (rows, columns), pairs in by_shape.items():
                steps = orthogonalised(torch.stack([part for _, part in pairs]))
                widening = columns / rows if self.inputs_first else rows / columns
                rate = group["lr"] * max(1.0, widening) ** 0.5
                for (target, _), step in zip(pairs, steps, strict=True):
                    target.sub_(step, alpha=rate)


def orthogonalised(matrices: Tensor) -> Tensor:
    """(n, rows, columns): each with its singular values moved close to 1 (about 0.7 to 1.2)."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result


def _unpacked(matrix: Tensor) -> tuple[Tensor, ...]:
    rows, columns = matrix.shape
    return torch.split(matrix, rows, dim=1) if columns == 3 * rows else (matrix,)

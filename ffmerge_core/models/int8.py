"""Weights kept as int8: where they go in a model, and what they are made of.

A quantised weight is torchao's Int8Tensor: `qdata` (int8, of the weight's shape) times
`scale` (float32, (rows, 1)). Where a plain tensor is called "….weight", its two parts are
called "….weight.qdata" and "….weight.scale". What "llm.int8" keeps is the same: it computes
otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ffmerge_core.errors import FFMergeError
from ffmerge_core.extras import require
from ffmerge_core.kinds import resolve
from ffmerge_core.models.families import Family
from ffmerge_core.models.structure import is_int8, parts, shared_copy, weights_by_role
from ffmerge_core.models.sublayers import FFSublayer
from ffmerge_core.plan import QUANTIZATIONS

# Inputs with an entry beyond this are multiplied in floating point (Dettmers et al., 2022).
OUTLIER = 6.0

# bitsandbytes logs at every multiplication that float32 is rounded by way of float16, and at its
# import that there are faster kernels for 4 bits.
for _name, _said in (
    ("bitsandbytes.autograd._functions", "inputs will be cast"),
    ("bitsandbytes.backends.cpu.ops", "gemm_4bit_forward"),
):
    logging.getLogger(_name).addFilter(
        lambda record, said=_said: said not in record.getMessage()  # type: ignore[misc]
    )


class LLMInt8Linear(nn.Linear):
    """A Linear with an int8 weight that rounds its inputs to int8 as well, row by row.

    Features of the input with an outlier stay floating-point, with the weights that they meet.
    By bitsandbytes: fast on CUDA, slow elsewhere. Dettmers et al., "LLM.int8()", 2022.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (…, columns) → (…, rows)."""
        import bitsandbytes

        weight: Any = self.weight
        state = bitsandbytes.MatmulLtState()
        state.has_fp16_weights, state.threshold = False, OUTLIER
        # In training it would leave the inputs alone, on a CPU.
        state.is_training = False
        # What is int8 is 127ths of the scale there.
        state.CB, state.SCB = weight.qdata, 127 * weight.scale.flatten()
        flat = x.reshape(-1, x.shape[-1])
        y: Tensor = bitsandbytes.matmul(flat, weight.qdata, bias=self.bias, state=state)
        return y.reshape(*x.shape[:-1], -1)


def check_installed(how: str, error: type[FFMergeError]) -> None:
    """Raise `error` if what computes with such weights is not there."""
    for package in QUANTIZATIONS.of(how).requires:
        require(package, how, error)


def lay_out_int8(
    module: nn.Module,
    family: Family,
    sublayers: Sequence[FFSublayer],
    make: Callable[[Tensor], nn.Parameter],
    how: str = "int8",
) -> tuple[FFSublayer, ...]:
    """Put int8 weights into the blocks of `module`, in place; the FF sublayers as they lie then.

    make: a weight (rows, columns) → its int8 parameter; called once for each weight, so tied
    weights stay one object. Every Linear outside embeddings and head is changed, and every
    Conv1D becomes a Linear: torchao knows those alone.
    """
    linear = QUANTIZATIONS.of(how).linear
    made: dict[int, tuple[Tensor, nn.Parameter]] = {}
    for path in _matrices(module, family):
        matrix: Any = module.get_submodule(path)
        weight, transposed = matrix.weight, not isinstance(matrix, nn.Linear)
        plain = weight.detach()
        if id(weight) not in made:
            # With the old weight beside it, no other can take its id while this runs.
            made[id(weight)] = weight, make(plain.T.contiguous() if transposed else plain)
        if transposed or linear is not None:
            kind = nn.Linear if linear is None else resolve(linear)
            matrix = _linear(matrix, plain.T if transposed else plain, cast(type[nn.Linear], kind))
            module.set_submodule(path, matrix)
        matrix.weight = made[id(weight)][1]
    return tuple(replace(sublayer, transposed=False) for sublayer in sublayers)


def rounded(weight: Tensor) -> nn.Parameter:
    """A weight (rows, columns) as int8: symmetric, one scale a row, rounded to the nearest."""
    from torchao.quantization import Int8Tensor, PerRow

    made = Int8Tensor.from_hp(weight, granularity=PerRow())
    return _parameter(made.qdata, made.scale, weight.dtype)


def blank(weight: Tensor) -> nn.Parameter:
    """An int8 parameter for a weight's shape, to be read into."""
    rows, columns = weight.shape
    data = torch.empty(rows, columns, dtype=torch.int8, device=weight.device)
    scale = torch.empty(rows, 1, dtype=torch.float32, device=weight.device)
    return _parameter(data, scale, weight.dtype)


def int8_bytes(module: nn.Module) -> int:
    """Bytes of the int8 weights with their scales, a tied one counted once."""
    return sum(
        part.numel() * part.element_size()
        for parameter in module.parameters()
        if is_int8(parameter)
        for part in parts(parameter).values()
    )


def refuse_int8(
    module: nn.Module, sublayers: Sequence[FFSublayer], error: type[FFMergeError]
) -> None:
    """Raise `error`, naming the first FF sublayer whose weights are int8, if there is one."""
    for sublayer in sublayers:
        if any(is_int8(tensor) for tensor in weights_by_role(module, sublayer).values()):
            raise error(
                f"The weights of {sublayer.name} are int8, so they cannot be permuted or averaged. "
                "Start from the model before it was quantised, and quantise the result."
            )


def _matrices(module: nn.Module, family: Family) -> list[str]:
    """Paths of the matrices of the blocks, in the module's order.

    Some are never called: BEiT's attention multiplies by the weight of one itself, as no int8
    weight allows.
    """
    outside = (*family.embeddings, *family.head)
    paths = [
        path
        for path, part in module.named_modules()
        if (type(part) is nn.Linear or type(part).__name__ == "Conv1D")
        and not any(path == prefix or path.startswith(f"{prefix}.") for prefix in outside)
    ]
    called = _called(module, family, paths)
    return [path for path in paths if path in called]


def _called(module: nn.Module, family: Family, paths: Sequence[str]) -> set[str]:
    """Those of the modules at `paths` that run in a forward pass."""
    probe, called = shared_copy(module).eval(), set()
    for path in paths:
        part = probe.get_submodule(path)
        part.register_forward_hook(lambda *_, path=path: called.add(path))
    with torch.no_grad():
        family.example(module).run(probe)
    return called


def _linear(matrix: Any, weight: Tensor, kind: type[nn.Linear]) -> nn.Linear:
    """A Linear in a matrix's place, for a weight (rows, columns) that it does not have yet."""
    rows, columns = weight.shape
    made = kind(columns, rows, bias=False, device="meta")
    made.bias = matrix.bias
    return made.train(matrix.training)


def _parameter(data: Tensor, scale: Tensor, dtype: torch.dtype) -> nn.Parameter:
    from torchao.quantization import Int8Tensor

    # Without a zero point: the rounding is symmetric.
    made = Int8Tensor(data, scale, [1, data.shape[1]], dtype)
    return nn.Parameter(made, requires_grad=False)

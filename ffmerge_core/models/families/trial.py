"""Where FF sublayers are, asked of a model's run: which matrices stand around an activation.

In one pass every matrix of a block says random numbers in the place of its own, so what is found
does not depend on the weights. A matrix is a down projection if what it receives is φ of what
another said, perhaps times what a third said, perhaps normed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.models.activations import activation
from ffmerge_core.models.structure import shared_copy
from ffmerge_core.models.sublayers import FUNCTIONAL
from ffmerge_core.tasks.batch import Batch

_NEAR = 1e-3
# Parameters that an activation may have: a slope or two.
_FEW = 4
# Matrices that may run between an up projection and its down projection, both included.
_JUST_BEFORE = 3
# Where a block holds no module or function that fits, one of torch's may be called by itself.
_KNOWN = ("gelu", "relu", "silu", "tanh", "sigmoid", "softplus", "relu6", "mish", "hardswish")


@dataclass(frozen=True)
class Pair:
    """One FF sublayer, by the paths of its modules. packed: `up` holds the gate too."""

    block: str
    up: str
    down: str
    act: str
    attention: str
    gate: str | None
    packed: bool
    norm: str | None
    size: int

    def moved(self, old: str, new: str) -> Pair:
        """The same places in another block."""

        def there(path: str | None) -> Any:
            inside = path is not None and path.startswith(f"{old}.")
            return new + str(path).removeprefix(old) if inside else path

        paths = (self.up, self.down, self.act, self.attention, self.gate)
        up, down, act, attention, gate = map(there, paths)
        return Pair(new, up, down, act, attention, gate, self.packed, there(self.norm), self.size)


@dataclass
class _Seen:
    """What ran: what each matrix received and said, and what every module returned."""

    received: dict[str, Tensor] = field(default_factory=dict)
    said: dict[str, Tensor] = field(default_factory=dict)
    returned: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def found_in(model: nn.Module, batch: Batch) -> tuple[Pair, ...]:
    """The FF sublayers of all lists of blocks: of each block the one with most parameters.

    A list counts if the same modules of every block make one, and if no list inside it counts.
    """
    probe = shared_copy(model).eval()
    lists = dict(_lists(probe))
    seen = _run(probe, lists, batch)
    found: dict[str, list[Pair]] = {}
    for blocks in sorted(lists, key=lambda path: -path.count(".")):
        holds_one = any(inner.startswith(f"{blocks}.") for inner in found)
        if not holds_one and (pairs := _pairs(probe, seen, blocks, lists[blocks])):
            found[blocks] = pairs
    return tuple(pair for blocks in lists if blocks in found for pair in found[blocks])


def _lists(model: nn.Module) -> Iterator[tuple[str, list[int]]]:
    """(path, numbers of its blocks) of every list whose members are of one class, no matrices."""
    for path, module in model.named_modules():
        children = dict(module.named_children())
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(children) > 1:
            kinds = {type(child) for child in children.values()}
            one = len(kinds) == 1 and not any(map(_is_matrix, children.values()))
            if one and all(name.isdecimal() for name in children):
                yield path, [int(name) for name in children]


def _is_matrix(module: nn.Module) -> bool:
    return type(module) is nn.Linear or type(module).__name__ == "Conv1D"


def _run(model: nn.Module, lists: Mapping[str, list[int]], batch: Batch) -> _Seen:
    seen = _Seen()
    inside = tuple(f"{path}." for path in lists)
    generator = torch.Generator().manual_seed(0)

    def matrix(path: str, _: nn.Module, args: tuple[Any, ...], said: Tensor) -> Tensor:
        drawn = torch.randn(said.shape, generator=generator).to(said)
        if args and isinstance(args[0], Tensor):
            seen.received[path], seen.said[path] = args[0], drawn
        return drawn

    def other(path: str, _: nn.Module, args: tuple[Any, ...], returned: Any) -> None:
        first = returned[0] if isinstance(returned, tuple | list) and returned else returned
        if isinstance(first, Tensor):
            seen.returned[path] = first

    for path, module in model.named_modules():
        if path.startswith(inside):
            hook: Callable[..., Any] = matrix if _is_matrix(module) else other
            module.register_forward_hook(partial(hook, path))
    try:
        batch.run(model)
    except Exception as error:  # whatever a library makes of a batch that it does not take
        said = " ".join(str(error).split()) or type(error).__name__
        raise UnsupportedModelError(
            f"No declaration knows {type(model).__name__}, and it does not run on a small batch of "
            f"noise ({said}). Declare it with fm.register_family."
        ) from error
    return seen


def _pairs(model: nn.Module, seen: _Seen, blocks: str, indices: list[int]) -> list[Pair]:
    """One a block, in the same places of each; none if they are not."""
    first = f"{blocks}.{indices[0]}"
    for pair in sorted(_in_block(model, seen, first), key=lambda pair: -pair.size):
        found = [pair.moved(first, f"{blocks}.{index}") for index in indices]
        if all(_fits(model, seen, each) for each in found):
            return found
    return []


def _in_block(model: nn.Module, seen: _Seen, block: str) -> Iterator[Pair]:
    ran = _within(seen.said, block)
    for number, down in enumerate(ran):
        d_model, d_ff = seen.said[down].shape[-1], seen.received[down].shape[-1]
        ups = {
            path: seen.said[path].shape[-1]
            for path in ran[max(0, number - _JUST_BEFORE) : number]
            if seen.received[path].shape[-1] == d_model
        }
        attention = _attention(model, seen, block, down)
        for up, gate, packed in _arrangements(ups, d_ff):
            size = d_model * d_ff * (2 + (packed or gate is not None))
            for norm in (None, *_norms(model, block, d_ff)):
                for act in _activations(model, block):
                    pair = Pair(block, up, down, act, attention or "", gate, packed, norm, size)
                    if attention and _fits(model, seen, pair):
                        yield pair


def _arrangements(ups: Mapping[str, int], d_ff: int) -> Iterator[tuple[str, str | None, bool]]:
    """(up, gate, packed) for each way to arrange matrices of these widths."""
    whole = [path for path, width in ups.items() if width == d_ff]
    yield from ((up, None, False) for up in whole)
    yield from ((up, gate, False) for up in whole for gate in whole if up != gate)
    yield from ((up, None, True) for up, width in ups.items() if width == 2 * d_ff)


def _fits(model: nn.Module, seen: _Seen, pair: Pair) -> bool:
    """Whether what W_out received is what follows from what the others said, on a few rows."""
    used = [path for path in (pair.up, pair.gate, pair.down) if path is not None]
    if any(path not in seen.said for path in used):
        return False
    if len({seen.received[path].shape[:-1] for path in used}) > 1:
        return False
    received, said = _few(seen.received[pair.down]), _few(seen.said[pair.up])
    try:
        phi = activation(model, pair.act)
        if pair.packed:
            first, second = said.chunk(2, dim=-1)
            made = [phi(first.clone()) * second, first * phi(second.clone())]
        elif pair.gate is not None:
            made = [phi(_few(seen.said[pair.gate]).clone()) * said]
        else:
            made = [phi(said.clone())]
        if pair.norm is not None:
            made = [model.get_submodule(pair.norm)(each) for each in made]
    except Exception:  # no activation, or of something else
        return False
    return any(_is_near(received, each) for each in made)


def _activations(model: nn.Module, block: str) -> Iterator[str]:
    """What a block might call between its matrices: its modules, functions, torch's own."""
    for path, module in model.get_submodule(block).named_modules(prefix=block):
        holds = sum(parameter.numel() for parameter in module.parameters())
        simple = not _is_matrix(module) and holds <= _FEW and not isinstance(module, nn.Identity)
        if simple and path != block and not any(True for _ in module.children()):
            yield path
        for name, value in vars(module).items():
            if callable(value) and not name.startswith("_") and not isinstance(value, type):
                yield f"{path}.{name}"
    yield from (FUNCTIONAL + name for name in _KNOWN)


def _norms(model: nn.Module, block: str, width: int) -> list[str]:
    """Modules of a block with vectors of a width alone."""
    return [
        path
        for path, module in model.get_submodule(block).named_modules(prefix=block)
        if {tuple(each.shape) for each in module.parameters()} == {(width,)}
    ]


def _attention(model: nn.Module, seen: _Seen, block: str, down: str) -> str | None:
    """What is compared for contrast: the outermost attention; where none is, what else says rows.

    It has to say as many vectors as the FF sublayer does, of the same width.
    """
    holder, said = down.rpartition(".")[0], seen.said[down]
    fits = [
        path
        for path in _within(seen.returned, block)
        if (holder == block or not path.startswith(f"{holder}."))
        and (said.shape[-1], said.numel())
        == (seen.returned[path].shape[-1], seen.returned[path].numel())
    ]
    named = [path for path in fits if "att" in type(model.get_submodule(path)).__name__.lower()]
    return min(named or fits, key=lambda path: path.count("."), default=None)


def _within(paths: Mapping[str, object], block: str) -> list[str]:
    return [path for path in paths if path == block or path.startswith(f"{block}.")]


def _few(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])[:2]


def _is_near(found: Tensor, expected: Tensor) -> bool:
    if not isinstance(expected, Tensor) or found.shape != expected.shape:
        return False
    distance = (found.double() - expected.double()).norm()
    return float(distance) <= _NEAR * float(expected.double().norm() + 1e-12)

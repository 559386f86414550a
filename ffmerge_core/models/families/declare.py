"""Declaring one FF sublayer: what the modules themselves say, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from reprlib import repr as clipped
from typing import TYPE_CHECKING, Any

from ffmerge_core.checks import expect
from ffmerge_core.errors import UnsupportedModelError
from ffmerge_core.models.sublayers import FUNCTIONAL, FFSublayer, Slot

if TYPE_CHECKING:
    from torch import nn

    from ffmerge_core.models.activations import Activation


def declare(
    model: nn.Module,
    name: str,
    *,
    attention: str,
    w_in: Slot | str,
    w_out: str,
    act: str,
    block: str = "",
    w_gate: Slot | str | None = None,
    norm: str | None = None,
    packed: bool = False,
) -> FFSublayer:
    """Fill in what the modules themselves say: widths, layout, activation, biases.

    Parameters
    ----------
    model : torch.nn.Module
        The model that holds the sublayer.
    name : str
        "<stack>.<index>", such as "encoder.3".
    attention : str
        Dotted path of the attention module of the same block.
    w_in : Slot or str
        Where W_in lives, the up projection where there is a gate; a path where it is the module's
        only matrix.
    w_out, act : str
        Dotted paths of the module of W_out and of the activation: a module, or a function that
        one holds or that torch has ("torch.nn.functional.relu").
    block : str, optional
        Dotted path of the whole block, which a layer drop takes away; by default what holds the
        attention.
    w_gate : Slot or str, optional
        Where the gate's matrix lives.
    norm : str, optional
        Dotted path of an inner norm of width d_ff.
    packed : bool, default False
        Whether the module of W_in holds a gate too, one half each. Which half goes through the
        activation is found by a trial of the FF module.

    Returns
    -------
    FFSublayer
        The declaration, which every load proves.

    Raises
    ------
    UnsupportedModelError
        If a module is absent or of another kind, and for arguments of another type.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> mlp = "blocks.0.mlp"
    >>> fm.declare(
    ...     model.model, "encoder.0", attention="blocks.0.attn",
    ...     w_in=f"{mlp}.fc1", w_out=f"{mlp}.fc2", act=f"{mlp}.act",
    ... )
    FFSublayer(encoder.0: 64 → 256 → 64, gelu, 33,088 parameters)
    """
    from torch import nn

    from ffmerge_core.models.activations import identity_of, name_of

    expect(UnsupportedModelError, model=(model, nn.Module), name=(name, str), block=(block, str))
    expect(UnsupportedModelError, attention=(attention, str), w_out=(w_out, str), act=(act, str))
    expect(UnsupportedModelError, w_in=(w_in, Slot | str), w_gate=(w_gate, Slot | str | None))
    expect(UnsupportedModelError, norm=(norm, str | None), packed=(packed, bool))
    if not re.fullmatch(r".+\.\d+", name):
        raise UnsupportedModelError(
            f'name is {clipped(name)}; a stack and a number were expected, such as "encoder.3".'
        )
    w_in, w_gate = _slot(w_in), _slot(w_gate) if w_gate else None
    submodule(model, attention)
    block = block or attention.rpartition(".")[0]
    phi = _activation(model, act)
    (d_model, _), transposed = _matrix(model, w_in.module)
    (d_ff, _), out_transposed = _matrix(model, w_out)
    if transposed != out_transposed:
        raise UnsupportedModelError(
            f"{w_in.module} and {w_out} store their weights in different layouts; one layout for "
            "both was expected."
        )
    if packed:
        from ffmerge_core.models.families.packed import halves

        w_in, w_gate = halves(model, w_in.module, norm or w_out, act)
    owners = {w_in.module, w_out, *([w_gate.module] if w_gate else []), *([norm] if norm else [])}
    entry, out = model.get_submodule(w_in.module), model.get_submodule(w_out)
    return FFSublayer(
        name=name,
        attention=attention,
        w_in=w_in,
        w_out=Slot(w_out),
        w_gate=w_gate,
        norm=norm,
        d_model=d_model,
        d_ff=d_ff,
        activation=name_of(phi),
        biases=(entry.bias is not None, out.bias is not None),
        transposed=transposed,
        n_parameters=sum(
            parameter.numel()
            for owner in owners
            for parameter in model.get_submodule(owner).parameters(recurse=False)
        ),
        block=block,
        alone=_alone(model, block),
        act=act,
        function=identity_of(phi),
    )


def declare_stack(
    model: nn.Module,
    stack: str,
    blocks: str,
    *,
    attention: str,
    w_in: str,
    w_out: str,
    act: str,
    w_gate: str | None = None,
    norm: str | None = None,
    packed: bool = False,
) -> tuple[FFSublayer, ...]:
    """Declare the FF sublayers of blocks that are alike, one a block.

    Parameters
    ----------
    model : torch.nn.Module
        The model that holds the blocks.
    stack : str
        The first part of the sublayers' names, such as "decoder".
    blocks : str
        Dotted path of the list of blocks.
    attention, w_in, w_out, act : str
        Paths within a block of its attention, W_in (the up projection where there is a gate),
        W_out and the activation.
    w_gate, norm : str, optional
        Paths within a block of the gate's matrix and of an inner norm of width d_ff.
    packed : bool, default False
        Whether W_in's module holds a gate too, as in `declare`.

    Returns
    -------
    tuple of FFSublayer
        In the order of the blocks.

    Raises
    ------
    UnsupportedModelError
        If a module is absent or of another kind.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> found = fm.declare_stack(
    ...     model.model, "encoder", "blocks",
    ...     attention="attn", w_in="mlp.fc1", w_out="mlp.fc2", act="mlp.act",
    ... )
    >>> found == model.sublayers
    True
    """
    from torch import nn

    expect(
        UnsupportedModelError, model=(model, nn.Module), stack=(stack, str), blocks=(blocks, str)
    )

    def of(block: str) -> FFSublayer:
        return declare(
            model,
            f"{stack}.{block.rpartition('.')[2]}",
            attention=f"{block}.{attention}",
            w_in=f"{block}.{w_in}",
            w_out=f"{block}.{w_out}",
            act=act if act.startswith(FUNCTIONAL) else f"{block}.{act}",
            block=block,
            w_gate=f"{block}.{w_gate}" if w_gate else None,
            norm=f"{block}.{norm}" if norm else None,
            packed=packed,
        )

    return tuple(of(f"{blocks}.{index}") for index in range(depth(model, blocks)))


def alike(
    stack: str, blocks: str, inside: tuple[str, ...] = (), **places: Any
) -> Callable[[nn.Module], tuple[FFSublayer, ...]]:
    """A family's `find` for models of one stack: `declare_stack` of it, with these places.

    blocks: the list of blocks, within the model without a head. inside: what a model with a head
    calls the one without, where that is not transformers' own name for it.
    """

    def find(model: nn.Module) -> tuple[FFSublayer, ...]:
        return declare_stack(model, stack, base_of(model, *inside) + blocks, **places)

    return find


def base_of(model: nn.Module, *names: str) -> str:
    """Path of the model without a head in one that has one, with its dot; else nothing."""
    known = (*names, getattr(model, "base_model_prefix", ""))
    return next((f"{name}." for name in known if name and hasattr(model, name)), "")


def submodule(model: nn.Module, path: str) -> nn.Module:
    """`model.get_submodule(path)`, with a sentence if there is none."""
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise _absent(model, path) from error


def _absent(model: nn.Module, path: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{type(model).__name__} has no {path}, where its family keeps an FF sublayer or its "
        "attention. This variant is not known here."
    )


def depth(model: nn.Module, path: str) -> int:
    """How many blocks the list of blocks at `path` holds."""
    return sum(1 for _ in submodule(model, path).children())


def _slot(place: Slot | str) -> Slot:
    return Slot(place) if isinstance(place, str) else place


def _alone(model: nn.Module, block: str) -> str | None:
    """The first parameter of a block that no other block of its list has, if there is one."""
    place, _, own = block.rpartition(".")
    others: set[str] = set()
    for name, other in submodule(model, place).named_children():
        if name != own:
            others |= {parameter for parameter, _ in other.named_parameters()}
    names = (name for name, _ in submodule(model, block).named_parameters())
    return next((name for name in names if others and name not in others), None)


def _matrix(model: nn.Module, path: str) -> tuple[tuple[int, int], bool]:
    """((features in, features out), whether the weight is stored in × out)."""
    from torch import nn

    module: Any = submodule(model, path)
    kind = type(module)
    # Exactly these two: a subclass (quantised, LoRA) may compute something else.
    if kind is nn.Linear:
        return (module.in_features, module.out_features), False
    if (kind.__name__, kind.__module__) == ("Conv1D", "transformers.pytorch_utils"):
        return tuple(module.weight.shape), True
    raise UnsupportedModelError(
        f"{path} is a {kind.__name__}; torch.nn.Linear or transformers' Conv1D was expected."
    )


def _activation(model: nn.Module, path: str) -> Activation:
    from ffmerge_core.models.activations import activation

    try:
        return activation(model, path)
    except AttributeError as error:
        raise _absent(model, path) from error

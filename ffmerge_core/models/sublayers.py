"""Where the weights of one FF sublayer live, as a value that survives copying a model.

No torch at import: the interface describes a model from its card before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ffmerge_core import showing

# The paths of functions that torch has by itself begin with this.
FUNCTIONAL = "torch.nn.functional."


@dataclass(frozen=True)
class Slot:
    """One matrix of an FF sublayer, named by the module that holds it.

    Attributes
    ----------
    module : str
        Dotted path from the model to the module with `.weight` (and perhaps `.bias`).
    rows : tuple of int, optional
        Half-open range of output features when several matrices are packed in one.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> fm.Slot("blocks.0.mlp.fc1", rows=(0, 256))
    Slot(module='blocks.0.mlp.fc1', rows=(0, 256))
    """

    module: str
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class FFSublayer:
    """One FF sublayer: y = W_out norm(φ(W_in x + b_in)) + b_out, perhaps gated.

    With a gate the inside is φ(W_gate x + b_gate) · (W_in x + b_in). x is what the module of
    W_in receives; y is what the module of W_out returns, before the residual addition. Some
    families have no FF module of their own, so none is named.

    Attributes
    ----------
    name : str
        "<stack>.<index>", such as "encoder.3".
    attention : str
        Dotted path of the same block's attention module, whose (first) output is compared for
        contrast.
    w_in, w_out : Slot
        Where the two matrices live.
    d_model, d_ff : int
        The width of the residual stream, and the number of neurons.
    activation : str
        φ's name for reading, such as "gelu".
    n_parameters : int
        All parameters of the sublayer, biases and inner norm included.
    w_gate : Slot or None
        Where the gate's matrix lives, if there is one.
    norm : str or None
        Dotted path of an inner norm of width d_ff, if there is one.
    biases : tuple of bool
        Whether there are b_in and b_out.
    transposed : bool
        Weights are stored (in, out), as transformers' Conv1D does, not (out, in).
    block : str
        Dotted path of the block that holds it, attention and all; by default what holds the
        attention.
    alone : str or None
        A parameter of that block which the others of its list lack, if any: they may live by it,
        so the block cannot be dropped.
    tied : tuple of str
        The other FF sublayers that hold some of its parameters too, in the model as it was opened.
    n_shared : int
        Those of its parameters that an earlier FF sublayer holds already.
    act : str
        Dotted path of φ itself: a module, or a function that one holds or that torch has.
    function : str
        What φ computes: equal texts say that two compute the same.
    stays : str
        Why its block cannot be dropped, if so for another reason than `alone`.

    Examples
    --------
    >>> import ffmerge_core as fm
    >>> model = fm.load("demo:vit-digits")
    >>> model.sublayers[3]
    FFSublayer(encoder.3: 64 → 256 → 64, gelu, 33,088 parameters)
    >>> model.sublayers[3].w_in
    Slot(module='blocks.3.mlp.fc1', rows=None)
    """

    name: str
    attention: str
    w_in: Slot
    w_out: Slot
    d_model: int
    d_ff: int
    activation: str
    n_parameters: int
    w_gate: Slot | None = None
    norm: str | None = None
    biases: tuple[bool, bool] = (True, True)
    transposed: bool = False
    block: str = ""
    alone: str | None = None
    tied: tuple[str, ...] = ()
    n_shared: int = 0
    act: str = ""
    function: str = ""
    stays: str = ""

    def __post_init__(self) -> None:
        if not self.block:
            object.__setattr__(self, "block", self.attention.rpartition(".")[0])

    def __repr__(self) -> str:
        width = f"{self.d_model} → {self.d_ff} → {self.d_model}"
        gate = ", gated" if self.gated else ""
        said = f"{self.name}: {width}, {self.activation}{gate}, {self.n_parameters:,} parameters"
        return showing.line(self, said)

    @property
    def stack(self) -> str:
        return self.name.rsplit(".", 1)[0]

    @property
    def index(self) -> int:
        return int(self.name.rsplit(".", 1)[1])

    @property
    def gated(self) -> bool:
        return self.w_gate is not None

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """(features out, features in) of each stored matrix; a packed gate is part of W_in's."""
        entry = (self.d_ff, self.d_model)
        out = (self.d_model, self.d_ff)
        if self.w_gate is None:
            return entry, out
        packed = self.w_gate.module == self.w_in.module
        return ((2 * self.d_ff, self.d_model), out) if packed else (entry, entry, out)

    @property
    def shape(self) -> tuple[object, ...]:
        """What members of one group must have in common."""
        packed = (self.w_in.rows, self.w_gate.rows if self.w_gate else None)
        return (
            self.d_model, self.d_ff, self.activation, self.function, self.gated, packed,
            self.norm is not None, self.biases, self.n_parameters, self.transposed,
        )  # fmt: skip

    @property
    def modules(self) -> dict[str, str]:
        """Role ("in", "gate", "out", "norm") → path of a module that owns parameters.

        A gate packed with W_in lives in the same module and has no entry of its own.
        """
        paths = {"in": self.w_in.module}
        if self.w_gate is not None and self.w_gate.module != self.w_in.module:
            paths["gate"] = self.w_gate.module
        paths["out"] = self.w_out.module
        if self.norm is not None:
            paths["norm"] = self.norm
        return paths

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        if not self.tied:
            # As cards have it: few models share weights before a merge.
            del values["tied"], values["n_shared"]
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FFSublayer:
        values = dict(data)
        for key in ("w_in", "w_out", "w_gate"):
            slot = values.get(key)
            if slot is not None:
                rows = tuple(slot["rows"]) if slot.get("rows") else None
                values[key] = Slot(slot["module"], rows)
        values["biases"] = tuple(values["biases"])
        values["tied"] = tuple(values.get("tied", ()))
        return cls(**values)

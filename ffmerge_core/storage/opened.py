"""What a folder holds, once it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ffmerge_core.models.stored import Types
from ffmerge_core.models.sublayers import FFSublayer


@dataclass(frozen=True, eq=False)
class RawModel:
    """What a folder holds. tokenizer, settings: as in `LoadedModel`.

    sublayers: its FF sublayers, where the module itself does not say (some were reduced).
    left_out: tensors of its file that it has no use for, by name. stored: the types of its
    tensors in the file, by their names in the module, where they are others than in memory.
    taken_off: what stood before the names in the file. from_bin: whether that was a pickle.
    """

    module: nn.Module
    tokenizer: Any = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sublayers: tuple[FFSublayer, ...] | None = None
    left_out: tuple[str, ...] = ()
    stored: Types = field(default_factory=dict)
    taken_off: tuple[str, ...] = ()
    from_bin: bool = False

"""Weights that somebody rounded: a merge averages plain numbers, so the original is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ffmerge_core.errors import SourceError

_FIELDS = ("quantization_config", "compression_config")
# What the names of tensors end in that only rounded weights have, and who writes them.
_ENDINGS: Mapping[str, str] = {
    ".qweight": "GPTQ or AWQ",
    ".qzeros": "GPTQ or AWQ",
    ".g_idx": "GPTQ",
    ".SCB": "bitsandbytes",
    ".absmax": "bitsandbytes",
    ".quant_map": "bitsandbytes",
    ".bitsandbytes__nf4": "bitsandbytes",
    ".bitsandbytes__fp4": "bitsandbytes",
    ".weight_packed": "compressed-tensors",
    ".weight_scale": "fp8 or int8",
    ".weight_scale_inv": "fp8",
    ".weight.qdata": "torchao",
    ":qdata": "torchao",
    ".W_q": "HQQ",
}


def refuse_quantised(folder: Path, config: Mapping[str, Any], names: Iterable[str]) -> None:
    """`SourceError` if config.json, or the name of a tensor, tells of rounded weights."""
    said = next((config[field] for field in _FIELDS if config.get(field)), None)
    if said is not None:
        how = said.get("quant_method") if isinstance(said, Mapping) else None
        # bitsandbytes did not name itself at first.
        bits = isinstance(said, Mapping) and any(key.startswith("load_in_") for key in said)
        named = str(how or ("bitsandbytes" if bits else "a method that config.json does not name"))
        raise SourceError(_sentence(folder, named[:60], "config.json says so"))
    for name in names:
        for ending, writer in _ENDINGS.items():
            if name.endswith(ending):
                raise SourceError(_sentence(folder, writer, f"it holds {name}"))


def _sentence(folder: Path, how: str, why: str) -> str:
    return (
        f"The weights in {folder} are quantised by {how} ({why}), and a merge averages plain "
        "numbers. Open the unquantised original, and quantise the merged model."
    )

"""Merge the feed-forward (FF) sublayers of transformers (Verma, Murray, Duh, arXiv 2501.06126).

    import ffmerge_core as fm

    model = fm.load("demo:vit-digits")
    feats = fm.calibrate(model, tokens=10_000, seed=0)
    plan = fm.MergePlan(groups=(("encoder.4", "encoder.5"),))
    merged = fm.apply(model, plan, feats)
    print(fm.evaluate(merged).versus(fm.evaluate(model)))

Names are loaded when first used, so importing this package costs nothing.
"""

from __future__ import annotations

import ast
import logging
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# Where torchao is installed, transformers imports it, and torch logs notes to torchao's authors.
logging.getLogger("torch.utils._pytree").addFilter(
    lambda record: "is an Enum subclass" not in record.getMessage()
)

# Public name -> the module that it lives in. The names stand once, in the stub that type
# checkers read, and are read from there.
_HOME = {
    alias.name: node.module
    for node in ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body
    if isinstance(node, ast.ImportFrom) and node.module
    for alias in node.names
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

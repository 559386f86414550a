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

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ffmerge_core.analysis.features import Features, calibrate, similarity_matrix
    from ffmerge_core.compression.budget import baselines
    from ffmerge_core.compression.merging import apply
    from ffmerge_core.compression.quantization import quantize
    from ffmerge_core.compression.recovery import recover
    from ffmerge_core.compression.running import RunResult, evaluate, run
    from ffmerge_core.compression.search import search_windows
    from ffmerge_core.errors import FFMergeError
    from ffmerge_core.models.families import (
        Family,
        declare,
        declare_stack,
        pair_example,
        register_family,
        token_example,
    )
    from ffmerge_core.models.loaded import LoadedModel
    from ffmerge_core.models.sublayers import FFSublayer, Slot
    from ffmerge_core.plan import MergePlan, Recipe, Recovery
    from ffmerge_core.sources.loading import load
    from ffmerge_core.storage.checkpoint import Saved, save
    from ffmerge_core.tasks.batch import Batch
    from ffmerge_core.tasks.evaluation import Evaluation
    from ffmerge_core.tasks.image_classification import ImageClassification, LabelledImages
    from ffmerge_core.tasks.kinds import TaskKind, register_task
    from ffmerge_core.tasks.metrics import Metric, register_metric

__version__ = "0.1.0"

# Where torchao is installed, transformers imports it, and torch logs notes to torchao's authors.
logging.getLogger("torch.utils._pytree").addFilter(
    lambda record: "is an Enum subclass" not in record.getMessage()
)

_HOME = {
    "Batch": "tasks.batch",
    "Evaluation": "tasks.evaluation",
    "FFMergeError": "errors",
    "FFSublayer": "models.sublayers",
    "Family": "models.families",
    "Features": "analysis.features",
    "ImageClassification": "tasks.image_classification",
    "LabelledImages": "tasks.image_classification",
    "LoadedModel": "models.loaded",
    "MergePlan": "plan",
    "Metric": "tasks.metrics",
    "Recipe": "plan",
    "Recovery": "plan",
    "RunResult": "compression.running",
    "Saved": "storage.checkpoint",
    "Slot": "models.sublayers",
    "TaskKind": "tasks.kinds",
    "apply": "compression.merging",
    "baselines": "compression.budget",
    "calibrate": "analysis.features",
    "declare": "models.families",
    "declare_stack": "models.families",
    "evaluate": "compression.running",
    "load": "sources.loading",
    "pair_example": "models.families",
    "quantize": "compression.quantization",
    "recover": "compression.recovery",
    "register_family": "models.families",
    "register_metric": "tasks.metrics",
    "register_task": "tasks.kinds",
    "run": "compression.running",
    "save": "storage.checkpoint",
    "search_windows": "compression.search",
    "similarity_matrix": "analysis.features",
    "token_example": "models.families",
}

__all__ = [
    "Batch",
    "Evaluation",
    "FFMergeError",
    "FFSublayer",
    "Family",
    "Features",
    "ImageClassification",
    "LabelledImages",
    "LoadedModel",
    "MergePlan",
    "Metric",
    "Recipe",
    "Recovery",
    "RunResult",
    "Saved",
    "Slot",
    "TaskKind",
    "apply",
    "baselines",
    "calibrate",
    "declare",
    "declare_stack",
    "evaluate",
    "load",
    "pair_example",
    "quantize",
    "recover",
    "register_family",
    "register_metric",
    "register_task",
    "run",
    "save",
    "search_windows",
    "similarity_matrix",
    "token_example",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""Runs as a table, as CSV and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ffmerge_core.errors import PlanError
from ffmerge_core.plan import plan_from_dict, plan_in_words
from ffmerge_core.reporting.costs import STEPS
from ffmerge_core.reporting.stored import is_original, method_of, recovery_steps

if TYPE_CHECKING:
    import pandas as pd

    from ffmerge_core.reporting.run import Run

Record = dict[str, Any]


def to_frame(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a run, in the order given; empty cells where a run has no such figure.

    MB are 10⁶ bytes; a peak memory is that of the whole process. Every "change" is merged minus
    original, paired over the examples; "low" and "high" are the ends of the interval of the
    column before them. Figures beside a task's own, such as "validation chrF", have columns where
    a run has them, at the end.
    """
    import pandas as pd

    kept = list(runs)
    rows = [_record(run) | _others(run) for run in kept]
    columns = dict.fromkeys(name for row in (_record(None), *rows) for name in row)
    return pd.DataFrame(rows, columns=list(columns))


def to_csv(runs: Iterable[Run]) -> str:
    """`to_frame` as text, a header line first."""
    return to_frame(runs).to_csv(index=False, lineterminator="\n")


def to_json(runs: Iterable[Run]) -> str:
    """Everything known of each run, as a JSON list; NaN and infinity become null."""
    return json.dumps([_strict(asdict(run)) for run in runs], indent=2, default=datetime.isoformat)


def _record(run: Run | None) -> Record:
    """One row; of no run, a row whose keys are the columns."""
    recipe = run.recipe if run else {}
    plan, recovery = recipe.get("plan") or {}, recipe.get("recovery") or {}
    result = (run.result if run else None) or {}
    original, merged = result.get("original") or {}, result.get("merged") or {}
    return {
        "name": run.name if run else None,
        "status": run.status if run else None,
        "source": run.source if run else None,
        "created": run.created if run else None,
        "finished": run.finished if run else None,
        "method": method_of(recipe),
        "anchor": None if is_original(recipe) else plan.get("anchor"),
        "groups": _groups(plan),
        "sublayers removed": _removed(plan),
        "data": recipe.get("data"),
        "fidelity": recipe.get("fidelity", False) if run else None,
        "tokenize": recipe.get("tokenize"),
        "recovery steps": recovery_steps(recipe),
        "learning rate": recovery.get("learning_rate"),
        "batch size": recovery.get("batch_size"),
        "distilled": recovery.get("distill", False) if run else None,
        "LoRA rank": recovery.get("lora_rank"),
        "weights": recipe.get("quantize") or recipe.get("dtype"),
        "tokens": recipe.get("tokens"),
        "seed": recipe.get("seed"),
        "original parameters": original.get("n_parameters"),
        "parameters": merged.get("n_parameters"),
        "weights MB": _scaled(merged.get("weight_bytes")),
        **_scores(result, "validation"),
        **_scores(result, "test"),
        "seconds": sum(run.seconds.values()) if run and run.seconds else None,
        "peak memory MB": _scaled(run.peak_memory if run else None),
        **_costs(run, result),
        "error": run.error if run else None,
        "id": run.id if run else None,
    }


def _groups(plan: Mapping[str, Any]) -> str | None:
    """What is merged; of a plan without groups, what it says of itself."""
    if not plan:
        return None
    if groups := plan.get("groups"):
        return "; ".join(" + ".join(group) for group in groups)
    try:
        return plan_in_words(plan_from_dict(plan))
    except PlanError:  # of another version
        return None


def _removed(plan: Mapping[str, Any]) -> int:
    """FF sublayers whose parameters are gone; a factored or narrowed one keeps some."""
    try:
        return plan_from_dict(plan).n_removed if plan else 0
    except PlanError:  # of another version, or a method that is not known here
        return sum(len(group) - 1 for group in plan.get("groups") or ())


def _scores(result: Mapping[str, Any], split: str) -> Record:
    """Columns of one split; the metric stands in a column, for runs may differ in it."""
    original, merged, change = (
        (result.get(part) or {}).get(split) or {} for part in ("original", "merged", "difference")
    )
    low, high = merged.get("interval") or (None, None)
    change_low, change_high = change.get("interval") or (None, None)
    loss_low, loss_high = change.get("loss_interval") or (None, None)
    return {
        f"{split} metric": merged.get("metric"),
        f"{split} examples": merged.get("n"),
        f"{split} original score": original.get("value"),
        f"{split} score": merged.get("value"),
        f"{split} score low": low,
        f"{split} score high": high,
        f"{split} score change": change.get("value"),
        f"{split} score change low": change_low,
        f"{split} score change high": change_high,
        f"{split} original loss": original.get("loss"),
        f"{split} loss": merged.get("loss"),
        f"{split} loss change": change.get("loss"),
        f"{split} loss change low": loss_low,
        f"{split} loss change high": loss_high,
        f"{split} agreement": change.get("agreement"),
    }


def _costs(run: Run | None, result: Mapping[str, Any]) -> Record:
    """Columns of each step's cost, and of what was timed of both models."""
    seconds, memory = run.seconds if run else {}, result.get("memory") or {}
    timed = result.get("latency") or {}
    columns: Record = {}
    for step in STEPS:
        columns[f"{step} seconds"] = seconds.get(step)
        columns[f"{step} peak memory MB"] = _scaled(memory.get(step))
    for side, before in (("original", "original "), ("merged", "")):
        latency = timed.get(side) or {}
        columns[f"{before}batch seconds"] = latency.get("seconds")
        columns[f"{before}throughput per second"] = latency.get("per_second")
    return columns | {"throughput of": (timed.get("merged") or {}).get("unit")}


def _others(run: Run) -> Record:
    """Columns of the figures that are neither a task's own metric nor its loss."""
    columns: Record = {}
    for split in ("validation", "test"):
        for part, suffix in (("merged", ""), ("difference", " change")):
            score = ((run.result or {}).get(part) or {}).get(split) or {}
            for name, figure in score.get("others", {}).items():
                column = f"{split} {name}{suffix}"
                columns[column] = figure["value"]
                columns[f"{column} low"], columns[f"{column} high"] = figure["interval"]
    return columns


def _scaled(n_bytes: int | None) -> float | None:
    return None if n_bytes is None else n_bytes / 1e6


def _strict(value: Any) -> Any:
    """The value with every number that JSON cannot write as `None`."""
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

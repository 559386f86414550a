"""Measures a demo's stored weights and writes what it found into its card.

    python -m ffmerge_core.demos.describe gpt2-code

A script that stands on the whole package; the training scripts end with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from ffmerge_core import demos
from ffmerge_core.demos.files import WEIGHTS
from ffmerge_core.models.families import family_of
from ffmerge_core.models.loaded import anatomy
from ffmerge_core.models.structure import count_parameters, fingerprint, weight_bytes
from ffmerge_core.reporting.folders import write_atomically
from ffmerge_core.tasks.metrics import metric
from ffmerge_core.tasks.task import Task


def measured(model: nn.Module, task: Task) -> dict[str, Any]:
    """The card's view of the model, its data and its scores."""
    family = family_of(model)
    sublayers = family.find(model)
    parts = anatomy(model, family, sublayers)
    return {
        "kind": task.kind,
        "family": family.name,
        "metric": task.metric,
        "data_revision": task.revision,
        "revision": fingerprint(model),
        "n_parameters": count_parameters(model),
        "weight_bytes": weight_bytes(model),
        "d_model": sublayers[0].d_model,
        "anatomy": [{"part": part, "n_parameters": number} for part, number in parts],
        "sublayers": [sublayer.to_dict() for sublayer in sublayers],
        "validation": task.evaluate(model, "validation").summary(),
        "test": task.evaluate(model, "test").summary(),
    }


def describe(name: str, folder: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """Write the card of the weights in `folder`: what was told, and what is measured now."""
    package = import_module(f"ffmerge_core.demos.{demos.package(name)}.model")
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    found = {**told, "weights_sha256": digest, **measured(*package.load(folder))}
    demos.Card.from_dict(found)  # refuses a card that no reader would take
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / "card.json", text.encode())
    return found


def in_words(card: Mapping[str, Any]) -> str:
    """The card's scores in a line."""
    scores = []
    for split in ("validation", "test"):
        summary = card[split]
        figures = {summary["metric"]: summary, **summary["others"]}
        told = ", ".join(f"{name} {metric(name).text(f['value'])}" for name, f in figures.items())
        scores.append(f"{split}: {told}, loss {summary['loss']:.4f}, n = {summary['n']:,}")
    return f"{card['kept']}; " + "; ".join(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a demo's weights; write its card.")
    parser.add_argument("name", choices=demos.names())
    name = parser.parse_args().name
    folder = Path(demos.__file__).parent / demos.package(name)
    told = json.loads((folder / "card.json").read_text("utf-8"))
    print(in_words(describe(name, folder, told)))


if __name__ == "__main__":
    main()

"""Merge × quantise, as in the paper: what each saves alone and both together, and what it costs.

    python -m benchmarks.quantise [--only NAME]

A third of the FF sublayers of each stack is removed by the paper's merge of one window, from
the second sublayer on, without any recovery; scores are of the validation split. Times are of
one batch, all four models in turns, beside the original's; the peak is what such a pass holds at
its highest, weights included.
"""

from __future__ import annotations

import argparse

import ffmerge_core as fm
from benchmarks.timing import machine
from ffmerge_core import demos
from ffmerge_core.compression.cost import latencies
from ffmerge_core.compression.footprint import footprint
from ffmerge_core.models.int8 import int8_bytes
from ffmerge_core.tasks.metrics import metric

TOKENS = 10_000


def third_removed(model: fm.LoadedModel) -> fm.MergePlan:
    groups = []
    for stack in model.stacks:
        names = [sublayer.name for sublayer in model.sublayers if sublayer.stack == stack]
        groups.append(tuple(names[1 : 2 + len(names) // 3]))
    return fm.MergePlan(tuple(groups))


def print_models(name: str) -> None:
    model = fm.load(f"{demos.PREFIX}{name}")
    plan = third_removed(model)
    merged = fm.apply(model, plan, fm.calibrate(model, TOKENS))
    models = {
        "original": model,
        "merged": merged,
        "int8": fm.quantize(model),
        "merged, int8": fm.quantize(merged),
    }
    timed = latencies([each.model for each in models.values()], model.require_task())
    print(f"\n{name}: {', '.join(' + '.join(group) for group in plan.groups)}")
    print(
        f"{'':<14}{'parameters':>11}{'weights MB':>12}{'of it int8':>12}"
        f"{'on disk MB':>12}{'peak MB':>9}"
        f"{metric(model.require_task().metric).name:>12}{'loss':>8}{'time ×':>8}"
    )
    for (label, each), latency in zip(models.items(), timed, strict=True):
        score, size = fm.evaluate(each), footprint(each)
        print(
            f"{label:<14}{each.n_parameters:>11,}{size.weights / 1e6:>12.3f}"
            f"{int8_bytes(each.model) / 1e6:>12.3f}{size.disk / 1e6:>12.3f}{size.peak / 1e6:>9.2f}"
            f"{metric(score.metric).text(score.value):>12}{score.loss:>8.4f}"
            f"{latency.seconds / timed[0].seconds:>8.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=demos.names(), action="append")
    print(machine())
    for name in parser.parse_args().only or demos.names():
        print_models(name)


if __name__ == "__main__":
    main()

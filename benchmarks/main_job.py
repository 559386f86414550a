"""The main job's times on the demo, beside references measured in the same run.

    python -m benchmarks.main_job

The floor of a step is its floating-point operations over the matrix rate measured here; the
other references are a bare forward pass of the same data, CKA from Gram matrices, NumPy's
corrcoef, and the time that is allowed. On a shared machine compare ratios, not seconds.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch

import ffmerge_core as fm
from benchmarks.timing import Row, machine, matrix_rate, once, print_table, seconds
from ffmerge_core.analysis.similarity import cka_matrix

TOKENS = 10_000
PLAN = fm.MergePlan((tuple(f"encoder.{index}" for index in range(4, 9)),))


def similarity(model: fm.LoadedModel, feats: fm.Features, rate: float) -> list[Row]:
    names = [sublayer.name for sublayer in model.sublayers]
    d_model, d_ff = model.sublayers[0].d_model, model.sublayers[0].d_ff
    flops = len(names) * (len(names) + 1) * TOKENS  # 2 n d² for each of n (n + 1) / 2 pairs
    few = [feats[name].output[:2000] for name in names]
    first, second = (feats[name].pre.numpy() for name in names[:2])
    return [
        Row(
            "similarity, FF output",
            seconds(lambda: fm.similarity_matrix(feats, of="output")),
            "floor",
            flops * d_model**2 / rate,
        ),
        Row(
            "similarity, pre-activations",
            seconds(lambda: fm.similarity_matrix(feats, of="pre")),
            "floor",
            flops * d_ff**2 / rate,
        ),
        Row(
            "similarity, 2,000 tokens",
            seconds(lambda: cka_matrix([lambda x=x: x for x in few])),
            "Gram matrices",
            seconds(lambda: gram_cka([x.numpy() for x in few])),
        ),
        Row(
            "similarity, aligned neurons",
            once(lambda: fm.similarity_matrix(fm.calibrate(model, TOKENS), of="aligned")),
        ),
        Row(
            "one pair's correlation",
            seconds(lambda: feats.correlation(*names[:2])),
            "np.corrcoef",
            seconds(lambda: np.corrcoef(first.T, second.T)),
        ),
    ]


def gram_cka(features: list[np.ndarray]) -> None:
    """CKA of all pairs as the textbook prints it, from (n, n) Gram matrices."""
    grams = [x @ x.T for x in (f - f.mean(0) for f in features)]
    for index, k in enumerate(grams):
        for other in grams[index:]:
            np.vdot(k, other)


def whole_steps(model: fm.LoadedModel, feats: fm.Features) -> list[Row]:
    recipe = fm.Recipe(model.source, PLAN, tokens=TOKENS)
    return [
        Row("merge five, from features", seconds(lambda: fm.apply(model, PLAN, feats))),
        Row("validation, 359 images", seconds(lambda: fm.evaluate(model))),
        Row(
            "calibrate + similarity",
            seconds(lambda: fm.similarity_matrix(fm.calibrate(model, TOKENS))),
            "allowed",
            5.0,
        ),
        Row(
            "calibrate + merge + validation",
            seconds(lambda: fm.run(recipe, model=model)),
            "allowed",
            10.0,
        ),
    ]


def main() -> None:
    loading = once(lambda: fm.load("demo:vit-digits"))
    rate = matrix_rate()
    print(f"{machine()}; float32 matrix product {rate / 1e9:.0f} GFLOP/s\n")
    model = fm.load("demo:vit-digits")
    feats = fm.calibrate(model, TOKENS)
    batches = list(islice(model.require_task().calibration(0), 10))

    def forward() -> None:
        with torch.inference_mode():
            for batch in batches:
                batch.run(model.model)

    print_table(
        [
            Row("load, libraries included", loading),
            Row("load again, proof included", seconds(lambda: fm.load("demo:vit-digits"))),
            Row(
                "calibrate, 10,000 tokens",
                seconds(lambda: fm.calibrate(model, TOKENS)),
                "bare forward pass",
                seconds(forward),
            ),
            *similarity(model, feats, rate),
            *whole_steps(model, feats),
        ]
    )


if __name__ == "__main__":
    main()

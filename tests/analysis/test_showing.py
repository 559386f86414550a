"""What a notebook shows of features and what is made of them."""

from __future__ import annotations

import numpy as np
import torch

import ffmerge_core as fm
from ffmerge_core.analysis.clustering import Clustering
from tests.conftest import noise_task, timm_vit


def test_each_says_itself_in_a_line() -> None:
    assert repr(fm.Match(torch.arange(1200), 0.011, 0.424)) == (
        "Match(1,200 neurons: mean correlation 0.01 → 0.42)"
    )
    groups = (("encoder.0", "encoder.2"), ("encoder.1", "encoder.3"))
    names = tuple(f"encoder.{index}" for index in range(4))
    assert repr(Clustering(names, np.empty((3, 4)), groups, 0.425)) == (
        "Clustering(4 FF sublayers, cut at 0.425: encoder.0 + encoder.2, encoder.1 + encoder.3)"
    )
    assert repr(fm.RankCorrelation(-0.81, -0.95, -0.42, n=8, resamples=2000)) == (
        "RankCorrelation(−0.81 (−0.95 to −0.42), 8 windows)"
    )


def test_features_say_how_many_and_how_wide() -> None:
    feats = fm.calibrate(fm.load(timm_vit(), task=noise_task()), tokens=1000, seed=3)
    assert repr(feats) == "Features(3 FF sublayers, 1,000 tokens, seed 3)"
    assert repr(feats["encoder.1"]) == (
        "SublayerFeatures(1,000 tokens: pre 128, output 32, attention 32 wide)"
    )
    shown = feats._repr_html_()
    cells = ["FF sublayer", "tokens", "d_ff", "d_model"]
    for index in range(3):
        cells += [f"encoder.{index}", "1,000", "128", "32"]
    at = [shown.index(f">{feats!r}<")]
    for cell in cells:
        at.append(shown.index(f">{cell}<", at[-1] + 1))

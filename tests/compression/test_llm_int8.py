"""LLM.int8() by bitsandbytes: the weights of int8, and inputs that are rounded too."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ffmerge_core as fm
from ffmerge_core import extras
from ffmerge_core.errors import PlanError, SourceError
from ffmerge_core.models.structure import fingerprint
from tests.compression.test_quantization import matrices, opened, planned
from tests.models.tiny import MODELS, logits
from tests.storage import test_checkpoint


def llm_int8(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """By hand, in float64. x: (tokens, columns). weight: (rows, columns), int8. scale: (rows, 1).

    Where a feature of any token is 6 or beyond, it is multiplied as it is, by every row; the
    rest of a token is rounded to 127ths of its largest magnitude below 6.
    """
    outlier = (x.abs() >= 6.0).any(0)
    rest = x.double().masked_fill(outlier, 0)
    step = x.double().masked_fill(x.abs() >= 6.0, 0).abs().amax(1, keepdim=True) / 127
    y = (rest / step).round() @ weight.double().T * step * scale.double().T
    y += x[:, outlier].double() @ (weight.double() * scale.double())[:, outlier].T
    return y if bias is None else y + bias


@pytest.mark.parametrize("outliers", [(), ((0, 3),), ((0, 3), (4, 7))])
@pytest.mark.parametrize("name", MODELS)
def test_llm_int8_rounds_the_inputs_too_outliers_aside(
    name: str, outliers: tuple[tuple[int, int], ...]
) -> None:
    model = opened(name)
    small = fm.quantize(model, "llm.int8")
    plain = fm.quantize(model)
    generator = torch.Generator().manual_seed(3)
    for path, weight in matrices(plain).items():
        now: Any = small.model.get_submodule(path)
        kept: Any = weight
        assert torch.equal(now.weight.qdata, kept.qdata)
        x = torch.randn(10, kept.shape[1], generator=generator)
        for token, feature in outliers:
            x[token, feature] = 40.0
        with torch.inference_mode():
            found = now(x.reshape(2, 5, -1)).reshape(10, -1)
        # It turns inputs and outputs into float16 on the way.
        expected = llm_int8(x.half().float(), kept.qdata, kept.scale, now.bias)
        torch.testing.assert_close(found.double(), expected.detach(), rtol=2e-3, atol=2e-2)
        exact = plain.model.get_submodule(path)(x).detach().double()
        assert (found - exact).norm() > 3 * (found - expected).norm(), "it does round"


@pytest.mark.parametrize("name", test_checkpoint.MODELS)
def test_llm_int8_is_as_small_and_comes_back_from_disk_the_same(name: str, tmp_path: Path) -> None:
    merged = planned(test_checkpoint.original(name, tmp_path), "merge")
    small, plain = fm.quantize(merged, "llm.int8"), fm.quantize(merged)
    assert small.quantized == "llm.int8"
    assert (small.n_parameters, small.weight_bytes) == (plain.n_parameters, plain.weight_bytes)
    batch = small.family.example(small.model)
    again = fm.load(fm.save(small, tmp_path / "small").folder)
    assert again.quantized == "llm.int8"
    assert torch.equal(logits(again.model, batch), logits(small.model, batch))
    assert not torch.equal(logits(plain.model, batch), logits(small.model, batch))
    assert fingerprint(again.model) == fingerprint(small.model)


def test_without_bitsandbytes_it_says_what_to_install(
    model: fm.LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = planned(test_checkpoint.original("ViT", tmp_path), "merge")
    folder = fm.save(fm.quantize(merged, "llm.int8"), tmp_path / "small").folder
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(PlanError, match=r"bitsandbytes.* pip install \"ffmerge\[llm-int8\]"):
        fm.quantize(model, "llm.int8")
    with pytest.raises(SourceError, match=r"pip install \"ffmerge\[llm-int8\]"):
        fm.load(folder)

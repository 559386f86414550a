"""Small random models and data that every part of the suite shares."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import nn

import ffmerge_core as fm
from ffmerge_core import extras

# One thread each: the tests run side by side, a process a core. What they start inherits it.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

SIZE, CHANNELS, CLASSES = 8, 1, 10

# Packages of extras that are not installed, and those of them that the running test asked for.
ABSENT = frozenset(package for package in extras.EXTRAS if not extras.is_there(package))
_asked_for: set[str] = set()


def _asking(package: str, parent: str | None = None) -> ModuleSpec | None:
    _asked_for.update({package} & ABSENT)
    return find_spec(package, parent)


extras.find_spec = _asking


def pytest_runtest_logstart() -> None:
    _asked_for.clear()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A test that fails for want of an optional package is skipped, with the reason."""
    report = yield
    if report.failed and (lacking := sorted(_asked_for)):
        report.outcome = "skipped"
        where = str(item.path), item.location[1] or 0
        report.longrepr = (*where, f"Skipped: {' and '.join(lacking)} is not installed")
    return report


def randomise(model: nn.Module, scale: float = 0.3) -> nn.Module:
    """Every parameter random, norms included: a fresh norm of ones hides mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.eval()


def timm_vit(depth: int = 3, width: int = 32, **options: object) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return randomise(
        VisionTransformer(
            img_size=SIZE, patch_size=2, in_chans=CHANNELS, num_classes=CLASSES,
            embed_dim=width, depth=depth, num_heads=4, **options,
        )
    )  # fmt: skip


def transformers_vit(depth: int = 3, width: int = 32) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    return randomise(
        ViTForImageClassification(
            ViTConfig(
                hidden_size=width, num_hidden_layers=depth, num_attention_heads=4,
                intermediate_size=2 * width, image_size=SIZE, patch_size=2,
                num_channels=CHANNELS, num_labels=CLASSES,
            )
        )
    )  # fmt: skip


def noise_task(n: int = 60) -> fm.ImageClassification:
    """Random images: enough for invariants, meaningless as a score."""
    generator = torch.Generator().manual_seed(2)

    def split(size: int) -> fm.LabelledImages:
        return fm.LabelledImages(
            torch.rand(size, CHANNELS, SIZE, SIZE, generator=generator),
            torch.randint(0, CLASSES, (size,), generator=generator),
        )

    return fm.ImageClassification(
        data="noise",
        classes=tuple("0123456789"),
        splits={"train": split(n), "validation": split(n // 2), "test": split(n // 2)},
        mean=(0.5,),
        std=(0.3,),
    )


def determined(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe determines of a run's record: all but how the machine fared."""
    kept = {name: value for name, value in record.items() if name not in ("latency", "memory")}
    assert len(kept) == len(record) - 2
    return json.loads(json.dumps(kept))  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def task() -> fm.ImageClassification:
    return noise_task()


@pytest.fixture(params=["timm", "transformers"])
def model(request: pytest.FixtureRequest, task: fm.ImageClassification) -> fm.LoadedModel:
    module = timm_vit() if request.param == "timm" else transformers_vit()
    return fm.load(module, task=task)

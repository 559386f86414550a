"""Kinds that nobody lists anywhere but in their record: what finds them reads the records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import ffmerge_core as fm
from ffmerge_core.analysis.views import SIMILARITIES, VIEWS, Similarity, View
from ffmerge_core.compression.merge_methods import Group, average
from ffmerge_core.models.structure import Weights, weights_by_role
from ffmerge_core.plan import (
    METHODS,
    QUANTIZATIONS,
    REPAIRS,
    Merge,
    MergePlan,
    Quantization,
    Reduce,
    Repair,
)
from ffmerge_core.plan.methods import Mark
from ffmerge_core.plan.reduce import DropFF
from ffmerge_core.storage.layouts import LAYOUTS, Layout
from tests.cli.conftest import ffmerge, home, store  # noqa: F401
from tests.ui.conftest import home as fresh_server  # noqa: F401


def halved(group: Group) -> Weights:
    return {role: tensor / 2 for role, tensor in average(group).items()}


@dataclass(frozen=True)
class Silence(DropFF):
    """FF sublayers that say nothing, by another name than FF drop."""

    kind = "silence"
    method = "hush"


@pytest.fixture
def halve() -> Iterator[Merge]:
    record = Merge(
        name="halve",
        label="Halve",
        help="Averages, then halves.",
        source="Nobody, 2026",
        plan=MergePlan,
        mark=Mark("#123456", "bowtie"),
        needs=frozenset({"anchor"}),
        merge=halved,
    )
    with METHODS.registered(record):
        yield record


@pytest.fixture
def hush() -> Iterator[Reduce]:
    record = Reduce(
        name="hush",
        label="Hush",
        help="Silences FF sublayers.",
        plan=Silence,
        mark=Mark("#654321", "hash"),
        portable=False,
        searched=True,
        lay_out="ffmerge_core.models.reductions:drop_ff",
    )
    with METHODS.registered(record):
        yield record


def doubled(
    original: fm.LoadedModel, merged: nn.Module, plan: MergePlan, feats: object, report: object
) -> int:
    """Twice the shared W_out; no parameter more."""
    by_name = {sublayer.name: sublayer for sublayer in original.sublayers}
    with torch.no_grad():
        for group in plan.groups:
            weights_by_role(merged, by_name[group[0]])["out.weight"].mul_(2)
    return 0


@pytest.fixture
def double() -> Iterator[Repair]:
    record = Repair(name="double", label="Double", help="Doubles W_out.", work=doubled)
    with REPAIRS.registered(record):
        yield record


@pytest.fixture
def plain_layout() -> Iterator[Layout]:
    record = Layout(
        name="spare",
        label="Spare",
        help="Is written as compact is.",
        write="ffmerge_core.storage.compact:write",
        read="ffmerge_core.storage.compact:read",
    )
    with LAYOUTS.registered(record):
        yield record


@pytest.fixture
def rounding() -> Iterator[Quantization]:
    record = Quantization(name="int8-too", label="int8 too", help="Rounds as int8 does.")
    with QUANTIZATIONS.registered(record):
        yield record


@pytest.fixture
def looks() -> Iterator[tuple[View, Similarity]]:
    view = View(name="said", label="What is said", help="The output once more.", tap="output")
    similarity = Similarity(
        name="cka-too",
        label="CKA too",
        help="CKA once more.",
        matrix="ffmerge_core.analysis.similarity:cka_matrix",
    )
    with VIEWS.registered(view), SIMILARITIES.registered(similarity):
        yield view, similarity

"""Layouts, quantizations, views and similarities that are registered, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import ffmerge_core as fm
from ffmerge_core.analysis.views import Similarity, View
from ffmerge_core.models.structure import weights_by_role
from ffmerge_core.plan import MergePlan, Quantization, Repair, plan_from_dict
from ffmerge_core.reporting.runs import RunStore
from ffmerge_core.storage.layouts import Layout
from pages._ui.state.shared import run_store, workspace_store
from tests.cli.conftest import Call
from tests.ui.pages_support import add_group, go, id_of, open_app, press, sentences

DEMO = "demo:vit-digits"


def test_a_repair_is_carried_out_stored_and_offered(
    double: Repair, ffmerge: Call, store: RunStore, tmp_path: Path
) -> None:
    group = ("encoder.6", "encoder.7")
    model = fm.load(DEMO)
    plain, repaired = (
        fm.apply(model, fm.MergePlan((group,), method="vanilla", repair=repair))
        for repair in (None, "double")
    )
    before, after = (weights_by_role(each.model, model.sublayers[7]) for each in (plain, repaired))
    assert torch.equal(after["out.weight"], 2 * before["out.weight"])
    assert after["out.weight"] is weights_by_role(repaired.model, model.sublayers[6])["out.weight"]
    assert repaired.n_parameters == plain.n_parameters
    assert repaired.plan is not None
    assert plan_from_dict(json.loads(json.dumps(repaired.plan.to_dict()))) == repaired.plan
    assert "repair" not in MergePlan((group,)).to_dict()
    call = ("merge", DEMO, "--group", "encoder.6-7", "--method", "vanilla", "--repair", "double")
    assert json.loads(ffmerge(*call, "--json").stdout)["name"].endswith("repaired by double")


def test_pages_offer_a_repair(double: Repair) -> None:
    tab = open_app("similarity")
    workspace_store().find(id_of(tab)).choose(method="vanilla")
    add_group(tab, "encoder.6", "encoder.7")
    go(tab, "merge")
    tab.button_group(key="repair").set_value("double").run()
    press(tab, "Merge")
    assert run_store().list(DEMO)[0].recipe["plan"]["repair"] == "double"


def test_a_layout_is_saved_opened_and_offered(
    plain_layout: Layout, ffmerge: Call, store: RunStore, tmp_path: Path
) -> None:
    model = fm.load(DEMO)
    merged = fm.apply(model, fm.MergePlan((("encoder.1", "encoder.2"),), method="vanilla"))
    saved = fm.save(merged, tmp_path / "saved", "spare")
    assert fm.load(saved.folder).n_parameters == merged.n_parameters
    done = ffmerge("export", saved.folder, tmp_path / "again", "--layout", "spare", "--json")
    assert json.loads(done.stdout)["saved"]["layout"] == "spare"


def test_pages_offer_a_layout_and_a_quantization(
    plain_layout: Layout, rounding: Quantization
) -> None:
    tab = open_app("similarity")
    workspace_store().find(id_of(tab)).choose(tokens=1_000, method="vanilla")
    add_group(tab, "encoder.6", "encoder.7")
    go(tab, "merge")
    assert tab.button_group(key="quantize").options[-1] == "int8 too"
    tab.button_group(key="quantize").set_value("int8-too").run()
    press(tab, "Merge")
    (run,) = run_store().list(DEMO)
    assert run.recipe["quantize"] == "int8-too"
    assert "**Spare** is written as compact is." in sentences(tab)
    press(tab, "Save spare")
    assert "Saving the spare layout: done" in sentences(tab)


def test_a_quantization_is_an_option(
    rounding: Quantization, ffmerge: Call, store: RunStore
) -> None:
    call = ("merge", DEMO, "--group", "encoder.1-2", "--method", "vanilla", "--json")
    done = ffmerge(*call, "--quantize", "int8-too")
    assert json.loads(done.stdout)["recipe"]["quantize"] == "int8-too"


def test_a_view_and_a_similarity_are_compared_by(
    looks: tuple[View, Similarity], ffmerge: Call, store: RunStore
) -> None:
    call = ("similarity", DEMO, "--tokens", 500, "--json")
    once, again = (
        json.loads(ffmerge(*call, *more).stdout)["matrix"]
        for more in ((), ("--of", "said", "--metric", "cka-too"))
    )
    assert once == again
    tab = open_app("similarity")
    assert tab.selectbox(key="feature").options[-1] == "What is said"
    tab.selectbox(key="feature").set_value("said").run()
    tab.selectbox(key="metric").set_value("cka-too").run()
    go(tab, "similarity")
    (chart,) = tab.get("plotly_chart")
    assert "What is said, CKA too" in chart.proto.spec


def test_a_similarity_says_how_many_tokens_it_needs(model: fm.LoadedModel) -> None:
    feats = fm.calibrate(model, tokens=2)
    with pytest.raises(fm.FFMergeError, match="Linear CKA, unbiased needs 4 tokens or more"):
        fm.similarity_matrix(feats, metric="unbiased_cka")

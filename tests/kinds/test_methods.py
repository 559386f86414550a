"""A method that is registered, and nothing else, works on every page and in every verb."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import ffmerge_core as fm
from ffmerge_core.models.structure import weights_by_role
from ffmerge_core.plan import Merge, MergePlan, Reduce
from ffmerge_core.reporting.figures import RunPoint, compare_chart
from ffmerge_core.reporting.runs import RunStore
from ffmerge_core.tasks.metrics import metric
from pages._ui.state.shared import run_store, workspace_store
from tests.cli.conftest import Call
from tests.kinds.conftest import Silence
from tests.ui.pages_support import add_group, go, id_of, open_app, press, sentences

DEMO = "demo:vit-digits"
ALL = ",".join(f"encoder.{index}" for index in range(12))


def test_the_library_merges_by_it(halve: Merge, model: fm.LoadedModel) -> None:
    merged = fm.apply(model, fm.MergePlan((("encoder.0", "encoder.1"),), method="halve"))
    first, second = (weights_by_role(model.model, each) for each in model.sublayers[:2])
    found = weights_by_role(merged.model, model.sublayers[0])
    for role, tensor in found.items():
        expected = (first[role].double() + second[role].double()) / 2
        torch.testing.assert_close(tensor, expected.float() / 2)


def test_the_pages_offer_it_and_carry_it_out(halve: Merge, hush: Reduce) -> None:
    tab = open_app("similarity")
    workspace_store().find(id_of(tab)).choose(tokens=1_000)
    add_group(tab, "encoder.6", "encoder.7")
    go(tab, "merge")
    radio = tab.radio(key="method")
    assert radio.options[-1] == "Halve: averages, then halves"
    radio.set_value("halve").run()
    assert not tab.radio(key="anchor").disabled
    press(tab, "Merge")
    (run,) = run_store().list(DEMO)
    assert run.name == "Halve encoder 6–7, anchor first"
    assert run.recipe["plan"]["method"] == "halve"
    go(tab, "search")
    assert "**Halve** averages, then halves." in tab.button_group(key="search_methods").help
    tab.number_input[0].set_value(11)
    tab.button_group(key="search_methods").set_value(["halve", "hush"])
    press(tab.run(), "Search windows")
    assert set(tab.dataframe[0].value["Method"]) == {"halve", "hush"}
    go(tab, "compare")
    assert "halve" in tab.button_group(key="filter_methods").options
    kinds = tab.button_group[-1]
    assert {"Halve", "Hush"} & set(kinds.options) == {"Hush"}
    kinds.set_value(["hush"]).run()
    press(tab, "Run baselines")
    assert {each.recipe["plan"]["method"] for each in run_store().list(DEMO)} >= {"halve", "hush"}
    assert "failed" not in sentences(tab)


def test_every_verb_takes_it(halve: Merge, hush: Reduce, ffmerge: Call, store: RunStore) -> None:
    file = Path(store.path.parent) / "recipe.json"
    small = ("--tokens", 500)
    done = ffmerge("merge", DEMO, "--group", ALL, "--method", "halve", "--recipe", file, *small)
    assert done.exit_code == 0, done.stderr
    done = ffmerge(
        "search", DEMO, "--remove", 11, "--method", "halve", "--method", "hush", *small, "--json"
    )
    rows = json.loads(done.stdout)["windows"]
    assert {row["method"] for row in rows} == {"halve", "hush"}
    done = ffmerge("baselines", DEMO, "--recipe", file, "--kind", "hush", "--json")
    assert [each["kind"] for each in json.loads(done.stdout)["baselines"]] == ["hush"]
    assert ffmerge("run", file).exit_code == 0
    refused = ffmerge("merge", DEMO, "--group", ALL, "--method", "halved")
    assert "“halved”" in refused.stderr
    assert "random, halve" in " ".join(refused.stderr.split())


def test_its_mark_is_on_the_charts(halve: Merge, hush: Reduce) -> None:
    points = [
        RunPoint(name, name, 9 - at, 0.9, 0.8, 1.0, plan="", is_original=False, method=name)
        for at, name in enumerate(("hush", "halve", "permute"))
    ]
    drawn = {each.name: each.marker for each in compare_chart(points, metric("accuracy")).data}
    assert list(drawn)[-4:-1] == ["permute", "halve", "hush"] or list(drawn)[-3:] == [
        "permute", "halve", "hush",
    ]  # fmt: skip
    for record in (halve, hush):
        assert drawn[record.name].color == record.mark.colour
        assert drawn[record.name].symbol.startswith(record.mark.symbol)


def test_plans_of_a_new_kind_are_stored_read_and_saved(
    hush: Reduce, model: fm.LoadedModel, tmp_path: Path
) -> None:
    plan = Silence(("encoder.1",))
    recipe = fm.Recipe("somewhere", plan)
    assert fm.Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    reduced = fm.apply(model, plan)
    assert reduced.n_parameters == model.n_parameters - model.sublayers[1].n_parameters
    if hasattr(model.model, "config"):
        saved = fm.save(reduced, tmp_path / "saved")
        assert fm.load(saved.folder).plan == plan


def test_a_plan_s_own_names_are_its_record_s(halve: Merge) -> None:
    plan = MergePlan((("encoder.1", "encoder.2"),), method="halve")
    assert plan.record is halve
    assert plan.uses_anchor
    assert not plan.needs_features

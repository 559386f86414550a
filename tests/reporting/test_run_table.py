import csv
import io
import json
from datetime import datetime

import pytest

from ffmerge_core.plan import (
    NOTHING_MERGED,
    DropFF,
    DropLayers,
    Factor,
    MergePlan,
    Narrow,
    Recipe,
    Recovery,
)
from ffmerge_core.reporting.runs import RunStore


def scores(value, loss):
    return {
        "metric": "accuracy", "value": value, "loss": loss, "n": 359,
        "interval": [value - 0.01, value + 0.01], "loss_interval": [loss - 0.1, loss + 0.1],
    }  # fmt: skip


RESULT = {
    "original": {"n_parameters": 600_000, "weight_bytes": 2_400_000, "validation": scores(0.97, 1)},
    "merged": {"n_parameters": 500_000, "weight_bytes": 2_000_000, "validation": scores(0.9, 2)},
    "difference": {
        "validation": {
            "value": -0.07, "interval": [-0.1, -0.04], "loss": 1.0, "loss_interval": [0.8, 1.2],
            "agreement": 0.92, "n": 359,
        }
    },
    "memory": {"calibrate": 2_500_000, "merge": 3_000_000},
    "latency": {
        "original": {"seconds": 0.02, "per_second": 3_200.0, "unit": "images"},
        "merged": {"seconds": 0.01, "per_second": 6_400.0, "unit": "images"},
    },
    "pairs": [{"anchor": "encoder.3", "sublayer": "encoder.4", "before": 0.1, "after": 0.6}],
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


@pytest.fixture
def runs(store):
    plan = MergePlan((("encoder.3", "encoder.4", "encoder.5"), ("encoder.8", "encoder.9")))
    recipe = Recipe("demo:vit-digits", plan, tokens=5_000, seed=3).to_dict()
    run = store.start(recipe, "demo:vit-digits", 'a "quoted", name', {"torch": "2.14.1"})
    store.finish(run.id, RESULT, {"calibrate": 1.0, "merge": 0.5}, 3_000_000)
    store.fail(store.start(recipe, "demo:vit-digits", "failed", {}).id, "No data.")
    return store.list()


def test_the_table_has_one_row_a_run_with_its_figures(store, runs):
    table = store.to_frame(runs)
    assert list(table["name"]) == ["failed", 'a "quoted", name']
    row = table.iloc[1]
    assert row["groups"] == "encoder.3 + encoder.4 + encoder.5; encoder.8 + encoder.9"
    assert row["sublayers removed"] == 3
    assert (row["tokens"], row["seed"], row["method"]) == (5_000, 3, "permute")
    assert (row["original parameters"], row["parameters"]) == (600_000, 500_000)
    assert (row["weights MB"], row["peak memory MB"], row["seconds"]) == (2.0, 3.0, 1.5)
    assert (row["calibrate seconds"], row["calibrate peak memory MB"]) == (1.0, 2.5)
    assert (row["merge seconds"], row["merge peak memory MB"]) == (0.5, 3.0)
    assert table[["recover seconds", "recover peak memory MB"]].isna().all(axis=None)
    assert (row["original batch seconds"], row["batch seconds"]) == (0.02, 0.01)
    assert (row["original throughput per second"], row["throughput per second"]) == (3_200, 6_400)
    assert row["throughput of"] == "images"
    assert row["validation original score"] == 0.97
    assert (row["validation score"], row["validation score low"]) == (0.9, 0.89)
    assert (row["validation score change"], row["validation loss change high"]) == (-0.07, 1.2)
    assert row["validation agreement"] == 0.92
    assert (row["data"], row["fidelity"]) == (None, False)
    assert table["test score"].isna().all()


@pytest.mark.parametrize(
    ("plan", "method", "words", "removed"),
    [
        (DropLayers(("encoder.3", "encoder.4")), "layer drop", "Layer drop encoder 3–4", 2),
        (DropFF(("encoder.3",)), "FF drop", "FF drop encoder 3", 1),
        (Factor(("encoder.3",), 8), "SVD", "SVD encoder 3, rank 8", 0),
        (Narrow(("encoder.3",), 8), "narrow", "Narrow encoder 3 to 8 neurons", 0),
    ],
)
def test_a_plan_without_groups_says_its_own_words(store, plan, method, words, removed):
    store.start(Recipe("demo:vit-digits", plan).to_dict(), "demo:vit-digits", "a name", {})
    row = store.to_frame(store.list()).iloc[0]
    assert (row["method"], row["groups"], row["sublayers removed"]) == (method, words, removed)
    assert row["anchor"] is None


def test_the_original_as_a_plan_says_so_where_groups_stand(store):
    store.start(Recipe("demo:vit-digits", NOTHING_MERGED).to_dict(), "demo:vit-digits", "x", {})
    row = store.to_frame(store.list()).iloc[0]
    assert (row["groups"], row["sublayers removed"]) == ("Original, nothing merged", 0)
    assert (row["method"], row["anchor"]) == ("original", None)


def test_what_came_after_the_plan_has_columns(store):
    plan = MergePlan((("encoder.0", "encoder.1"),))
    tuned = Recipe(
        "demo:vit-digits", plan, recovery=Recovery(9, 0.1, 4, True, 2, until=0), quantize="int8"
    )
    for recipe in (Recipe("demo:vit-digits", plan), tuned):
        store.start(recipe.to_dict(), "demo:vit-digits", "x", {})
    table = store.to_frame(store.list()).set_index("weights")
    asked = ["recovery steps", "learning rate", "batch size", "distilled", "LoRA rank"]
    assert table.loc["int8", asked].tolist() == [0, 0.1, 4, True, 2]
    assert table.loc["float32", asked].isna().tolist() == [True, True, True, False, True]


def test_a_plan_of_another_version_leaves_its_cells_empty(store):
    recipe = Recipe("demo:vit-digits", MergePlan((("a.0", "a.1"),))).to_dict()
    store.start(recipe | {"plan": {"kind": "prune", "by": 3}}, "demo:vit-digits", "a name", {})
    row = store.to_frame(store.list()).iloc[0]
    assert (row["method"], row["groups"], row["sublayers removed"]) == (None, None, 0)


def test_a_failed_run_has_empty_figures_and_its_error(store, runs):
    row = store.to_frame(runs).iloc[0]
    assert row["error"] == "No data."
    assert row[["parameters", "validation score", "seconds"]].isna().all()


def test_figures_beside_the_own_metric_have_columns_of_their_own(store, runs):
    def others(value):
        return {"others": {"chrF": {"value": value, "interval": [value - 1, value + 1]}}}

    translated = {"merged": {"validation": others(95.5)}, "difference": {"validation": others(-2)}}
    store.update_result(runs[1].id, translated)
    table = store.to_frame(store.list())
    row = table.iloc[1]
    assert (row["validation chrF"], row["validation chrF low"]) == (95.5, 94.5)
    assert (row["validation chrF change"], row["validation chrF change high"]) == (-2, -1)
    assert table.iloc[0][["validation chrF", "validation chrF change"]].isna().all()
    assert list(table)[: len(store.to_frame(runs).columns)] == list(store.to_frame(runs))


def test_no_runs_make_an_empty_table_with_the_same_columns(store, runs):
    assert list(store.to_frame([]).columns) == list(store.to_frame(runs).columns)
    assert len(store.to_frame([])) == 0


def test_csv_reads_back(store, runs):
    rows = list(csv.DictReader(io.StringIO(store.to_csv(runs))))
    assert [row["name"] for row in rows] == ["failed", 'a "quoted", name']
    assert float(rows[1]["validation score"]) == 0.9
    assert rows[0]["validation score"] == ""


def test_json_is_complete_and_replays(store, runs):
    whole = json.loads(store.to_json(runs))[1]
    assert whole["result"] == RESULT
    assert Recipe.from_dict(whole["recipe"]) == Recipe.from_dict(runs[1].recipe)
    assert whole["seconds"] == {"calibrate": 1.0, "merge": 0.5}
    assert whole["versions"] == {"torch": "2.14.1"}
    assert whole["peak_memory"] == 3_000_000
    assert datetime.fromisoformat(whole["created"]) == runs[1].created


def test_json_holds_no_number_that_other_readers_refuse(store, runs):
    store.update_result(runs[1].id, {"merged": {"validation": {"loss": float("nan")}}})

    def refuse(constant):
        pytest.fail(f"{constant} is not JSON")

    text = store.to_json(store.list())
    whole = json.loads(text, parse_constant=refuse)
    assert whole[1]["result"]["merged"]["validation"]["loss"] is None

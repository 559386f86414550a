"""Whoever calls a public function with something else is told so in one sentence."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

import ffmerge_core as fm
from ffmerge_core import checks
from ffmerge_core.reporting import figures

FUNCTIONS = {name for name in fm.__all__ if inspect.isfunction(getattr(fm, name))}
DRAWN = {name for name in figures.__all__ if inspect.isfunction(getattr(figures, name))}
LONGEST = 300
GROUPS = (("encoder.4", "encoder.5"),)
SPLITS = {"train": None, "validation": None, "test": None}
PATHS = {"attention": "attn", "w_in": "mlp.fc1", "w_out": "mlp.fc2", "act": "mlp.act"}

# What a newcomer writes -> what the sentence says, or how it begins.
SLIPS = """
fm.load(None) -> source is None; it must be a path or a torch.nn.Module
fm.load("") -> source is ''; it must be a path
fm.load(42) -> source is 42; it must be a path
fm.load(model) -> source is of type LoadedModel; it must be a path
fm.load(nn.Linear) -> source is the class Linear; it must be a path
fm.load("demo:vit-digits", task=42) -> task is 42; it must be "digits"
fm.load("demo:vit-digits", task="") -> task is ''; it must be
fm.load("demo:vit-digits", task=model.task.splits["test"]) -> task is of type LabelledImages; it
fm.load("demo:vit-digits", task=fm.Translation) -> task is the class Translation; it
fm.load("demo:vit-digits", None, True) -> report is True; it must be a function.
fm.load("demo:vit-digits", fidelity="no") -> fidelity is 'no'; it must be True or False.
fm.calibrate("demo:vit-digits") -> model is 'demo:vit-digits'; it must be a LoadedModel.
fm.calibrate(model, tokens="10") -> tokens is '10'; a whole number from 2 up was expected
fm.calibrate(model, tokens=-1) -> tokens is -1; a whole number
fm.calibrate(model, tokens=1.5) -> tokens is 1.5; a whole number
fm.calibrate(model, tokens=True) -> tokens is True; a whole number
fm.calibrate(model, 2**63) -> tokens is 9223372036854775808; it must be below 2^63.
fm.calibrate(model, seed="x") -> seed is 'x'; a whole number
fm.calibrate(model, 100, 0, None) -> report is None; it must be a function.
fm.similarity_matrix(model) -> feats is of type LoadedModel; it must be Features.
fm.similarity_matrix(feats, "out") -> of is 'out'; it must be one of output, pre, attention,
fm.similarity_matrix(feats, metric=1) -> metric is 1; it must be one of cka, unbiased_cka.
fm.similarity_matrix(feats, stack=0) -> stack is 0; it must be text or None.
fm.cluster(np.eye(3), 2) -> similarity is of type ndarray; it must be a pandas DataFrame.
fm.cluster(pd.DataFrame(np.eye(3)), "2") -> remove is '2'; it must be
fm.cluster(pd.DataFrame(np.eye(3)), 3) -> 1 to 2 can be
fm.cluster(pd.DataFrame(np.eye(3)[:2]), 1) -> a table of 2 × 3; a square one
fm.cluster(pd.DataFrame([["a", "b"], ["c", "d"]]), 1) -> a table of 2 × 2; a square one of finite
fm.does_similarity_predict(alike) -> The table has no column 'mean CKA'. A table from
fm.does_similarity_predict([1, 2]) -> table is [1, 2]; it must be a pandas DataFrame.
fm.does_similarity_predict(pd.DataFrame(), ["mean CKA"]) -> of is ['mean CKA']; it must be text
fm.baselines("demo:vit-digits", plan) -> model is 'demo:vit-digits'; it must be a LoadedModel
fm.baselines(model, "half") -> budget is 'half'; it must be a plan or a whole number
fm.baselines(model, True) -> budget is True; it must be a plan or a whole number.
fm.baselines(model, 0.5) -> budget is 0.5; it must be a plan or a whole number.
fm.baselines(model, -5) -> budget is -5; a whole number from 1 up
fm.baselines(model, plan, "vanilla") -> kinds is 'vanilla'; it must be a list of names. Put it into
fm.baselines(model, plan, [1]) -> kinds is [1]; it must be a list of names.
fm.apply("demo:vit-digits", plan) -> model is 'demo:vit-digits'; it must be a LoadedModel.
fm.apply(module, plan) -> model is of type VisionTransformer; it must be a LoadedModel
fm.apply(model, {"groups": GROUPS}) -> plan is {'groups': (('encoder.4', 'encoder.5'),)}; it must be
fm.apply(model, GROUPS) -> plan is (('encoder.4', 'encoder.5'),); it must be a plan.
fm.apply(model, fm.MergePlan) -> plan is the class MergePlan; it must be a plan.
fm.apply(model, plan, model) -> feats is of type LoadedModel; it must be Features or None.
fm.quantize(plan) -> model is of type MergePlan; it must be a LoadedModel.
fm.quantize(model, 8) -> quantize is 8; it must be one of int8
fm.recover(module) -> model is of type VisionTransformer; it must be a LoadedModel
fm.recover(model, "5") -> A recovery's steps is '5'; a whole number
fm.recover(model, None) -> A recovery's steps is None; a whole number
fm.recover(model, 5, "1e-3") -> learning rate is '1e-3'; it must be above 0
fm.recover(model, 5, True) -> learning rate is True; it must be above 0
fm.recover(model, 5, seed=-1) -> seed is -1; a whole number from 0
fm.recover(model, 5, distill="yes") -> distill is 'yes'; it must be True or False.
fm.recover(model, 5, folder="") -> folder is ''; it must be a path or None.
fm.recover(model, 5, original="x") -> original is 'x'; it must be a LoadedModel or None.
fm.run(plan) -> recipe is of type MergePlan; it must be a Recipe. fm.Recipe(source, plan) is one
fm.run("recipe.json") -> recipe is 'recipe.json'; it must be a Recipe.
fm.run(recipe.to_dict()) -> ; it must be a Recipe.
fm.run(recipe, model="x") -> model is 'x'; it must be a LoadedModel or None.
fm.run(recipe, feats=model) -> feats is of type LoadedModel; it must be Features or None.
fm.run(recipe, before=0.9) -> before is 0.9; it must be an Evaluation or None.
fm.evaluate(module) -> model is of type VisionTransformer; it must be a LoadedModel
fm.evaluate(model, "valid") -> split is 'valid'; it must be one of train, validation, test.
fm.evaluate(model, 3) -> split is 3; it must be one of train, validation, test.
fm.search_windows(model, feats, "3") -> remove is '3'; it must be a whole number.
fm.search_windows(model, feats, 0) -> 0 FF sublayers cannot be removed from the 12 of encoder; 1 to
fm.search_windows(model, feats, 12) -> 12 FF sublayers cannot be removed from the 12 of encoder; 1
fm.search_windows(model, 3, 3) -> feats is 3; it must be Features. fm.calibrate(model) gives them.
fm.search_windows(model, feats, 3, methods="vanilla") -> methods is 'vanilla'; it must be a list of
fm.search_windows(model, feats, 3, anchors="first") -> anchors is 'first'; it must be a list of
fm.search_windows(model, feats, 3, methods=None) -> methods is None; it must be a list of names
fm.search_windows(model, feats, 3, similarity=alike) -> similarity is of type DataFrame; it must be
fm.save(module, folder) -> model is of type VisionTransformer; it must be a LoadedModel
fm.save(model, None) -> folder is None; it must be a path
fm.save(model, "") -> folder is ''; it must be a path
fm.save(model, folder, 1) -> layout is 1; it must be one of compact, portable.
fm.save(model, folder, recipe=plan) -> recipe is of type MergePlan; it must be a Recipe or None.
fm.save(model, folder, overwrite="no") -> overwrite is 'no'; it must be True or False.
fm.declare(model, "encoder.0", **PATHS) -> model is of type LoadedModel; it must be a
fm.declare(module, "encoder", **PATHS) -> name is 'encoder'; a stack and a number were expected
fm.declare(module, "encoder.0", **PATHS | {"w_in": plan}) -> w_in is of type MergePlan; it must be a
fm.declare(module, "encoder.0", **PATHS | {"w_out": None}) -> w_out is None; it must be text
fm.declare_stack(model, "encoder", "blocks", **PATHS) -> model is of type LoadedModel; it must be a
fm.declare_stack(module, "encoder", 12, **PATHS) -> blocks is 12; it must be text
fm.token_example(model) -> model is of type LoadedModel; it must be a torch.nn.Module.
fm.token_example(module) -> has no vocab_size
fm.pair_example("demo:gpt2-code") -> model is 'demo:gpt2-code'; it must be a torch.nn.Module.
fm.register_family("Llama") -> A Family was expected; 'Llama' was found.
fm.register_method("mean") -> A method is a Merge or a Reduce; 'mean' was found.
fm.register_metric("F1") -> A metric was expected as a Metric; 'F1' was found.
fm.register_task(model.task) -> was found
feats["encoder.99"] -> There are no features of 'encoder.99'. There are those of encoder 0–11;
feats[4] -> There are no features of 4.
feats.match("encoder.4", "x") -> There are no features of 'x'
feats.match("encoder.4", "encoder.4") -> encoder.4 was named twice
feats.correlation("encoder.4", None) -> no features of None
fm.evaluate(model).versus(0.9) -> original is 0.9; it must be an Evaluation. fm.evaluate(model)
fm.LabelledImages(np.eye(2), None) -> images is of type ndarray; it must be a torch.Tensor.
fm.ImageClassification("a", 10, {}, 0, 1) -> classes is 10; it must be a list of names.
fm.ImageClassification("a", "b", [], 0, 1) -> splits is []; it must be a dictionary.
fm.ImageClassification("a", ["b"], SPLITS, 0, 1) -> The train split is None; it must be a
fm.ImageClassification("a", ["b"], model.task.splits, 0.5, 1) -> mean is 0.5; it must be a list
fm.MergePlan("encoder.4") -> groups is 'encoder.4'; a list of groups of names was expected
fm.MergePlan((4, 5)) -> group is 4; it must be a list of names.
fm.MergePlan(((4, 5),)) -> group is (4, 5); it must be a list of names.
fm.MergePlan(GROUPS, seed=True) -> seed is True; a whole number
fm.MergePlan(GROUPS, method=np.eye(2)) -> method is of type ndarray; it must be one of permute,
fm.DropLayers("encoder.4") -> layers is 'encoder.4'; it must be a list of names. Put it
fm.DropFF(4) -> sublayers is 4; it must be a list of names
fm.Factor(("encoder.4",), "8") -> rank is '8'; a whole number from 1 up
fm.Recipe("demo:vit-digits", GROUPS) -> plan is (('encoder.4', 'encoder.5'),); it must be a plan.
fm.Recipe(model, plan) -> source is of type LoadedModel; it must be text.
fm.Recipe("demo:vit-digits", plan, recovery=5) -> recovery is 5; it must be a Recovery or None.
figures.anatomy_bar(model) -> anatomy is of type LoadedModel; it must be a list.
figures.compare_chart([], "accuracy") -> metric is 'accuracy'; it must be a Metric.
figures.pareto_front(model, None) -> points is of type LoadedModel; it must be a list, each entry a
figures.similarity_heatmap(feats) -> matrix is of type Features; it must be a pandas DataFrame.
figures.similarity_heatmap(alike, ["encoder.4"]) -> groups is ['encoder.4']; it must be a list
figures.matching_figure(np.eye(2), np.arange(3), ("a", "b")) -> A correlation of shape (2, 2) and a
figures.matching_figure(np.eye(2), np.arange(2), None) -> names is None; it must be a list of names.
figures.alignment_bars([0.5]) -> pairs is [0.5]; it must be a list, each entry a dictionary.
figures.probability_bars("ab", [0], [1]) -> classes is 'ab'; it must be a list of names.
figures.recovery_chart(None, None, 5) -> points is None; it must be a list, each entry a CurvePoint.
figures.window_chart([], "loss", 0.5) -> metric is 'loss'; it must be a Metric.
figures.damage_scatter([], 1, 0.5, None) -> of is 1; it must be text
figures.dendrogram(["a"], [[0]], [], 0.5) -> linkage is [[0]]; it must be a NumPy array.
figures.to_html("<html>") -> figure is '<html>'; it must be a plotly Figure.
"""
ROWS = [tuple(row.split(" -> ")) for row in SLIPS.strip().splitlines()]


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    model = fm.load("demo:vit-digits")
    plan = fm.MergePlan(GROUPS)
    feats = fm.calibrate(model, tokens=100)
    return {
        "fm": fm,
        "figures": figures,
        "np": np,
        "pd": pd,
        "nn": nn,
        "GROUPS": GROUPS,
        "PATHS": PATHS,
        "SPLITS": SPLITS,
        "model": model,
        "module": model.model,
        "feats": feats,
        "alike": fm.similarity_matrix(feats),
        "plan": plan,
        "recipe": fm.Recipe("demo:vit-digits", plan, tokens=100),
        "folder": tmp_path_factory.mktemp("slips") / "saved",
    }


@pytest.mark.parametrize(("call", "said"), ROWS)
def test_a_slip_is_told_in_a_sentence(call: str, said: str, at_hand: dict[str, Any]) -> None:
    with pytest.raises(fm.FFMergeError) as caught:
        eval(call, at_hand)
    sentence = str(caught.value)
    assert said in sentence
    assert len(sentence) <= LONGEST
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert " at 0x" not in sentence
    assert not at_hand["folder"].exists()


def test_every_public_function_and_every_figure_has_a_slip_here() -> None:
    assert (
        set(re.findall(r"^(?:fm|figures)\.([a-z_]+)\(", SLIPS, re.MULTILINE)) == FUNCTIONS | DRAWN
    )


def test_remedies_name_what_is_public() -> None:
    for what, (_, remedy) in checks._CLASSES.items():
        assert what in fm.__all__ or what in ("Module", "Tensor") or not remedy
        assert set(re.findall(r"fm\.(\w+)", remedy)) <= set(fm.__all__)


def test_numbers_of_numpy_are_numbers(at_hand: dict[str, Any]) -> None:
    model, three, two = at_hand["model"], np.int64(3), np.uint8(2)
    assert fm.calibrate(model, np.int32(100), seed=two).seed == 2
    assert fm.cluster(at_hand["alike"], three).groups == fm.cluster(at_hand["alike"], 3).groups
    plan = fm.MergePlan(GROUPS, seed=three)
    assert plan == fm.MergePlan(GROUPS, seed=3)
    recipe = fm.Recipe("demo:vit-digits", plan, tokens=np.int64(100), recovery=fm.Recovery(two))
    assert [type(each) for each in (plan.seed, recipe.tokens, recipe.recovery.steps)] == [int] * 3
    found = [fm.baselines(model, kind(500_000), ["SVD"]) for kind in (int, np.int64)]
    assert found[0] == found[1]


def test_neurons_of_two_stacks_are_not_matched() -> None:
    feats = fm.calibrate(fm.load("demo:marian-en-fr"), tokens=20)
    with pytest.raises(fm.DataError, match=r"encoder\.0 and decoder\.1 are of different stacks"):
        feats.match("encoder.0", "decoder.1")


def test_a_path_says_where_a_matrix_is(at_hand: dict[str, Any]) -> None:
    paths = {what: f"blocks.3.{path}" for what, path in PATHS.items()}
    declared = fm.declare(at_hand["module"], "encoder.3", **paths)
    assert declared == at_hand["model"].sublayers[3]
    assert declared.w_in == fm.Slot("blocks.3.mlp.fc1")


def test_a_value_in_a_sentence_is_short() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    for value in ("x" * 999, [["y" * 99] * 99] * 99, {"a": Odd()}, Odd(), 10**999, nn.Linear(9, 9)):
        assert len(checks.as_found(value)) <= 80
    assert "\n" not in checks.as_found({"a": nn.Sequential(nn.Linear(2, 2))})


def test_only_what_is_empty_is_no_path() -> None:
    for path in ("models", Path("models"), " "):
        checks.expect(fm.SourceError, folder=(path, checks.PathLike))
    with pytest.raises(fm.SourceError, match=r"^folder is ''; it must be a path\.$"):
        checks.expect(fm.SourceError, folder=("", checks.PathLike))

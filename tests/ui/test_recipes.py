"""A recipe put into a tab and read from it again: no field of any plan is lost on the way."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from ffmerge_core.errors import PlanError
from ffmerge_core.plan import (
    ANCHORS,
    BLEU_TOKENIZERS,
    METHODS,
    REPAIRS,
    MergePlan,
    Plan,
    Recipe,
    Recovery,
    Repair,
    in_layer_order,
)
from ffmerge_core.plan.quantizations import QUANTIZATIONS
from pages._ui.state.recipes import LARGEST_SEED, can_restore, recipe_of, restore
from pages._ui.state.shared import run_store, workspace_store
from pages._ui.state.subject import Opened, demo_subject
from pages._ui.state.workspace import Workspace, WorkspaceStore
from pages._ui.state.workspace_state import State
from tests.ui.pages_support import DEMO, compare, go, id_of, open_app, press, sentences

SUBJECT = demo_subject(DEMO)
NAMES = SUBJECT.names("encoder")
# Of a recipe, what a tab has no choice of: a run is pinned to what is there, and a recovery is
# set on the Recover page.
NOT_OF_A_TAB = {"dtype", "revision", "data_revision", "python", "recovery"}


@st.composite
def groups(draw: st.DrawFn) -> tuple[tuple[str, ...], ...]:
    names, found = draw(st.permutations(NAMES)), []
    while len(names) > 1 and draw(st.booleans()):
        size = draw(st.integers(2, len(names)))
        found.append(tuple(names[:size]))
        names = names[size:]
    return tuple(found)


SEEDS = st.integers(0, LARGEST_SEED)
# None is shipped, and a plan that has one must keep it.
REPAIR = Repair(name="thrown away", label="Thrown away", help="Does nothing.", work="no:work")
MERGES = [name for name, record in METHODS.items() if record.plan is MergePlan]
SUBLAYERS = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple)
PLAN_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "groups": groups(),
    "method": st.sampled_from(MERGES),
    "anchor": st.sampled_from(ANCHORS),
    "seed": SEEDS,
    "repair": st.sampled_from((None, REPAIR.name)),
    "layers": SUBLAYERS,
    "sublayers": SUBLAYERS,
    "rank": st.integers(1, 20),
    "width": st.integers(1, 100),
}


def built(cls: type, of: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Any value of a class; KeyError for a field that has no strategy, so that none is left out."""
    return st.builds(cls, **{field.name: of[field.name] for field in fields(cls)})


KINDS = dict.fromkeys(record.plan for record in METHODS.values())
PLANS: st.SearchStrategy[Plan] = st.one_of([built(cls, PLAN_FIELDS) for cls in KINDS])
RECIPES: st.SearchStrategy[Recipe] = built(
    Recipe,
    {
        "source": st.sampled_from((DEMO, "/models/elsewhere")),
        "plan": PLANS,
        "data": st.none() | st.sampled_from(("digits", "/data/mine.zip")),
        "fidelity": st.booleans(),
        "tokens": st.integers(2, 10**9),
        "seed": SEEDS,
        "dtype": st.just("float32"),
        "revision": st.none() | st.just("0" * 64),
        "data_revision": st.none() | st.just("0" * 64),
        "python": st.none() | st.just("3.12.1"),
        "recovery": st.none() | st.builds(Recovery, steps=st.integers(1, 99)),
        "quantize": st.none() | st.sampled_from(tuple(QUANTIZATIONS)),
        "tokenize": st.none() | st.sampled_from(tuple(BLEU_TOKENIZERS)),
        "allow_bin": st.booleans(),
    },
)


def used_tab() -> Workspace:
    """A tab in which other choices were made before."""
    tab = WorkspaceStore(None).find(None)
    tab.open(Opened(DEMO))
    tab.set_groups([NAMES[:3]], SUBJECT.sublayers)
    tab.choose(method="random", anchor="middle", plan_seed=5, tokens=77, seed=9, quantize="int8")
    return tab


def what_a_tab_has_of(recipe: Recipe) -> dict[str, Any]:
    """Field → value; members of a group in layer order, in which every merge takes them."""
    plan = recipe.plan
    assert isinstance(plan, MergePlan)
    ordered = tuple(in_layer_order(group, SUBJECT.sublayers) for group in plan.groups)
    found = {field.name: getattr(recipe, field.name) for field in fields(Recipe)}
    found["plan"] = replace(plan, groups=ordered)
    return {name: value for name, value in found.items() if name not in NOT_OF_A_TAB}


def test_every_field_of_a_recipe_survives_in_a_tab() -> None:
    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(RECIPES)
    def survives(recipe: Recipe) -> None:
        tab, subject = used_tab(), replace(SUBJECT, opened=Opened.of(recipe))
        before = tab.state
        if not can_restore(recipe.plan):
            with pytest.raises(PlanError, match=r"does not merge groups.*ffmerge run"):
                restore(tab, recipe, subject)
            assert tab.state == before
            return
        restore(tab, recipe, subject)
        kept = State.from_json(tab.state.to_json())
        assert what_a_tab_has_of(recipe_of(kept)) == what_a_tab_has_of(recipe)

    with REPAIRS.registered(REPAIR):
        survives()


@pytest.mark.parametrize("where", ["seed", "plan's seed"])
def test_a_seed_that_no_page_can_show_is_refused_before_anything_changes(where: str) -> None:
    seeds = {"seed": 0, "plan's seed": 0} | {where: LARGEST_SEED + 1}
    plan = MergePlan((("encoder.1", "encoder.2"),), "random", seed=seeds["plan's seed"])
    tab = used_tab()
    before = tab.state
    with pytest.raises(PlanError, match=rf"This recipe's {where} is {LARGEST_SEED + 1}"):
        restore(tab, Recipe(DEMO, plan, seed=seeds["seed"]), SUBJECT)
    assert tab.state == before


def test_a_recipe_of_layers_that_are_not_there_changes_nothing() -> None:
    tab = used_tab()
    before = tab.state
    with pytest.raises(PlanError, match=r"encoder\.99 is not an FF sublayer"):
        restore(tab, Recipe(DEMO, MergePlan((("encoder.1", "encoder.99"),))), SUBJECT)
    assert tab.state == before


PLAN = MergePlan((("encoder.6", "encoder.7"),), "random", "last", seed=7)
UNUSUAL = [
    Recipe(DEMO, PLAN, tokens=50, seed=2**31 + 5),
    Recipe(DEMO, replace(PLAN, method="copy", seed=2**40), quantize="int8"),
]


@pytest.mark.parametrize("recipe", UNUSUAL, ids=["few tokens, great seed", "hidden seed, int8"])
def test_the_pages_show_what_was_restored_and_leave_it(recipe: Recipe) -> None:
    tab = open_app("merge")
    workspace = workspace_store().find(id_of(tab))
    restore(workspace, recipe, SUBJECT)
    for page in ("similarity", "merge"):
        go(tab, page)
        assert not tab.error, page
        assert recipe_of(workspace.state) == recipe, page
    assert [each.value for each in tab.number_input] == ([7] if recipe.plan == PLAN else [])


def test_a_random_merge_opened_again_gives_the_same_loss() -> None:
    tab = random_merge()
    (first,) = run_store().list(DEMO)
    assert Recipe.from_dict(first.recipe).plan == PLAN
    again = compare(0)
    next(button for button in again.button if button.label == "Open").click()
    again.run()
    press(go(again, "merge"), "Merge")
    upload = go(open_app(), "model")
    upload.text_area(key="recipe-text").set_value(json.dumps(first.recipe))
    press(upload, "Open recipe")
    press(go(upload, "merge"), "Merge")
    runs = run_store().list(DEMO)
    assert len({json.dumps(run.recipe) for run in runs}) == 1
    losses = {run.result["merged"]["validation"]["loss"] for run in runs if run.result}
    assert (len(runs), len(losses)) == (3, 1)
    press(reseeded(tab, 8), "Merge")
    newest = run_store().list(DEMO)[0]
    assert newest.recipe["plan"]["seed"] == 8
    assert newest.result is not None
    assert newest.result["merged"]["validation"]["loss"] not in losses


def random_merge() -> AppTest:
    """A tab whose Merge page was told a method that draws, and the seed of the draw."""
    tab = open_app("merge")
    workspace = workspace_store().find(id_of(tab))
    workspace.set_groups(PLAN.groups, SUBJECT.sublayers)
    go(tab, "merge")
    assert not tab.number_input, "a method that draws nothing has no seed"
    tab.radio(key="anchor").set_value("last").run()
    tab.radio(key="method").set_value("random").run()
    return press(reseeded(tab, 7), "Merge")


def reseeded(tab: AppTest, seed: int) -> AppTest:
    return tab.number_input(key="plan_seed").set_value(seed).run()


def test_more_tokens_than_a_page_allows_are_told() -> None:
    tab = open_app()
    restore(workspace_store().find(id_of(tab)), Recipe(DEMO, PLAN, tokens=5_000_000), SUBJECT)
    assert "You chose 5,000,000 calibration tokens before" in sentences(go(tab, "similarity"))

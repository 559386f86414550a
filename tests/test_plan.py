"""Plans and recipes are values; groups that cannot be merged are refused in a sentence."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from ffmerge_core.errors import PlanError
from ffmerge_core.plan import (
    NOTHING_MERGED,
    REPAIRS,
    DropFF,
    DropLayers,
    Factor,
    MergePlan,
    Narrow,
    Plan,
    Recipe,
    Repair,
    check_groups,
    in_layer_order,
    layers_in_words,
    merges,
    plan_from_dict,
    plan_in_words,
    short,
)
from ffmerge_core.plan.methods import Need


@dataclass(frozen=True)
class Stub:
    """The smallest thing that a plan can be checked against."""

    name: str
    d_model: int = 8
    d_ff: int = 32
    n_parameters: int = 1000
    activation: str = "gelu"
    tied: tuple[str, ...] = ()
    n_shared: int = 0

    @property
    def stack(self) -> str:
        return self.name.split(".")[0]

    @property
    def shape(self) -> tuple[object, ...]:
        return (self.d_model, self.d_ff, self.activation)


ENCODER = [Stub(f"encoder.{index}") for index in range(6)]
DECODER = [Stub(f"decoder.{index}") for index in range(2)]


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ((("encoder.0",),), r"^Group 1 has 1 sublayer\. A group needs at least two to merge"),
        (
            (("encoder.0", "encoder.1"), ()),
            r"^Group 2 has 0 sublayers\. A group needs",
        ),
        ((("encoder.0", "encoder.9"),), r"encoder\.9 is not an FF sublayer"),
        ((("encoder.0", "encoder.0"),), "twice in group 1"),
        (
            (("encoder.0", "encoder.1"), ("encoder.1", "encoder.2")),
            r"^encoder\.1 is already in group 1\. .* one group only: edit or remove that group",
        ),
        ((("encoder.0", "decoder.0"),), r"different stacks; .* stack\. Make one group for each\.$"),
    ],
)
def test_groups_that_cannot_be_merged(groups: tuple[tuple[str, ...], ...], reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        check_groups(groups, [*ENCODER, *DECODER])
    with pytest.raises(PlanError, match=reason):
        MergePlan(groups).check([*ENCODER, *DECODER])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"d_ff": 64},
            r"encoder\.0 and encoder\.1 have widths d_ff 32 and 64; .* Split the group\.$",
        ),
        ({"d_model": 16}, r"have model widths 8 and 16; a group needs equal widths"),
        (
            {"activation": "relu"},
            r"built differently .* or inner norm.* Split the group\.$",
        ),
    ],
)
def test_unequal_members_are_refused(change: dict[str, object], reason: str) -> None:
    other = replace(ENCODER[1], **change)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=reason):
        check_groups((("encoder.0", "encoder.1"),), [ENCODER[0], other])


def test_savings_are_k_minus_one_sublayers_a_group() -> None:
    plan = MergePlan((("encoder.0", "encoder.1", "encoder.2"), ("encoder.4", "encoder.5")))
    plan.check(ENCODER)
    assert plan.n_removed == 3
    assert plan.parameters_removed(ENCODER) == 3000


def test_anchors() -> None:
    names = ("a", "b", "c", "d")
    chosen = {
        anchor: MergePlan((), anchor=anchor).anchor_of(names)
        for anchor in ("first", "middle", "last")
    }
    assert chosen == {"first": "a", "middle": "b", "last": "d"}
    assert MergePlan((), anchor="middle").anchor_of(names[:3]) == "b"


def test_layer_order() -> None:
    assert in_layer_order(("encoder.4", "encoder.0"), ENCODER) == ("encoder.0", "encoder.4")


def test_values_are_frozen_and_survive_json() -> None:
    recipe = Recipe("demo:vit-digits", MergePlan((("a", "b"),), "vanilla", "last"), seed=3)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert "repair" not in recipe.to_dict()["plan"], "as recipes said before there were any"
    assert hash(recipe) == hash(Recipe.from_dict(recipe.to_dict()))
    with pytest.raises(FrozenInstanceError):
        recipe.seed = 4  # type: ignore[misc]


def test_a_recipe_says_which_data_under_which_python() -> None:
    recipe = Recipe(
        "some/folder", MergePlan((("a", "b"),)), data="own/texts.txt", fidelity=True,
        revision="1" * 64, data_revision="2" * 64, python="3.11.7",
    )  # fmt: skip
    stored = json.loads(json.dumps(recipe.to_dict()))
    assert (stored["data_revision"], stored["python"]) == ("2" * 64, "3.11.7")
    assert Recipe.from_dict(stored) == recipe


def test_a_recipe_stored_before_they_were_known_fixes_neither() -> None:
    stored = Recipe("demo:vit-digits", MergePlan((("a", "b"),))).to_dict()
    assert "tokenize" not in stored, "as recipes said before there was a choice"
    for key in ("data", "fidelity", "data_revision", "python"):
        del stored[key]
    recipe = Recipe.from_dict(stored)
    assert (recipe.data, recipe.fidelity) == (None, False)
    assert (recipe.data_revision, recipe.python) == (None, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"method": "average"},
            "is 'average'; it must be one of permute, vanilla, copy, random",
        ),
        ({"anchor": "best"}, "anchor is 'best'"),
        ({"kind": "drop"}, "kind 'drop'"),
        ({"repair": "ridge"}, "repair is 'ridge'; none is known"),
        ({"colour": "red"}, "no field 'colour'"),
    ],
)
def test_unknown_choices_are_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        MergePlan.from_dict(MergePlan(()).to_dict() | change)


def test_impossible_recipes_are_refused() -> None:
    with pytest.raises(PlanError, match="tokens is 1; a whole number from 2 up"):
        Recipe("x", MergePlan(()), tokens=1)
    with pytest.raises(PlanError, match="dtype"):
        Recipe("x", MergePlan(()), dtype="int4")
    with pytest.raises(PlanError, match=r"^Recipe lacks source, plan\.$"):
        Recipe.from_dict({})
    with pytest.raises(PlanError, match="Recipe has no field 'snapshot'"):
        Recipe.from_dict(Recipe("x", MergePlan(())).to_dict() | {"snapshot": "y"})


REDUCTIONS = (
    DropLayers(("encoder.1", "encoder.2")),
    DropFF(("encoder.3",)),
    Factor(("encoder.0", "encoder.1"), rank=5),
    Narrow(("encoder.0",), width=7),
)


@pytest.mark.parametrize("plan", [MergePlan((("a", "b"),)), *REDUCTIONS])
def test_every_plan_comes_back_from_json_and_in_a_recipe(plan: Plan) -> None:
    stored = json.loads(json.dumps(plan.to_dict()))
    assert plan_from_dict(stored) == plan
    assert stored["method"] == plan.method
    recipe = Recipe("x", plan)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "prune"}, r"kind 'prune'.*merge, drop-layers, drop-ff, factor, narrow"),
        ({"rank": 0}, "rank is 0"),
        ({"rank": True}, "rank is True"),
        ({"rank": "5"}, "rank is '5'"),
        ({"sublayers": "encoder.0"}, "is 'encoder.0'; a list of names was expected"),
        ({"sublayers": [["encoder.0"]]}, "a list of names"),
        ({"sublayers": []}, "names none"),
        ({"width": 3}, "no field 'width'"),
    ],
)
def test_stored_reductions_that_cannot_be(change: dict[str, object], reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        plan_from_dict(REDUCTIONS[2].to_dict() | change)


@pytest.fixture
def repairs() -> Iterator[None]:
    """Two repairs, of which one asks for features."""
    needs: dict[str, frozenset[Need]] = {"blind": frozenset(), "seeing": frozenset({"features"})}
    with ExitStack() as registered:
        for name, needed in needs.items():
            record = Repair(name=name, label=name, help="Repairs.", work=len, needs=needed)
            registered.enter_context(REPAIRS.registered(record))
        yield


def test_what_a_plan_is_carried_out_by(repairs: None) -> None:
    plans = {name: MergePlan((("a", "b"),), method=name) for name in merges()}
    assert [name for name, plan in plans.items() if plan.aligns] == ["permute"]
    assert [name for name, plan in plans.items() if plan.needs_features] == ["permute"]
    assert [name for name, plan in plans.items() if plan.uses_anchor] == ["permute", "copy"]
    assert [plan.needs_features for plan in REDUCTIONS] == [False, False, False, True]
    for name, needs in (("blind", False), ("seeing", True)):
        assert replace(plans["copy"], repair=name).needs_features is needs
        assert replace(plans["permute"], repair=name).needs_features
        assert not replace(plans["copy"], repair=name).aligns


def test_a_seed_and_a_repair_are_said_where_they_count(repairs: None) -> None:
    drawn = MergePlan((("encoder.1", "encoder.2"),), "random", seed=3)
    assert plan_in_words(drawn) == "Random encoder 1–2, seed 3"
    assert plan_in_words(replace(drawn, seed=0)) == "Random encoder 1–2"
    copied = replace(drawn, method="copy", repair="blind")
    assert plan_in_words(copied) == "Copy encoder 1–2, anchor first, repaired by blind"


def test_plans_in_words() -> None:
    assert short(["encoder.7", "encoder.3", "encoder.4"]) == "encoder 3–4, 7"
    assert short(["encoder.0", "encoder.1", "decoder.1"]) == "encoder 0–1 and decoder 1"
    both = MergePlan((("encoder.1", "encoder.2"), ("decoder.0", "decoder.5")), anchor="last")
    assert [
        plan_in_words(plan) for plan in (both, MergePlan(((ENCODER[0].name,),), "vanilla"))
    ] == [
        "Permute encoder 1–2 and decoder 0, 5, anchor last",
        "Vanilla encoder 0",
    ]
    for nothing in (NOTHING_MERGED, MergePlan(())):
        assert plan_in_words(nothing) == "Original, nothing merged"
    assert layers_in_words(NOTHING_MERGED) == "none"
    assert [plan_in_words(plan) for plan in REDUCTIONS] == [
        "Layer drop encoder 1–2",
        "FF drop encoder 3",
        "SVD encoder 0–1, rank 5",
        "Narrow encoder 0 to 7 neurons",
    ]

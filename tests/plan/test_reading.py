"""A recipe that someone brings is read whole, or refused in a sentence."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ffmerge_core.errors import PlanError
from ffmerge_core.plan import (
    DropFF,
    DropLayers,
    Factor,
    MergePlan,
    Narrow,
    Plan,
    Recipe,
    Recovery,
    recipe_from_json,
)

MERGE = MergePlan((("encoder.1", "encoder.2"), ("decoder.0", "decoder.1")), "copy", "last")
RECIPE = Recipe(
    "demo:vit-digits", MERGE, data="own.txt", tokens=500, seed=2**63 - 1, revision="1" * 64,
    recovery=Recovery(steps=20, learning_rate=1, lora_rank=2, until=7), quantize="int8",
    tokenize="char",
)  # fmt: skip
PLANS: tuple[Plan, ...] = (
    MERGE,
    DropLayers(("encoder.1", "encoder.2")),
    DropFF(("encoder.3",)),
    Factor(("encoder.0", "encoder.1"), rank=5),
    Narrow(("encoder.0",), width=7),
)


def with_mark(text: str) -> bytes:
    return b"\xef\xbb\xbf" + text.encode()


@pytest.mark.parametrize(
    "pack",
    [lambda each: each, lambda each: {"recipe": each}, lambda each: [{"name": "", "recipe": each}]],
)
@pytest.mark.parametrize("encode", [str, str.encode, lambda text: "\ufeff" + text, with_mark])
def test_it_is_read_by_itself_or_from_a_run(pack: Any, encode: Any) -> None:
    for plan in PLANS:
        recipe = replace(RECIPE, plan=plan)
        text = json.dumps(pack(recipe.to_dict()), ensure_ascii=False)
        assert recipe_from_json(encode(text)) == recipe


def a_recipe(**others: object) -> str:
    return json.dumps({"source": "a", "plan": {"groups": []}, **others})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ('{"source": ' + "9" * 5_000, "it is not JSON"),
        (b"\xff\x00\xfe", "it is not JSON"),
        ("\ud800", "it is not JSON"),
        ("[]", "a list of 0 entries, and"),
        ("[{}, {}]", "a list of 2 entries, and"),
        ("7", "An object with a source and a plan was expected"),
        ('["recipe"]', "An object with a source and a plan was expected"),
        ('{"recipe": null}', "An object with a source and a plan was expected"),
        ('{"recipe": {"recipe": {}}}', "An object with a source and a plan was expected"),
        ('{"source": "demo:vit-digits"}', "An object with a source and a plan was expected"),
        (a_recipe(source=3), "source is 3; plain text was expected"),
        (a_recipe(source="a\0b"), r"source is 'a\\x00b'; plain text"),
        (a_recipe(data="\udfff"), r"data is '\\udfff'; plain text or null was expected"),
        (a_recipe(data="\ud800"), r"data is '\\ud800'; plain text or null was expected"),
        (a_recipe(fidelity="no"), "fidelity is 'no'; true or false was expected"),
        (a_recipe(tokens="many"), "tokens is 'many'; a whole number was expected"),
        (a_recipe(tokens=True), "tokens is True; a whole number was expected"),
        (a_recipe(tokens=2.5), "tokens is 2.5; a whole number was expected"),
        (a_recipe(tokens=1), "tokens is 1; a whole number from 2 up was expected"),
        (a_recipe(seed=-1), "seed is -1; a whole number from 0 up was expected"),
        (a_recipe(seed=2**63), r"seed is 9223372036854775808; it must be below 2\^63"),
        (a_recipe(revision=5), "revision is 5; plain text or null was expected"),
        (a_recipe(dtype="int4"), "dtype is 'int4'; it must be one of float32"),
        (a_recipe(quantize=["int8"]), r"quantize is \['int8'\]; plain text or null was"),
        (a_recipe(tokenize=3), "tokenize is 3; plain text or null was expected"),
        (a_recipe(tokenize="words"), "tokenize is 'words'; it must be one of 13a, intl, zh"),
        (a_recipe(colour="red"), "Recipe has no field 'colour'"),
        (a_recipe(plan=[]), r"plan is \[\]; an object was expected"),
        (a_recipe(plan={}), "MergePlan lacks groups"),
        (a_recipe(plan={"kind": ["merge"]}), r"kind \['merge'\] was found; this version reads"),
        (a_recipe(plan={"groups": [], "colour": 1}), "MergePlan has no field 'colour'"),
        (a_recipe(plan={"groups": 7}), "groups is 7; a list of lists of names was expected"),
        (a_recipe(plan={"groups": "ab"}), "groups is 'ab'; a list of lists of names"),
        (a_recipe(plan={"groups": [[["encoder.1"]]]}), "a list of lists of names was expected"),
        (a_recipe(plan={"groups": [], "method": {}}), "method is {}; plain text was expected"),
        (a_recipe(plan={"groups": [], "seed": -3}), "seed is -3; a whole number from 0 up"),
        (a_recipe(recovery=[]), r"recovery is \[\]; an object or null was expected"),
        (a_recipe(recovery={"steps": 10**400}), r"steps is 1000+\.\.\.0+; it must be below 2\^63"),
        (a_recipe(recovery={"learning_rate": True}), "learning_rate is True; a number was"),
        (a_recipe(recovery={"learning_rate": float("nan")}), "learning rate is nan; it must be"),
        (a_recipe(recovery={"learning_rate": 10**400}), "learning rate is 1000+.*must be"),
        (a_recipe(recovery={"until": -1}), "until is -1; a whole number from 0 up was expected"),
        (a_recipe(recovery={"steps": 5, "until": 5}), "5 steps cannot have been cancelled at"),
        (a_recipe(source=["x" * 9_000] * 9), r"^.{0,300}$"),
    ],
)
def test_what_is_none_is_told(text: str | bytes, said: str) -> None:
    with pytest.raises(PlanError, match=said) as refused:
        recipe_from_json(text)
    assert str(refused.value).encode(), "whatever was in it, the sentence can be printed"


@pytest.mark.parametrize("text", ["{", "7", '{"source": "demo:vit-digits"}'])
def test_what_is_no_recipe_says_which_to_take(text: str) -> None:
    take = r" Use a recipe that the Merge page or the command line wrote, or a stored run\.$"
    with pytest.raises(PlanError, match="^This is not a recipe.*" + take):
        recipe_from_json(text)


ANYTHING = (
    None, True, 0, -1, 1.5, float("inf"), 10**400, "", "x", "a\0", "\ud800", [], [[]], ["a", 3],
    [["a"], "b"], {}, {"kind": {}}, [None],
)  # fmt: skip


def altered(value: Any) -> Iterator[Any]:
    """`value` with one thing in it replaced, at every place and by everything in turn."""
    yield from ANYTHING
    if isinstance(value, dict):
        yield from ({**value, key: 1} for key in ("x" * 9_000, "\ud800"))
        for key, inner in value.items():
            yield from ({**value, key: other} for other in altered(inner))
    if isinstance(value, list):
        for at, inner in enumerate(value):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in altered(inner))


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.kind)
def test_whatever_is_changed_in_it_it_is_whole_or_refused(plan: Plan) -> None:
    good = json.loads(json.dumps(replace(RECIPE, plan=plan).to_dict()))
    said: list[str] = []
    read: list[Recipe] = []
    for found in altered(good):
        try:
            read.append(recipe_from_json(json.dumps(found)))
        except PlanError as error:
            said.append(str(error))
    assert max(len(sentence.encode()) for sentence in said) < 500
    assert all(Recipe.from_dict(json.loads(json.dumps(r.to_dict()))) == r for r in read)
    assert len({hash(recipe) for recipe in read}) > 20
    assert len(said) > len(read)

"""Records by name, in their order."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

import ffmerge_core as fm
from ffmerge_core.errors import PlanError
from ffmerge_core.kinds import Kind, Kinds, resolve
from ffmerge_core.models.families import FAMILIES
from ffmerge_core.plan import (
    METHODS,
    QUANTIZATIONS,
    DropFF,
    Merge,
    MergePlan,
    Method,
    Plan,
    Reduce,
    Reduction,
    merges,
    rivals,
    searched,
)
from ffmerge_core.plan.methods import UNMARKED


def named(name: str) -> Kind:
    return Kind(name, name.capitalize(), "Does what it does.")


def test_they_keep_their_order_and_are_found_by_name() -> None:
    known: Kinds[Kind] = Kinds("thing", PlanError, [named("b"), named("a")])
    assert list(known) == ["b", "a"]
    assert known.of("a") is known["a"]
    assert known["a"].line == "A: does what it does"
    assert known["a"].sentence == "**A** does what it does."


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    known: Kinds[Kind] = Kinds("thing", PlanError, [named("b"), named("a")])
    with pytest.raises(PlanError, match="thing is 'c'; it must be one of b, a"):
        known.of("c")


def test_a_name_is_taken_once_and_a_spare_one_leaves_again() -> None:
    known: Kinds[Kind] = Kinds("thing", PlanError, [named("a")])
    with pytest.raises(PlanError, match="There is a thing called 'a' already"):
        known.register(named("a"))
    with known.registered(named("b")):
        assert list(known) == ["a", "b"]
    assert list(known) == ["a"]


def test_a_function_is_taken_as_it_is_or_imported_by_its_name() -> None:
    assert resolve(len) is len
    assert resolve("ffmerge_core.kinds:resolve") is resolve


@pytest.mark.parametrize("record", METHODS.values(), ids=lambda record: record.name)
def test_every_method_says_all_of_itself(record: Merge) -> None:
    assert record.label
    assert record.help.endswith(".")
    for work in ("merge", "lay_out", "fill"):
        if getattr(record, work, None) is not None:
            assert callable(resolve(getattr(record, work)))


@pytest.mark.parametrize(
    ("name", "needs", "portable", "searched", "usual", "spared"),
    [
        ("permute", {"anchor", "features"}, True, True, True, None),
        ("vanilla", set(), True, True, True, None),
        ("copy", {"anchor"}, True, True, True, None),
        ("random", {"seed"}, True, True, False, None),
        ("layer drop", set(), True, True, True, 1),
        ("FF drop", set(), False, False, False, 0),
        ("SVD", set(), False, False, False, None),
        ("narrow", {"features"}, False, False, False, None),
    ],
)
def test_what_a_method_needs_and_can(
    name: str, needs: set[str], portable: bool, searched: bool, usual: bool, spared: int | None
) -> None:
    record = METHODS[name]
    assert record.needs == needs
    assert (record.portable, record.searched, record.usual) == (portable, searched, usual)
    assert record.int8
    assert getattr(record.plan, "spared", None) == spared


def test_methods_are_told_apart_on_charts() -> None:
    for told in zip(*(record.mark for record in METHODS.values()), strict=True):
        assert len(set(told)) == len(METHODS)


def test_a_quantization_is_installed_where_its_package_is() -> None:
    record = QUANTIZATIONS["int8"]
    assert replace(record, requires=("json",)).installed is True
    assert replace(record, requires=("json", "no_such_package")).installed is False


def test_merges_come_first() -> None:
    assert tuple(METHODS)[: len(merges())] == merges()
    assert set(merges()) < set(searched())


@pytest.mark.parametrize("record", METHODS.values(), ids=lambda record: record.name)
def test_every_shipped_method_has_a_mark_of_its_own(record: Method) -> None:
    assert record.mark is not UNMARKED
    assert [each.mark for each in METHODS.values()].count(record.mark) == 1


def test_a_name_that_is_no_text_and_a_long_one_are_sentences() -> None:
    with pytest.raises(PlanError, match=r"method is \['permute'\]; it must be one of"):
        METHODS.of(["permute"])  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"^.{0,200}$"):
        METHODS.of("x" * 2_000)


@dataclass(frozen=True)
class Twin(DropFF):
    """Of another method, and by its kind still of FF drop."""

    method = "twin"


@dataclass(frozen=True)
class Loose(Reduction):
    """Neither of a place nor of a size."""

    sublayers: tuple[str, ...]
    kind = "loose"
    method = "loose"


def reduces(plan: type[Plan], name: str, **more: Any) -> Reduce:
    return Reduce(name=name, label=name, help="Does.", plan=plan, lay_out=len, **more)


def test_a_kind_of_plan_belongs_to_one_method() -> None:
    with pytest.raises(PlanError, match="kind 'drop-ff' are those of method 'FF drop' already"):
        METHODS.register(reduces(Twin, "twin"))
    with pytest.raises(PlanError, match="has plans that say method 'loose'"):
        METHODS.register(reduces(Loose, "lose"))
    with pytest.raises(PlanError, match="cannot be searched"):
        METHODS.register(reduces(Loose, "loose", searched=True))
    assert not {"twin", "lose", "loose"} & set(METHODS)


def test_a_plan_of_no_place_and_no_size_is_no_rival() -> None:
    with METHODS.registered(reduces(Loose, "loose")):
        assert "loose" not in rivals(MergePlan((("encoder.0", "encoder.1"),)))
        assert "loose" not in rivals(1_000)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"help": ""}, "The help of a method is ''; a line of text"),
        ({"name": None}, "The name of a method is None"),
        ({"label": "two\nlines"}, "The label of a method"),
        ({"plan": DropFF(("encoder.1",))}, "a class of plans with a kind was expected"),
        ({"plan": dict}, "a class of plans with a kind was expected"),
        ({"needs": frozenset({"labels"})}, "needs 'labels'; the needs are anchor, features, seed"),
    ],
)
def test_a_record_that_says_too_little_of_itself_is_refused(changes: Any, said: str) -> None:
    whole = {"name": "own", "label": "Own", "help": "Does it.", "plan": MergePlan, "merge": len}
    with pytest.raises(PlanError, match=said):
        METHODS.register(Merge(**{**whole, **changes}))
    assert "own" not in METHODS


@pytest.mark.parametrize("record", [named("a"), len, None])
def test_what_is_no_record_of_a_method_is_refused(record: Any) -> None:
    with pytest.raises(PlanError, match="a Merge or a Reduce"):
        METHODS.register(record)


@pytest.mark.parametrize("register", [fm.register_task, fm.register_metric, fm.register_family])
def test_what_is_no_record_of_another_kind_is_refused(register: Any) -> None:
    with pytest.raises(fm.FFMergeError, match=r"was expected.*was found"):
        register(named("a"))


@pytest.mark.parametrize("classes", ["LlamaForCausalLM", (), (("transformers",),), (dict,)])
def test_the_classes_of_a_family_are_pairs(classes: Any) -> None:
    family = replace(next(iter(FAMILIES.values())), name="own", classes=classes)
    with pytest.raises(fm.UnsupportedModelError, match="pairs of a package and a class name"):
        fm.register_family(family)

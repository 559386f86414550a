"""Records by name, in their order."""

from dataclasses import replace

import pytest

from ffmerge_core.errors import PlanError
from ffmerge_core.kinds import Kind, Kinds, resolve
from ffmerge_core.plan import METHODS, QUANTIZATIONS, Merge, merges, searched


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
    assert replace(record, requires="json").installed is True
    assert replace(record, requires="no_such_package").installed is False


def test_merges_come_first() -> None:
    assert tuple(METHODS)[: len(merges())] == merges()
    assert set(merges()) < set(searched())

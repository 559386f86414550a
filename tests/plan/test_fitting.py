"""Whether a recipe is of what is here."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from ffmerge_core.plan import MergePlan, Recipe, Recovery
from ffmerge_core.plan.fitting import Unlike, same_but, unlike

HERE: dict[str, Any] = {"revision": "w", "data_revision": "d", "python": "3.12.1"}
PLAN = MergePlan((("encoder.0", "encoder.1"),))
PINNED = Recipe("a model", PLAN, **HERE)


@pytest.mark.parametrize("lacking", [(), ("revision",), ("data_revision",), tuple(HERE)])
def test_what_is_as_it_was_or_not_asked_for_fits(lacking: tuple[str, ...]) -> None:
    assert unlike(replace(PINNED, **dict.fromkeys(lacking)), **HERE) is None


def test_weights_come_before_data() -> None:
    other = replace(PINNED, revision="v", data_revision="e")
    assert unlike(other, **HERE) == Unlike("weights", "v", "w", None)
    assert unlike(replace(other, revision="w"), **HERE) == Unlike("data", "e", "d", None)
    assert unlike(replace(other, revision=None), **HERE) == Unlike("data", "e", "d", None)


def test_data_that_is_not_known_here_is_no_difference() -> None:
    other = replace(PINNED, data_revision="e")
    assert unlike(other, **{**HERE, "data_revision": None}) is None


@pytest.mark.parametrize(
    ("wrote", "here", "told"),
    [
        ("3.9.1", "3.12.1", "3.9.1"),
        ("3.12.1", "3.12.1", None),
        (None, "3.12.1", None),
        ("3.9.1", None, None),
    ],
)
def test_another_python_is_told_with_a_difference_and_is_none(
    wrote: str | None, here: str | None, told: str | None
) -> None:
    recipe, now = replace(PINNED, python=wrote), {**HERE, "python": here}
    assert unlike(recipe, **now) is None
    found = unlike(replace(recipe, data_revision="e"), **now)
    assert found == Unlike("data", "e", "d", told)
    assert unlike(replace(recipe, revision="v"), **now) == Unlike("weights", "v", "w", told)


OTHERS: dict[str, Any] = {
    "source": "another", "plan": MergePlan(()), "data": "digits", "fidelity": True, "tokens": 3,
    "seed": 3, "dtype": "float32", "revision": "v", "data_revision": "e", "python": "3.9.1",
    "recovery": Recovery(1), "quantize": "int8",
    "tokenize": "zh", "allow_bin": True,
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in fields(Recipe)])
def test_every_field_counts_but_those_that_are_named(name: str) -> None:
    other = replace(PINNED, **{name: OTHERS[name]})
    assert same_but(PINNED, other, name)
    assert same_but(PINNED, other) == (name == "dtype"), "there is one dtype alone"

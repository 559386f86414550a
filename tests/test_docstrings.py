"""`help` of every public name teaches: its sections are whole, and its example runs."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

import ffmerge_core as fm
from ffmerge_core.models.families import FAMILIES
from ffmerge_core.plan.methods import METHODS
from ffmerge_core.tasks.kinds import TASKS
from ffmerge_core.tasks.metrics import METRICS

# What many an example begins with; carried out once for all of them.
BEGINNING = (
    "import ffmerge_core as fm\n",
    'model = fm.load("demo:vit-digits")\n',
    "feats = fm.calibrate(model, tokens=2_000)\n",
    "before = fm.evaluate(model)\n",
    'plan = fm.MergePlan(groups=(("encoder.4", "encoder.5"),), method="vanilla")\n',
    'result = fm.run(fm.Recipe("demo:vit-digits", plan))\n',
)
TAUGHT = [
    name
    for name in fm.__all__
    if not (inspect.isclass(getattr(fm, name)) and issubclass(getattr(fm, name), Exception))
]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What an example registers is known while it runs alone."""
    with METRICS.registered(), TASKS.registered(), FAMILIES.registered(), METHODS.registered():
        yield


@pytest.fixture(scope="module")
def begun() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec("".join(BEGINNING), names)
    return names


@pytest.mark.parametrize("name", TAUGHT)
def test_the_example_runs(name: str, begun: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(
        inspect.getdoc(getattr(fm, name)) or "", dict(begun), name, None, None
    )
    assert test.examples, f"{name} has no example"
    test.examples = [each for each in test.examples if each.source not in BEGINNING]
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("name", TAUGHT)
def test_every_parameter_is_described(name: str) -> None:
    documented = described(getattr(fm, name), ("Parameters", "Attributes"))
    inherited = [each for base in bases(getattr(fm, name)) for each in wanted(base)]
    assert documented == [
        each for each in wanted(getattr(fm, name)) if each in documented or each not in inherited
    ]


@pytest.mark.parametrize("name", [each for each in TAUGHT if inspect.isfunction(getattr(fm, each))])
def test_a_function_says_what_it_returns_and_raises(name: str) -> None:
    sections = sections_of(getattr(fm, name))
    assert {"Returns", "Raises"} <= set(sections)
    for error in re.findall(r"^(?=\S)(.+)$", sections["Raises"], re.MULTILINE):
        for each in error.split(", "):
            assert issubclass(getattr(fm, each), fm.FFMergeError)


@pytest.mark.parametrize("name", fm.__all__)
def test_it_begins_with_one_sentence(name: str) -> None:
    doc = inspect.getdoc(getattr(fm, name)) or ""
    first, *rest = doc.split("\n")
    assert first.endswith(".")
    assert not rest or rest[0] == ""


def wanted(thing: Any) -> list[str]:
    """What a caller gives, or a reader finds: parameters, or the public fields of a value."""
    if is_dataclass(thing):
        return [field.name for field in fields(thing) if not field.name.startswith("_")]
    if inspect.isfunction(thing):
        return list(inspect.signature(thing).parameters)
    if hasattr(thing, "_fields"):
        return list(thing._fields)
    # A protocol: what its objects have, or are called with.
    if "__call__" in vars(thing):
        return [each for each in inspect.signature(thing.__call__).parameters if each != "self"]
    return [each for each, value in vars(thing).items() if isinstance(value, property)]


def bases(thing: Any) -> list[type]:
    """The public classes that it extends, whose own `help` describes what they have."""
    public = [getattr(fm, name) for name in fm.__all__]
    return [base for base in getattr(thing, "__mro__", ())[1:] if base in public]


def described(thing: Any, titles: tuple[str, ...]) -> list[str]:
    sections = sections_of(thing)
    return [
        name
        for title in titles
        for line in re.findall(r"^(\w[\w, ]*) : \S", sections.get(title, ""), re.MULTILINE)
        for name in line.split(", ")
    ]


def sections_of(thing: Any) -> dict[str, str]:
    """NumPy's: a title, as many dashes below it, the text."""
    return dict(found(inspect.getdoc(thing) or ""))


def found(doc: str) -> Iterator[tuple[str, str]]:
    titles = list(re.finditer(r"^(\w[\w ]*)\n(-+)\n", doc, re.MULTILINE))
    for at, title in enumerate(titles):
        assert len(title[1]) == len(title[2])
        end = titles[at + 1].start() if at + 1 < len(titles) else len(doc)
        yield title[1], doc[title.end() : end]

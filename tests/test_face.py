"""The public names are whole, and their values show themselves shortly."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch

import ffmerge_core as fm
from ffmerge_core.plan.methods import Mergeable
from ffmerge_core.tasks.masked_language_modeling import Piece
from ffmerge_core.tasks.windows import Stream, Window

PUBLIC = {name: getattr(fm, name) for name in fm.__all__}
# What an `FFSublayer` is to a plan, how a method is drawn, and what a text is cut into: nobody
# makes one outside.
INSIDE = (Mergeable, Piece, Stream, Window)
HOSTILE = "<b>&\"'</b>"


@pytest.mark.parametrize("name", fm.__all__)
def test_what_a_public_name_takes_or_gives_is_public(name: str) -> None:
    exported = {*PUBLIC.values(), *INSIDE}
    for callable in signatures(PUBLIC[name]):
        for hint in get_type_hints(callable, None, names_in(callable)).values():
            for each in classes_in(hint):
                assert each in exported, f"{callable.__qualname__} has a {each.__qualname__}"


def test_every_error_is_public() -> None:
    from ffmerge_core import errors

    found = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert found == {name for name in fm.__all__ if name in found}


def test_the_walk_over_signatures_finds_what_is_not_public() -> None:
    def takes(sublayers: list[HTMLParser | None]) -> dict[str, tuple[fm.Match, ...]]: ...

    hints = get_type_hints(takes, None, {"HTMLParser": Hidden})
    found = [each for hint in hints.values() for each in classes_in(hint)]
    assert found == [Hidden, fm.Match]


class Hidden:
    """As if of this package."""

    __module__ = "ffmerge_core.somewhere"


def signatures(thing: Any) -> Iterator[Any]:
    """The function; or a class as it is made, its fields, its public methods and properties."""
    if not inspect.isclass(thing):
        yield thing
        return
    if is_dataclass(thing):
        yield thing
    for each, value in inspect.getmembers(thing):
        if each.startswith("_") and each not in ("__init__", "__call__", "__getitem__"):
            continue
        value = value.fget if isinstance(value, property) else inspect.unwrap(value)
        if inspect.isroutine(value) and str(getattr(value, "__module__", "")).startswith(
            "ffmerge_core"
        ):
            yield value


def names_in(thing: Any) -> dict[str, Any]:
    """The names of its module, those too that only type checkers see."""
    module = sys.modules[thing.__module__]
    names = dict(vars(module))
    for node in ast.parse(Path(str(module.__file__)).read_text("utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), names)
    return names


def classes_in(hint: Any) -> Iterator[type]:
    """The classes of this package in an annotation, however deep."""
    if get_origin(hint) is Literal:
        return
    if inspect.isclass(hint) and hint.__module__.startswith("ffmerge_core"):
        yield hint
    for each in get_args(hint):
        yield from (
            (one for inner in each for one in classes_in(inner))
            if isinstance(each, list)
            else classes_in(each)
        )


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """One of each that was long once."""
    model = fm.load("demo:vit-digits")
    feats = fm.calibrate(model, tokens=200)
    plan = fm.MergePlan(groups=(("encoder.4", "encoder.5"), ("encoder.7", "encoder.8")))
    result = fm.run(
        fm.Recipe("demo:vit-digits", plan, tokens=200),
        model=model,
        feats=feats,
    )
    points = tuple(fm.CurvePoint(step, 0.1, 0.1 / (1 + step), 0.9) for step in range(11))
    task = model.require_task()
    assert isinstance(task, fm.ImageClassification)
    return {
        "model": model,
        "merged": result.merged,
        "module": replace(model, source="/a" * 400),
        "feats": feats,
        "sublayer features": feats["encoder.3"],
        "sublayer": model.sublayers[3],
        "match": feats.match("encoder.4", "encoder.5"),
        "result": result,
        "score": result.after,
        "change": result.after.versus(result.before),
        "measure": result.after.measures["loss"],
        "curve": fm.Curve("accuracy", points, 200, 200, 10, "finished"),
        "correlation": fm.RankCorrelation(-0.8, -0.9, -0.4, 8, 2_000),
        "clustering": fm.cluster(fm.similarity_matrix(feats), remove=8),
        "task": task,
        "images": task.splits["train"],
        "fidelity": fm.Fidelity(task, model.model),
        "batch": next(iter(task.inputs("validation"))),
        "texts": fm.LanguageModeling(
            "d", None, {split: ["x" * 9_999] for split in task.splits}, 64
        ),
        "pairs": fm.Translation("d", None, {split: [("x" * 9_999, "y")] for split in task.splits}),
    }


def test_values_show_themselves_in_a_line(values: dict[str, Any]) -> None:
    for name, value in values.items():
        shown = repr(value)
        assert shown.startswith(f"{type(value).__name__}("), name
        assert shown.endswith(")"), name
        assert "\n" not in shown, name
        assert len(shown) <= 200, name


def test_a_line_says_what_matters(values: dict[str, Any]) -> None:
    assert [repr(values[name]) for name in ("model", "feats", "sublayer", "batch")] == [
        "LoadedModel(demo:vit-digits: timm ViT, 12 FF sublayers, 602,058 parameters)",
        "Features(12 FF sublayers, 200 tokens, seed 0)",
        "FFSublayer(encoder.3: 64 → 256 → 64, gelu, 33,088 parameters)",
        "Batch(args[0] 256×1×8×8)",
    ]
    assert "Permute encoder 4–5 and encoder 7–8, anchor first" in repr(values["merged"])
    assert repr(values["module"]).endswith(": timm ViT, 12 FF sublayers, 602,058 parameters)")
    score = values["score"]
    assert repr(score) == (
        f"Evaluation(validation split, 359 examples: accuracy {score.value:.4g}, "
        f"loss {score.loss:.4g})"
    )


@pytest.mark.parametrize("name", ["model", "feats", "result", "score", "change"])
def test_a_notebook_shows_a_table(values: dict[str, Any], name: str) -> None:
    tables = Tables()
    tables.feed(values[name]._repr_html_())
    assert tables.caption == repr(values[name])
    assert len(tables.rows) >= 2
    assert {len(row) for row in tables.rows} == {len(tables.columns)}


def test_foreign_text_in_a_table_is_text(values: dict[str, Any]) -> None:
    model, score = values["model"], values["score"]
    family, names = replace(model.family, name=HOSTILE), [HOSTILE, *score.measures]
    sublayer = replace(model.sublayers[0], name=HOSTILE, activation=HOSTILE)
    hostile = {
        "model": replace(model, source=HOSTILE, family=family, sublayers=(sublayer,)),
        "feats": replace(values["feats"], sublayers=(sublayer,)),
        "score": replace(score, metric=HOSTILE, others={f"{names[0]}2": fm.Figure(1, (0, 1))}),
        "change": replace(values["change"], metric=HOSTILE),
    }
    for name, value in hostile.items():
        shown = value._repr_html_()
        assert "<b>" not in shown, name
        tables = Tables()
        tables.feed(shown)
        assert any(HOSTILE in cell for row in [[tables.caption], *tables.rows] for cell in row), (
            name
        )


def test_a_broken_score_shows_itself_too() -> None:
    nothing = fm.Interval(float("nan"), float("inf"))
    score = fm.Evaluation(
        "test", "own metric", float("nan"), float("inf"), 3, nothing, nothing, {}, {}, [0, 0, 0]
    )
    assert repr(score) == "Evaluation(test split, 3 examples: own metric nan, loss inf)"
    assert "nan" in score._repr_html_()
    assert repr(fm.Batch(kwargs={"input_ids": torch.zeros(2, 5), "use_cache": False})) == (
        "Batch(input_ids 2×5, use_cache False)"
    )


class Tables(HTMLParser):
    """Reads a table back: what a browser would show of it."""

    def __init__(self) -> None:
        super().__init__()
        self.caption, self._tag = "", ""
        self.columns: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag in ("table", "caption", "thead", "tbody", "tr", "th", "td")
        self._tag = tag
        if tag == "tr" and self.columns:
            self.rows.append([])
        if tag == "th":
            self.columns.append("")
        if tag == "td":
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self._tag == "caption":
            self.caption += data
        elif self._tag == "th":
            self.columns[-1] += data
        else:
            self.rows[-1][-1] += data

"""What a command line or a file says becomes a recipe, or a sentence on why not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import ffmerge_core as fm
from ffmerge_core.cli.recipes import groups_of, pinned, read_recipe
from ffmerge_core.errors import PlanError, StorageError

NAMES = [f"encoder.{i}" for i in range(12)] + [f"decoder.{i}" for i in range(6)]
RECIPE = fm.Recipe("demo:vit-digits", fm.MergePlan((("encoder.1", "encoder.2"),)), tokens=500)


@pytest.mark.parametrize(
    ("texts", "groups"),
    [
        (["encoder.3,encoder.4"], [["encoder.3", "encoder.4"]]),
        (["encoder.9-11"], [["encoder.9", "encoder.10", "encoder.11"]]),
        (["encoder.2-3, encoder.7"], [["encoder.2", "encoder.3", "encoder.7"]]),
        (
            ["encoder.0-1", "decoder.4-5"],
            [["encoder.0", "encoder.1"], ["decoder.4", "decoder.5"]],
        ),
    ],
)
def test_groups_are_lists_and_ranges(texts: list[str], groups: list[list[str]]) -> None:
    assert groups_of(texts, NAMES) == tuple(map(tuple, groups))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("encoder.6-3", r"encoder\.6-3 runs backwards\. Write encoder\.3-6"),
        ("encoder.3-999999999", r"encoder\.999999999 is not an FF sublayer .* It has encoder\.0"),
        ("encoder.77", r"encoder\.77 is not an FF sublayer"),
        ("middle.3", r"middle\.3 is not an FF sublayer"),
        ("encoder", "“encoder” names no FF sublayer"),
        ("encoder.3-", "“encoder.3-” names no FF sublayer"),
        ("encoder.3-5-7", "is not an FF sublayer|names no FF sublayer"),
        ("", "“” names no FF sublayer"),
        ("encoder.3,", "“” names no FF sublayer"),
    ],
)
def test_what_names_no_sublayer_is_told(text: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        groups_of([text], NAMES)


def test_a_recipe_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps([{"recipe": RECIPE.to_dict()}]))
    assert read_recipe(file) == RECIPE


def test_a_file_without_a_recipe_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.json cannot be read \(No such file"):
        read_recipe(tmp_path / "gone.json")
    with pytest.raises(StorageError, match="cannot be read"):
        read_recipe(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\x00\xfe")
    with pytest.raises(PlanError, match=r"binary: This is not a recipe, because it is not JSON"):
        read_recipe(tmp_path / "binary")


def test_pinning_fills_in_what_a_recipe_lacks(model: fm.LoadedModel) -> None:
    here = pinned(replace(RECIPE, source="relative"), model)
    assert here.source == model.source
    assert (here.revision, here.data_revision) == (
        model.revision,
        model.require_task().revision,
    )
    assert here.python is not None


def test_pinning_keeps_what_a_recipe_asks_for(model: fm.LoadedModel) -> None:
    asked = replace(RECIPE, revision="a" * 64, data_revision="b" * 64, python="3.0")
    here = pinned(asked, model)
    assert (here.revision, here.data_revision, here.python) == ("a" * 64, "b" * 64, "3.0")

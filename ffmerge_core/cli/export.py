"""Saving a model to a folder, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ffmerge_core.cli.options import (
    AllowBinOption,
    JsonOption,
    LayoutOption,
    OverwriteOption,
    RecipeOption,
)
from ffmerge_core.cli.recipes import read_recipe
from ffmerge_core.cli.terminal import progress, say_json
from ffmerge_core.cli.work import exported, say_exported


def export(
    places: Annotated[
        list[str], typer.Argument(metavar="[SOURCE] OUT", help="What to save, and the folder.")
    ],
    recipe: RecipeOption = None,
    layout: LayoutOption = "compact",
    overwrite: OverwriteOption = False,
    allow_bin: AllowBinOption = False,
    json: JsonOption = False,
) -> None:
    """Save to a folder what a recipe makes, or save SOURCE in another layout."""
    if len(places) != (1 if recipe is not None else 2):
        raise typer.BadParameter("Give SOURCE and OUT, or --recipe FILE and OUT.")
    out = Path(places[-1])
    wanted = read_recipe(recipe) if recipe is not None else None
    with progress() as report:
        report(0, 1, "Starting PyTorch")
        import ffmerge_core as fm

        if wanted is None:
            model, result = fm.load(places[0], report=report, allow_bin=allow_bin), None
        else:
            result = fm.run(wanted, report)
            model = result.merged
        sizes = exported(model, out, layout, overwrite, report, result=result)
    say_json(sizes) if json else say_exported(sizes)

"""The verb `search`: every window of FF sublayers tried, the best one first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ffmerge_core.cli.options import (
    AllowBinOption,
    AnchorsOption,
    DataOption,
    FidelityOption,
    JsonOption,
    SearchedOption,
    SeedOption,
    SourceArgument,
    TokenizeOption,
    TokensOption,
    WrittenRecipeOption,
)
from ffmerge_core.cli.recipes import pinned
from ffmerge_core.cli.terminal import note, progress, say, say_json, say_table
from ffmerge_core.cli.work import opened, write_recipe
from ffmerge_core.errors import PlanError
from ffmerge_core.plan import Anchor, Recipe, merges
from ffmerge_core.reporting.formats import change_text, count, figure_text
from ffmerge_core.reporting.scores import LOSS, Stored
from ffmerge_core.tasks.metrics import metric

if TYPE_CHECKING:
    import pandas as pd


RemoveOption = Annotated[
    int,
    typer.Option(
        "--remove",
        min=1,
        metavar="N",
        help="How many FF sublayers to remove, counted over all stacks.",
    ),
]
StacksOption = Annotated[
    str | None,
    typer.Option("--stack", help="encoder, decoder or both, for a model that has both."),
]


def search(
    source: SourceArgument,
    remove: RemoveOption,
    method: SearchedOption = ["permute"],  # noqa: B006 (typer copies it)
    anchor: AnchorsOption = ["first"],  # noqa: B006 (typer copies it)
    stack: StacksOption = None,
    tokens: TokensOption = 10_000,
    seed: SeedOption = 0,
    data: DataOption = None,
    fidelity: FidelityOption = False,
    tokenize: TokenizeOption = None,
    allow_bin: AllowBinOption = False,
    recipe: WrittenRecipeOption = None,
    json: JsonOption = False,
) -> None:
    """Merge and score every window (run of adjacent FF sublayers), lowest validation loss first."""
    with progress() as report:
        model = opened(source, data, fidelity, report, tokenize, allow_bin)
        import ffmerge_core as fm
        from ffmerge_core.compression.search import windows

        # Before the work, so that a budget that cannot be met costs nothing.
        windows(model.sublayers, remove, stack)
        feats = fm.calibrate(model, tokens, seed, report)
        before = fm.evaluate(model, report=report)
        table = fm.search_windows(
            model,
            feats,
            remove,
            methods=method,
            anchors=cast(list[Anchor], anchor),
            stack=stack,
            before=before,
            report=report,
        )
    said = _said(table)
    if json:
        say_json({
            "source": model.source,
            "revision": model.revision,
            "data_revision": model.require_task().revision,
            "n_parameters": model.n_parameters,
            "n_tokens": feats.n_tokens,
            "seed": seed,
            "original": before.summary(),
            "windows": [
                row | {"plan": row["plan"].to_dict()} for row in table.to_dict("records")
            ],
            "does_similarity_predict": said,
        })  # fmt: skip
    else:
        _show(table, before.summary())
        for sentence in said.values():
            say(sentence)
    if feats.shortfall:
        note(feats.shortfall)
    if recipe is not None:
        # Last, so that a file that cannot be written loses no result.
        best = table["plan"].iloc[0]
        found = Recipe(model.source, best, fidelity=fidelity, tokens=tokens, seed=seed)
        write_recipe(recipe, pinned(found, model))
        note(f"The best window's recipe is in {recipe}")


def _show(table: pd.DataFrame, original: dict[str, Any]) -> None:
    name = original["metric"]
    title = metric(name).label
    say_table(
        ("Layers", "Method", "Anchor", title, "Loss", "Change", "Parameters", "CKA", "Aligned"),
        [
            (
                row["layers"],
                row["method"],
                row["anchor"],
                figure_text(name, _stored(row, name)),
                figure_text(LOSS, _stored(row, "loss")),
                change_text(LOSS, _stored(row, "loss change")),
                count(row["n_parameters"]),
                *(_share(row[of]) for of in ("mean CKA", "mean aligned correlation")),
            )
            for row in table.to_dict("records")
        ],
        left=3,
    )
    whole = figure_text(name, Stored(original["value"], *original["interval"]))
    loss = figure_text(LOSS, Stored(original["loss"], *original["loss_interval"]))
    say(
        f"The original has {name} {whole} and loss {loss}. Nothing was fine-tuned. All figures are "
        "of the validation split."
    )


def _said(table: pd.DataFrame) -> dict[str, str]:
    """Method, with its anchor → whether similarity predicts its damage, in words."""
    from ffmerge_core.analysis.prediction import does_similarity_predict

    said = {}
    for (method, anchor), mine in table.groupby(["method", "anchor"], sort=False):
        if method in merges():
            name = f"{method}, anchor {anchor}" if anchor else str(method)
            try:
                found = does_similarity_predict(mine).in_words("mean CKA")
            except PlanError as error:
                found = str(error)
            said[name] = f"{name.capitalize()}: {_lower(found)}"
    return said


def _stored(row: Mapping[Any, Any], name: str) -> Stored:
    return Stored(row[name], row[f"{name} low"], row[f"{name} high"])


def _share(value: float) -> str:
    return "" if value != value else f"{value:.2f}"


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]

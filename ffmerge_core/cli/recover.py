"""The verb `recover`: a recipe with a short fine-tune after its plan, as a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from ffmerge_core.cli.options import JsonOption, RecipeArgument, WrittenRecipeOption
from ffmerge_core.cli.recipes import pinned, read_recipe
from ffmerge_core.cli.terminal import stoppable_progress
from ffmerge_core.cli.work import history, opened_for, run_recipe, show_run, write_recipe
from ffmerge_core.plan import Recovery

DEFAULT = Recovery()

StepsOption = Annotated[
    int | None,
    typer.Option("--steps", min=1, help=f"Optimiser steps at most, {DEFAULT.steps} by default."),
]
RateOption = Annotated[
    float | None,
    typer.Option(
        "--learning-rate", help=f"The highest learning rate, {DEFAULT.learning_rate:g} by default."
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size", min=1, help=f"Examples in each step, {DEFAULT.batch_size} by default."
    ),
]
DistillOption = Annotated[
    bool, typer.Option("--distill", help="Also learn from the original's predictions.")
]
RankOption = Annotated[
    int | None,
    typer.Option(
        "--lora-rank",
        min=1,
        help="Train only low-rank adapters of this rank, for big models. Off by default.",
    ),
]
RecoverySeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=2**63 - 1,
        help="Seed of the order of the examples and of the calibration draw. By default the "
        "recipe's.",
    ),
]


def recover(
    recipe: RecipeArgument,
    steps: StepsOption = None,
    learning_rate: RateOption = None,
    batch_size: BatchOption = None,
    distill: DistillOption = False,
    lora_rank: RankOption = None,
    seed: RecoverySeedOption = None,
    out: WrittenRecipeOption = None,
    json: JsonOption = False,
) -> None:
    """Fine-tune the model that a recipe makes, for some steps. Ctrl-C keeps the best so far.

    If it was killed, give the same command again: it continues from its last checkpoint. A stored
    recovery is carried out anew and to its end, even if it was cancelled. The verb run repeats it
    as it was.
    """
    asked = {
        "steps": steps,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "distill": distill or None,
        "lora_rank": lora_rank,
    }
    found = read_recipe(recipe)
    base = replace(found.recovery or DEFAULT, until=None).to_dict()
    given = {name: value for name, value in asked.items() if value is not None}
    wanted = replace(
        found,
        recovery=Recovery.from_dict({**base, **given}),
        seed=found.seed if seed is None else seed,
    )
    store = history()
    with stoppable_progress() as report:
        model = opened_for(wanted, report)
        wanted = pinned(wanted, model)
        if out is not None:
            # Before the work, so that a file that cannot be written costs nothing.
            write_recipe(out, wanted)
        id, result = run_recipe(store, model, wanted, report)
        if out is not None and result.recipe != wanted:
            write_recipe(out, result.recipe)  # as it was cancelled
    show_run(store, id, None, as_json=json)

"""The verb `recover`: a recipe with a short fine-tune after its plan, as a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from ffmerge_core.cli.options import JsonOption, RecipeArgument, WrittenRecipeOption
from ffmerge_core.cli.recipes import pinned, read_recipe
from ffmerge_core.cli.terminal import note, progress, say
from ffmerge_core.cli.work import history, opened, show_run, write_recipe
from ffmerge_core.errors import Cancelled
from ffmerge_core.plan import Curve, Recipe, Recovery
from ffmerge_core.progress import Report
from ffmerge_core.tasks.metrics import metric

DEFAULT = Recovery()

StepsOption = Annotated[
    int | None,
    typer.Option("--steps", min=1, help=f"Of the optimiser; {DEFAULT.steps} by default."),
]
RateOption = Annotated[
    float | None,
    typer.Option("--learning-rate", help=f"At its highest; {DEFAULT.learning_rate:g} by default."),
]
BatchOption = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help=f"Examples; {DEFAULT.batch_size} by default."),
]
DistillOption = Annotated[
    bool, typer.Option("--distill", help="Learn from the original's predictions as well.")
]
RankOption = Annotated[
    int | None,
    typer.Option(
        "--lora-rank", min=1, help="Train low-rank adapters alone, for big models; off by default."
    ),
]
RecoverySeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=2**63 - 1,
        help="Of the order of the examples and the calibration draw; the recipe's by default.",
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
    """Fine-tune what a recipe makes, shortly; Ctrl-C keeps the best so far.

    What was killed goes on from its last checkpoint when the same command is given again.
    """
    asked = {
        "steps": steps,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "distill": distill or None,
        "lora_rank": lora_rank,
    }
    found = read_recipe(recipe)
    base = (found.recovery or DEFAULT).to_dict()
    given = {name: value for name, value in asked.items() if value is not None}
    wanted = replace(
        found,
        recovery=Recovery.from_dict({**base, **given}),
        seed=found.seed if seed is None else seed,
    )
    store = history()
    with _stoppable() as stopping, progress() as bar:
        report = _telling(bar, stopping)
        model = opened(wanted.source, wanted.data, wanted.fidelity, report)
        wanted = pinned(wanted, model)
        wanted.plan.check(model.sublayers)
        if out is not None:
            # Before the work, so that a file that cannot be written costs nothing.
            write_recipe(out, wanted)
        import ffmerge_core as fm
        from ffmerge_core.compression.resuming import underway
        from ffmerge_core.reporting.recoveries import carry_out, folder_of

        before = underway(folder_of(store, wanted))
        if before is not None:
            note(f"Going on from step {before.step} of {before.asked}.")

        def run(recipe: Recipe, report: Report, folder: Path) -> fm.RunResult:
            return fm.run(recipe, report, model=model, folder=folder)

        id, result = carry_out(store, wanted, run, report)
    show_run(store, id, None, as_json=json)
    if not json and result.curve is not None:
        for line in _said(result.curve):
            say(line)


def _said(curve: Curve) -> Iterator[str]:
    say_value, first = metric(curve.metric).text, curve.points[0]
    best = next(point for point in curve.points if point.step == curve.best_step)
    yield curve.in_words
    yield (
        f"Before the recovery: {curve.metric} {say_value(first.value)}, loss "
        f"{metric('loss').text(first.loss)}; after it: {say_value(best.value)}, "
        f"{metric('loss').text(best.loss)}."
    )
    yield (
        "The original was not fine-tuned: a gain over it may come from further training, "
        "not from the plan."
    )


@contextmanager
def _stoppable() -> Iterator[list[bool]]:
    """Within it, the first Ctrl-C is told by a list that is no longer empty; a second ends all."""
    pressed: list[bool] = []

    def press(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pressed.append(True)
        note("Stopping, with the best so far; press Ctrl-C again to end at once.")

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _telling(bar: Report, stopping: list[bool]) -> Report:
    """The bar with the losses last heard of, until Ctrl-C was pressed."""
    known: dict[str, float] = {}

    def report(
        step: int, total: int, message: str, values: Mapping[str, float] | None = None
    ) -> None:
        if stopping:
            raise Cancelled("Cancelled: nothing was changed.")
        known.update(values or {})
        figures = (
            f"{name} {metric(name.split()[-1]).text(value)}"
            for name, value in known.items()
            if name.endswith("loss")
        )
        bar(step, total, " · ".join((message, *figures)), values)

    return report

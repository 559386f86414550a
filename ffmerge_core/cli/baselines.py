"""The verb `baselines`: other plans of as many parameters, each a run beside the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ffmerge_core.cli.options import (
    AllowBinOption,
    JsonOption,
    RecipeOption,
    TokenizeOption,
    one_of,
)
from ffmerge_core.cli.recipes import pinned, read_recipe
from ffmerge_core.cli.terminal import note, progress, say, say_json, say_table
from ffmerge_core.cli.work import history, opened_for
from ffmerge_core.plan import METHODS, NOTHING_MERGED, Plan, Recipe, plan_from_dict, plan_in_words
from ffmerge_core.progress import Report
from ffmerge_core.reporting.baseline_runs import CONTROL, Carried, recipes, record_baselines
from ffmerge_core.reporting.formats import change_text, count, figure_text
from ffmerge_core.reporting.recoveries import recovery_in_words
from ffmerge_core.reporting.run import Run
from ffmerge_core.reporting.runs import RunStore
from ffmerge_core.reporting.scores import figures_of
from ffmerge_core.tasks.metrics import metric

if TYPE_CHECKING:
    import ffmerge_core as fm


def _kinds() -> tuple[str, ...]:
    return (*METHODS, CONTROL)


SourceOption = Annotated[
    str | None,
    typer.Argument(
        metavar="[SOURCE]", help="A demo or the folder of a model. By default the recipe's."
    ),
]
ParametersOption = Annotated[
    int | None,
    typer.Option(
        "--parameters",
        min=1,
        metavar="N",
        help="Leave this many parameters, or the nearest number that is possible.",
    ),
]
KindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="NAME",
        parser=one_of(_kinds),
        help=f"A kind of baseline, repeatable: {', '.join(METHODS)}; {CONTROL} is the original, "
        "fine-tuned in the same way. All by default.",
    ),
]
DataOfNumber = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="The data to measure on. Only with --parameters."),
]
FidelityOfNumber = Annotated[
    bool,
    typer.Option("--fidelity", help="Score agreement with the original. Only with --parameters."),
]


def baselines(
    source: SourceOption = None,
    recipe: RecipeOption = None,
    parameters: ParametersOption = None,
    kind: KindOption = None,
    data: DataOfNumber = None,
    fidelity: FidelityOfNumber = False,
    tokenize: TokenizeOption = None,
    allow_bin: AllowBinOption = False,
    json: JsonOption = False,
) -> None:
    """Carry out other kinds of plans that leave as many parameters as a recipe does, or N.

    The baselines of a recipe merge the same groups and have the same recovery, int8, seed, tokens
    and data. Windows of layers are chosen by validation loss, before any fine-tuning. After Ctrl-C,
    give the same command again to do the rest.
    """
    asked = {
        "data": data,
        "fidelity": fidelity,
        "tokenize": tokenize,
        "allow_bin": allow_bin,
    }
    like = _like(source, recipe, parameters, asked)
    store = history()
    with progress() as report:
        model = opened_for(like, report)
        like = pinned(like, model)
        budget: Plan | int = like.plan if parameters is None else parameters
        wanted, left_out = _recipes(model, budget, like, kind, report)
        for sentence in left_out.values():
            note(sentence)
        done = _carried_out(store, model, wanted, report)
    _show(store, model, budget, like, done, left_out, as_json=json)
    if any(each.run is None for each in done):
        raise typer.Exit(1)


def _like(
    source: str | None, file: Path | None, parameters: int | None, asked: dict[str, Any]
) -> Recipe:
    """What the baselines are alike in; its plan is the budget, where no number is.

    asked: how to measure, which a recipe says itself.
    """
    if (file is None) == (parameters is None):
        raise typer.BadParameter(
            "One budget is needed. Give either --recipe FILE or --parameters N."
        )
    if file is None:
        if source is None:
            raise typer.BadParameter("--parameters was given without a model. Give SOURCE as well.")
        return Recipe(source, NOTHING_MERGED, **asked)
    if any(asked.values()):
        raise typer.BadParameter(
            "The recipe already says what to measure on. Leave out --data, --fidelity, "
            "--tokenize and --allow-bin."
        )
    like = read_recipe(file)
    if source is not None and not _same(source, like.source):
        raise typer.BadParameter(
            f"{file} is a recipe of {like.source}, not of {source}. Leave SOURCE out."
        )
    return like


def _same(source: str, other: str) -> bool:
    return source == other or Path(source).expanduser().resolve() == Path(other)


def _recipes(
    model: fm.LoadedModel,
    budget: Plan | int,
    like: Recipe,
    asked: Sequence[str] | None,
    report: Report,
) -> tuple[dict[str, Recipe], dict[str, str]]:
    """Kind → its recipe; kind → why it has none."""
    import ffmerge_core as fm
    from ffmerge_core.compression.budget import unmet

    control = asked is None or CONTROL in asked
    if asked is not None and control and like.recovery is None:
        raise typer.BadParameter(
            "The control is fine-tuned as the recipe says, but this recipe has no recovery. Leave "
            f"out --kind {CONTROL}."
        )
    kinds = None if asked is None else [each for each in asked if each != CONTROL]
    if kinds == []:
        return recipes({}, like), {}
    plans = fm.baselines(model, budget, kinds, report)
    return recipes(plans, like, control=control), unmet(model, budget, kinds)


def _carried_out(
    store: RunStore, model: fm.LoadedModel, wanted: dict[str, Recipe], report: Report
) -> list[Carried]:
    import ffmerge_core as fm

    known: dict[str, Any] = {}

    def run(recipe: Recipe, report: Report, folder: Path | None) -> fm.RunResult:
        result = fm.run(recipe, report, model=model, folder=folder, **known)
        known["before"] = result.before
        if result.feats is not None:
            known["feats"] = result.feats
        return result

    done: list[Carried] = []
    try:
        for each in record_baselines(store, wanted, run, report):
            done.append(each)
            if each.error:
                note(f"{each.kind}: {each.error}")
    except KeyboardInterrupt:
        note(
            f"{len(done)} of {len(wanted)} baselines are done and kept in the run history. Give "
            "the same command again to do the rest."
        )
        raise
    return done


def _show(
    store: RunStore,
    model: fm.LoadedModel,
    budget: Plan | int,
    like: Recipe,
    done: Sequence[Carried],
    left_out: dict[str, str],
    *,
    as_json: bool,
) -> None:
    from ffmerge_core.compression.reducing import parameters_left

    asked = budget if isinstance(budget, int) else parameters_left(model, budget)
    if as_json:
        say_json({
            "source": model.source,
            "revision": like.revision,
            "data_revision": like.data_revision,
            "n_parameters": model.n_parameters,
            "budget": asked,
            "recipe": None if isinstance(budget, int) else like.to_dict(),
            "baselines": [
                {"kind": each.kind, "error": each.error, "again": each.again}
                | ({"run": asdict(each.run)} if each.run else {})
                for each in done
            ],
            "left_out": left_out,
        })  # fmt: skip
    else:
        _say(model, asked, like, [each.run for each in done if each.run])
    again = sum(each.again for each in done)
    said = f", of which {again} existed already" if again else ""
    note(
        f"{sum(each.run is not None for each in done)} runs in the run history{said}: {store.path}"
    )


def _say(model: fm.LoadedModel, asked: int, like: Recipe, runs: Sequence[Run]) -> None:
    if runs:
        say_table(_titles(runs[0]), map(_row, runs))
        say(
            "In brackets: 95% intervals over examples of the validation split. The change is "
            "paired."
        )
    tuned = f" Each was fine-tuned: {recovery_in_words(like.recovery)}." if like.recovery else ""
    int8 = f" Then its weights were rounded to {like.quantize}." if like.quantize else ""
    say(f"Budget: {count(asked)} of {count(model.n_parameters)} parameters.{tuned}{int8}")


def _titles(run: Run) -> tuple[str, ...]:
    name = (run.result or {})["merged"]["validation"]["metric"]
    return "Baseline", "Parameters", metric(name).label, "Loss", "Change of the loss"


def _row(run: Run) -> tuple[str, ...]:
    result = run.result or {}
    merged, change = (result[part]["validation"] for part in ("merged", "difference"))
    figures, changes = figures_of(merged), figures_of(change)
    loss = metric(merged["metric"]).loss
    return (
        plan_in_words(plan_from_dict(run.recipe["plan"])),
        count(result["merged"]["n_parameters"]),
        figure_text(merged["metric"], figures[merged["metric"]]),
        figure_text(loss, figures[loss]),
        change_text(loss, changes[loss]),
    )

"""The verbs: each reads its options, lets the package do the work, and shows what came."""

from __future__ import annotations

from typing import Annotated

import typer

from ffmerge_core import __version__, demos
from ffmerge_core.analysis.views import VIEWS
from ffmerge_core.cli.baselines import baselines
from ffmerge_core.cli.dashboard import dashboard
from ffmerge_core.cli.export import export
from ffmerge_core.cli.facts import facts_of_demo, facts_of_model, say_demos, say_facts
from ffmerge_core.cli.options import (
    AllowBinOption,
    AnchorOption,
    DataOption,
    ExportOption,
    FidelityOption,
    FinalOption,
    GroupOption,
    JsonOption,
    LayoutOption,
    MethodOption,
    MetricOption,
    OfOption,
    OutOption,
    OverwriteOption,
    PlanSeedOption,
    QuantizeOption,
    RecipeArgument,
    RepairOption,
    Scored,
    SeedOption,
    SourceArgument,
    StackOption,
    TokenizeOption,
    TokensOption,
    WrittenRecipeOption,
)
from ffmerge_core.cli.recipes import groups_of, pinned, read_recipe
from ffmerge_core.cli.recover import recover
from ffmerge_core.cli.reproduce import reproduce
from ffmerge_core.cli.search import search
from ffmerge_core.cli.tables import evaluation_rows, matrix_rows
from ffmerge_core.cli.terminal import (
    Verbs,
    note,
    progress,
    say,
    say_json,
    say_table,
    stoppable_progress,
    write_text,
)
from ffmerge_core.cli.work import (
    add_test_split,
    exported,
    history,
    opened,
    opened_for,
    run_recipe,
    show_run,
    write_recipe,
)
from ffmerge_core.errors import Cancelled, DataError
from ffmerge_core.plan import MergePlan, Recipe
from ffmerge_core.reporting.formats import count

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"ffmerge {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """See, merge and score the feed-forward (FF) sublayers of transformers."""


@app.command()
def info(
    source: Annotated[str | None, typer.Argument(metavar="[SOURCE]")] = None,
    data: DataOption = None,
    allow_bin: AllowBinOption = False,
    json: JsonOption = False,
) -> None:
    """Describe a model: parts, FF sublayers and data. Without SOURCE, list the demos."""
    if source is None:
        if json:
            say_json({"demos": [facts_of_demo(name) for name in demos.names()]})
        else:
            say_demos()
        return
    if source.startswith(demos.PREFIX) and data is None:
        facts = facts_of_demo(source)
    else:
        with progress() as report:
            report(0, 1, "Starting PyTorch")
            import ffmerge_core as fm

            facts = facts_of_model(fm.load(source, task=data, report=report, allow_bin=allow_bin))
    say_json(facts) if json else say_facts(facts)


@app.command()
def similarity(
    source: SourceArgument,
    of: OfOption = "output",
    metric: MetricOption = "cka",
    stack: StackOption = None,
    tokens: TokensOption = 10_000,
    seed: SeedOption = 0,
    data: DataOption = None,
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Compare every two FF sublayers of a stack (encoder or decoder) on calibration tokens."""
    with progress() as report:
        model = opened(source, data, False, report)
        if stack is None and len(model.stacks) > 1:
            raise DataError(
                f"{source} has the stacks {' and '.join(model.stacks)}, which see different "
                f"tokens. Say which to compare: --stack {model.stacks[0]}."
            )
        if stack is not None and stack not in model.stacks:
            raise DataError(
                f"{source} has no stack “{stack}”; it has {' and '.join(model.stacks)}."
            )
        import ffmerge_core as fm

        feats = fm.calibrate(model, tokens, seed, report)
        matrix = fm.similarity_matrix(feats, of, metric, stack, report)
    if out is not None:
        write_text(out, matrix.to_csv(lineterminator="\n"))
        note(f"Written to {out}")
    if feats.shortfall:
        note(feats.shortfall)
    if json:
        say_json({
            "source": model.source,
            "revision": model.revision,
            "data_revision": model.require_task().revision,
            "of": of,
            "metric": metric if VIEWS[of].tap else None,
            "n_tokens": feats.n_tokens,
            "seed": seed,
            "names": list(matrix.index),
            "matrix": matrix.to_numpy().tolist(),
        })  # fmt: skip
    else:
        say_table(*matrix_rows(matrix))


app.command()(search)


@app.command()
def evaluate(
    source: SourceArgument,
    split: Annotated[
        Scored, typer.Option("--split", help="Use test for reported results, never for choices.")
    ] = "validation",
    data: DataOption = None,
    fidelity: FidelityOption = False,
    tokenize: TokenizeOption = None,
    allow_bin: AllowBinOption = False,
    json: JsonOption = False,
) -> None:
    """Score a model on a split of its data."""
    with progress() as report:
        model = opened(source, data, fidelity, report, tokenize, allow_bin)
        import ffmerge_core as fm

        score = fm.evaluate(model, split, report)
    task, summary = model.require_task(), score.summary()
    if json:
        say_json({
            "source": model.source,
            "revision": model.revision,
            "data": task.data,
            "data_revision": task.revision,
            "n_parameters": model.n_parameters,
            "weight_bytes": model.weight_bytes,
            **summary,
        })  # fmt: skip
        return
    title = f"{split.capitalize()}, n = {count(score.n)} {task.examples}"
    say_table((title, "Value (95% interval)"), evaluation_rows(summary))
    for name, text in score.notes.items():
        say(f"{name}: {text}")


@app.command()
def merge(
    source: SourceArgument,
    group: GroupOption,
    method: MethodOption = "permute",
    anchor: AnchorOption = "first",
    plan_seed: PlanSeedOption = 0,
    repair: RepairOption = None,
    tokens: TokensOption = 10_000,
    seed: SeedOption = 0,
    data: DataOption = None,
    fidelity: FidelityOption = False,
    tokenize: TokenizeOption = None,
    allow_bin: AllowBinOption = False,
    quantize: QuantizeOption = None,
    recipe: WrittenRecipeOption = None,
    export: ExportOption = None,
    layout: LayoutOption = "compact",
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Merge groups of FF sublayers. Print what that saves and costs on the validation split."""
    store = history()
    with progress() as report:
        model = opened(source, data, fidelity, report, tokenize, allow_bin)
        names = [sublayer.name for sublayer in model.sublayers]
        plan = MergePlan(groups_of(group, names), method, anchor, plan_seed, repair)
        wanted = Recipe(
            model.source, plan, fidelity=fidelity, tokens=tokens, seed=seed, quantize=quantize
        )
        wanted = pinned(wanted, model)
        if recipe is not None:
            # Before the work, so that a file that cannot be written costs nothing.
            write_recipe(recipe, wanted)
        id, result = run_recipe(store, model, wanted, report)
        sizes = None
        if export is not None:
            sizes = exported(result.merged, export, layout, overwrite, report, result=result)
    show_run(store, id, sizes, as_json=json)


@app.command()
def run(recipe: RecipeArgument, final: FinalOption = False, json: JsonOption = False) -> None:
    """Carry out a recipe, or a stored run again, and keep the result in the run history.

    Of a recovery, Ctrl-C keeps the best so far. A killed one continues if you run it again.
    """
    wanted = read_recipe(recipe)
    store = history()
    with progress() if wanted.recovery is None else stoppable_progress() as report:
        model = opened_for(wanted, report)
        id, result = run_recipe(store, model, pinned(wanted, model), report)
        if final:
            try:
                add_test_split(store, id, result, report)
            except Cancelled:
                note("The test split was not scored, because Ctrl-C was pressed.")
    show_run(store, id, None, as_json=json)


app.command()(recover)
app.command()(baselines)
app.command()(export)
app.command()(reproduce)
app.command("app", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    dashboard
)

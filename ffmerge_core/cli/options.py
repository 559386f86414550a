"""What the verbs are told, each thing said once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from ffmerge_core.analysis.views import SIMILARITIES, VIEWS
from ffmerge_core.plan import ANCHORS, METHODS, QUANTIZATIONS, REPAIRS, Anchor, merges, searched
from ffmerge_core.storage.layouts import LAYOUTS
from ffmerge_core.tasks.kinds import DIGITS, TASKS

Scored = Literal["validation", "test"]

# torch takes no larger one.
_LARGEST_SEED = 2**63 - 1


def one_of(known: Callable[[], Iterable[str]]) -> Callable[[str], str]:
    """A parser of options whose values are names; asked when an option is read."""

    def parse(text: str) -> str:
        if text not in (names := list(known())):
            raise typer.BadParameter(
                f"“{text}” is not known; it must be one of {', '.join(names)}."
            )
        return text

    return parse


def described(names: Iterable[str]) -> str:
    """ "permute aligns neurons, then averages; …", for help."""
    helps = ((name, METHODS[name].help.removesuffix(".")) for name in names)
    return "; ".join(f"{name} {said[:1].lower()}{said[1:]}" for name, said in helps) + "."


SourceArgument = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A demo, such as demo:vit-digits, or a folder.")
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help=f"Data to score on: '{DIGITS}', {', '.join(kind.data for kind in TASKS.values())}. "
        "A demo brings its own.",
    ),
]
FidelityOption = Annotated[
    bool,
    typer.Option(
        "--fidelity",
        help="Score how well a merged model agrees with the original. Needs no labels.",
    ),
]
TokensOption = Annotated[
    int,
    typer.Option(
        "--tokens", min=2, help="How many calibration tokens to take from the training split."
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", min=0, max=_LARGEST_SEED, help="Seed by which the calibration tokens are drawn."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
OfOption = Annotated[
    str,
    typer.Option(
        "--of",
        metavar="NAME",
        parser=one_of(lambda: VIEWS),
        help=f"What to compare: {', '.join(VIEWS)} (neurons after alignment).",
    ),
]
MetricOption = Annotated[
    str,
    typer.Option(
        "--metric",
        metavar="NAME",
        parser=one_of(lambda: SIMILARITIES),
        help=f"{' or '.join(SIMILARITIES)}; not used for aligned.",
    ),
]
StackOption = Annotated[
    str | None, typer.Option("--stack", help="encoder or decoder, if the model has both.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Also write the matrix to this file, as CSV."),
]
RecipeArgument = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A recipe's or a stored run's JSON file.")
]
FinalOption = Annotated[
    bool,
    typer.Option(
        "--final", help="Score the test split too. Do it once, for the merge that you settled on."
    ),
]
GroupOption = Annotated[
    list[str],
    typer.Option(
        "--group",
        metavar="NAMES",
        help="FF sublayers to merge into one: encoder.3,encoder.4 or encoder.3-6. Repeatable.",
    ),
]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="NAME",
        parser=one_of(merges),
        help="How a group becomes one: " + described(merges()),
    ),
]
RepairOption = Annotated[
    str | None,
    typer.Option(
        "--repair",
        metavar="NAME",
        parser=one_of(lambda: REPAIRS),
        hidden=not REPAIRS,
        help=f"After the merge, without labels: {', '.join(REPAIRS)}.",
    ),
]
PlanSeedOption = Annotated[
    int,
    typer.Option(
        "--plan-seed", min=0, max=_LARGEST_SEED, help="Seed of a method that draws at random."
    ),
]
SearchedOption = Annotated[
    list[str],
    typer.Option(
        "--method",
        metavar="NAME",
        parser=one_of(searched),
        help="Repeatable. " + described(searched()),
    ),
]
AnchorsOption = Annotated[
    list[str],
    typer.Option(
        "--anchor",
        metavar="NAME",
        parser=one_of(lambda: ANCHORS),
        help=f"The member that the others are aligned to: {', '.join(ANCHORS)}. Repeatable.",
    ),
]
AnchorOption = Annotated[
    Anchor, typer.Option("--anchor", help="The member that the others are aligned to.")
]
RecipeOption = Annotated[
    Path | None, typer.Option("--recipe", metavar="FILE", help="A recipe, or a stored run.")
]
WrittenRecipeOption = Annotated[
    Path | None, typer.Option("--recipe", metavar="FILE", help="Write what was done to this file.")
]
QuantizeOption = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="NAME",
        parser=one_of(lambda: QUANTIZATIONS),
        help="Round FF and attention weights to int8 after the merge. llm.int8 rounds inputs too.",
    ),
]
ExportOption = Annotated[
    Path | None, typer.Option("--export", metavar="FOLDER", help="Save the merged model here.")
]
LayoutOption = Annotated[
    str,
    typer.Option(
        "--layout",
        metavar="NAME",
        parser=one_of(lambda: LAYOUTS),
        help="compact keeps merged weights once; portable opens without ffmerge.",
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace a folder that an export wrote.")
]

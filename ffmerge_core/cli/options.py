"""What the verbs are told, each thing said once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from ffmerge_core.analysis.views import SIMILARITIES, VIEWS
from ffmerge_core.kinds import Kind
from ffmerge_core.plan import (
    ANCHORS,
    BLEU_TOKENIZERS,
    METHODS,
    QUANTIZATIONS,
    REPAIRS,
    Anchor,
    merges,
    searched,
)
from ffmerge_core.sources.presets import PRESETS
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


def described(records: Mapping[str, Kind], names: Iterable[str] | None = None) -> str:
    """ "permute: aligns neurons, then averages; …", for help."""
    chosen = records if names is None else names
    return "; ".join(f"{name}: {records[name].said}" for name in chosen) + "."


SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A demo, such as demo:vit-digits; the folder of a model; hf:org/name or timm:name to "
        "download one.",
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help=f'The data to measure on: "{DIGITS}", '
        f"{', '.join(kind.data for kind in TASKS.values())}; or of the hub "
        f"{', '.join(PRESETS)}, or hf:org/name with /configuration, @revision and ?text=column "
        "behind it. A demo brings its own.",
    ),
]
FidelityOption = Annotated[
    bool,
    typer.Option("--fidelity", help="Score agreement with the original. This needs no labels."),
]
TokenizeOption = Annotated[
    str | None,
    typer.Option(
        "--tokenize",
        metavar="NAME",
        parser=one_of(lambda: BLEU_TOKENIZERS),
        help="How BLEU splits a translation into words, as sacrebleu names it: "
        f"{', '.join(BLEU_TOKENIZERS)}. By default what the target language asks for.",
    ),
]
AllowBinOption = Annotated[
    bool,
    typer.Option(
        "--allow-bin",
        help="Read pytorch_model.bin where there is no safetensors, by torch's weights-only "
        "loader. For files whose origin you trust.",
    ),
]
TokensOption = Annotated[
    int,
    typer.Option(
        "--tokens",
        min=2,
        help="Calibration tokens: positions of the training split that the model is run on.",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", min=0, max=_LARGEST_SEED, help="Seed of the draw of calibration tokens."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of text.")
]
OfOption = Annotated[
    str,
    typer.Option(
        "--of",
        metavar="NAME",
        parser=one_of(lambda: VIEWS),
        help=f"What is compared: {', '.join(VIEWS)} (neurons after alignment).",
    ),
]
MetricOption = Annotated[
    str,
    typer.Option(
        "--metric",
        metavar="NAME",
        parser=one_of(lambda: SIMILARITIES),
        help=f"Similarity by centred kernel alignment: {' or '.join(SIMILARITIES)}. Not used for "
        "aligned.",
    ),
]
StackOption = Annotated[
    str | None, typer.Option("--stack", help="encoder or decoder, for a model that has both.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Also write the matrix to this file, as CSV."),
]
RecipeArgument = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="The JSON file of a recipe or of a stored run.")
]
FinalOption = Annotated[
    bool,
    typer.Option(
        "--final", help="Score the test split too. Do this once, for the merge that you settled on."
    ),
]
GroupOption = Annotated[
    list[str],
    typer.Option(
        "--group",
        metavar="NAMES",
        help="FF sublayers to merge into one: encoder.3,encoder.4 or encoder.3-6. Repeatable, once "
        "for each group.",
    ),
]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="NAME",
        parser=one_of(merges),
        help="How a group becomes one FF sublayer: " + described(METHODS, merges()),
    ),
]
RepairOption = Annotated[
    str | None,
    typer.Option(
        "--repair",
        metavar="NAME",
        parser=one_of(lambda: REPAIRS),
        hidden=not REPAIRS,
        help=f"A repair after the merge, without labels: {', '.join(REPAIRS)}.",
    ),
]
PlanSeedOption = Annotated[
    int,
    typer.Option(
        "--plan-seed", min=0, max=_LARGEST_SEED, help="Seed of a method that draws random weights."
    ),
]
SearchedOption = Annotated[
    list[str],
    typer.Option(
        "--method",
        metavar="NAME",
        parser=one_of(searched),
        help="A method to try, repeatable. " + described(METHODS, searched()),
    ),
]
AnchorsOption = Annotated[
    list[str],
    typer.Option(
        "--anchor",
        metavar="NAME",
        parser=one_of(lambda: ANCHORS),
        help=f"The layer of a window that the others are aligned to: {', '.join(ANCHORS)}. The "
        "middle of an even window is the earlier of the two. Repeatable.",
    ),
]
AnchorOption = Annotated[
    Anchor,
    typer.Option(
        "--anchor",
        help="The layer of each group that the others are aligned to. The middle of an even group "
        "is the earlier of the two.",
    ),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option("--recipe", metavar="FILE", help="The JSON file of a recipe or of a stored run."),
]
WrittenRecipeOption = Annotated[
    Path | None,
    typer.Option(
        "--recipe", metavar="FILE", help="Write the recipe of what was done to this file."
    ),
]
QuantizeOption = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="NAME",
        parser=one_of(lambda: QUANTIZATIONS),
        help="Round FF and attention weights after the merge. " + described(QUANTIZATIONS),
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
        help="How the folder is written. " + described(LAYOUTS),
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the folder if an earlier export wrote it.")
]

"""What the verbs are told, each thing said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ffmerge_core.plan import Anchor, Method
from ffmerge_core.plan.recipe import Quantization
from ffmerge_core.tasks.kinds import DIGITS, TASKS

# Those of analysis.features and models.checkpoint, which import torch; a test holds them equal.
Of = Literal["output", "pre", "attention", "aligned"]
Measure = Literal["cka", "unbiased_cka"]
Layout = Literal["compact", "portable"]
Scored = Literal["validation", "test"]

# torch takes no larger one.
_LARGEST_SEED = 2**63 - 1

SourceArgument = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A demo, such as demo:vit-digits, or a folder.")
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help=f'Measure on this: "{DIGITS}", {", ".join(kind.data for kind in TASKS.values())}. '
        "A demo brings its own.",
    ),
]
FidelityOption = Annotated[
    bool, typer.Option("--fidelity", help="Score agreement with the original; needs no labels.")
]
TokensOption = Annotated[
    int, typer.Option("--tokens", min=2, help="Calibration tokens of the training split.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=_LARGEST_SEED, help="Of the calibration draw.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
StackOption = Annotated[
    str | None, typer.Option("--stack", help="encoder or decoder, where a model has both.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the matrix there too, as CSV.")
]
RecipeArgument = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A recipe's or a stored run's JSON file.")
]
FinalOption = Annotated[
    bool, typer.Option("--final", help="Add the test split: once, for the merge you settled on.")
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
    Method, typer.Option("--method", help="permute is the paper's: align neurons, then average.")
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
    Quantization | None,
    typer.Option(
        "--quantize",
        help="Keep FF and attention weights as int8 after the merge; llm.int8 rounds inputs too.",
    ),
]
ExportOption = Annotated[
    Path | None, typer.Option("--export", metavar="FOLDER", help="Save the merged model here.")
]
LayoutOption = Annotated[
    Layout,
    typer.Option(
        "--layout", help="compact keeps merged weights once; portable opens without ffmerge."
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace a folder that an export wrote.")
]

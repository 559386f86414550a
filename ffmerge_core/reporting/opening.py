"""What there is to say of how a model was opened, in sentences for the page and the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ffmerge_core.reporting.formats import megabytes

_SHOWN = 3


def notes_on_opening(
    left_out: Sequence[str], without_power: Sequence[str], taken_off: Sequence[str] = ()
) -> list[str]:
    """A sentence for each of these of a `LoadedModel` that is not empty."""
    notes = []
    if taken_off:
        notes.append(
            f"The names in its file have {' and '.join(taken_off)} in them, which a wrapper of "
            "torch put there. It was taken off."
        )
    if left_out:
        tensors = "1 tensor" if len(left_out) == 1 else f"{len(left_out):,} tensors"
        notes.append(
            f"Its file also holds {tensors} without a use in this model, left out here: "
            f"{_some(left_out)}."
        )
    if without_power:
        notes.append(
            "These FF sublayers are empty, or all their neurons are equal, so they were checked "
            f"with random weights in place of their own: {_some(without_power)}."
        )
    return notes


def kept_in_words(n_bytes: Mapping[str, int]) -> str:
    """How weights are kept: "250.1 MB as bfloat16 and 0.4 MB as float32".

    n_bytes: `LoadedModel.kept_bytes`.
    """
    return " and ".join(f"{megabytes(each)} as {kept}" for kept, each in n_bytes.items())


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

"""What there is to say of how a model was opened, in sentences for the page and the console."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 3


def notes_on_opening(left_out: Sequence[str], without_power: Sequence[str]) -> list[str]:
    """A sentence for each of `LoadedModel.left_out` and `.without_power` that is not empty."""
    notes = []
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


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

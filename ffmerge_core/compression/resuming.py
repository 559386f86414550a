"""A recovery's checkpoint: written whole or not at all, so that a killed one goes on from it.

`recovery.json` names the file of tensors that belongs to it and takes its place last: at
every moment the folder holds one complete checkpoint, or none.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffmerge_core.errors import PlanError, ProofError, StorageError
from ffmerge_core.plan import CurvePoint

if TYPE_CHECKING:
    from torch import Tensor

_STATE = "recovery.json"
_TENSORS = "recovery-{}.safetensors"


@dataclass(frozen=True)
class Underway:
    """How far a recovery is, by its last checkpoint: `step` of `asked`, its curve so far."""

    step: int
    asked: int
    points: tuple[CurvePoint, ...]


def underway(folder: Path) -> Underway | None:
    """What the checkpoint in a folder says, without its tensors; None if none can be read."""
    try:
        state = json.loads((folder / _STATE).read_text("utf-8"))
        return Underway(
            step=state["step"],
            asked=state["identity"]["settings"]["steps"],
            points=tuple(CurvePoint(**point) for point in state["points"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True)
class Checkpoint:
    """A folder for one recovery. identity: what it was started with, as JSON values."""

    folder: Path
    identity: Mapping[str, Any]

    def read(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """The state and tensors last written; None if there are none.

        Raises `PlanError` if they are of another recovery, `StorageError` if they are damaged.
        """
        from safetensors.torch import load_file

        path = self.folder / _STATE
        if not path.exists():
            return None
        try:
            state = json.loads(path.read_text("utf-8"))
            identity, file = state.pop("identity"), self.folder / Path(state.pop("tensors")).name
            tensors = load_file(file) if identity == self.identity else {}
        except Exception as error:  # safetensors raises nothing narrower
            raise StorageError(
                f"The recovery's checkpoint in {self.folder} is damaged ({error}). Delete it to "
                "start again."
            ) from error
        if identity != self.identity:
            differs = [name for name, value in self.identity.items() if identity.get(name) != value]
            raise PlanError(
                f"{self.folder} holds the checkpoint of another recovery (its "
                f"{' and '.join(differs)} differ). Give another folder, or delete it."
            )
        return state, tensors

    def write(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Replace what is there; raises `StorageError`, with the old one intact."""
        from safetensors.torch import save_file

        file = self.folder / _TENSORS.format(uuid.uuid4().hex)
        draft = file.with_suffix(".json")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(dict(tensors), file)
            _check(file, tensors)
            known = {**state, "identity": dict(self.identity), "tensors": file.name}
            draft.write_text(json.dumps(known), "utf-8")
            for path in (file, draft):
                with path.open("rb+") as opened:
                    os.fsync(opened.fileno())
            draft.replace(self.folder / _STATE)
        except ProofError:
            raise
        except Exception as error:
            _remove(file, draft)
            raise StorageError(
                f"The recovery's checkpoint cannot be written to {self.folder} ({error}). Check "
                "that the folder is writable and has room. The last checkpoint there is intact."
            ) from error
        # The one before, and what a killed process left half written.
        _remove(*(path for path in self.folder.glob(_TENSORS.format("*")) if path != file))


def _check(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """What a reader gets: every tied weight once, and no name too many."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as written:
        found = set(written.keys())
    if found != set(tensors):
        raise ProofError(f"{file} holds {len(found)} tensors where {len(tensors)} were written.")


def _remove(*paths: Path) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            continue  # in a folder that cannot be written, the first error is the one to tell

"""ffmerge.json: what stands beside the weights of a model that was saved here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ffmerge_core.errors import SourceError
from ffmerge_core.models.ties import Ties
from ffmerge_core.plan import BLEU_TOKENIZERS, Plan, Recipe, Recovery, plan_from_dict
from ffmerge_core.plan.quantizations import QUANTIZATIONS
from ffmerge_core.storage.folders import read_json
from ffmerge_core.storage.layouts import LAYOUTS

RECORD = "ffmerge.json"
_FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What was done to which model.

    source, revision, data: of the original, as `LoadedModel` has them. n_parameters: held
    once tied. versions: of the libraries that wrote it. quantize: what its weights are kept as.
    tokenize: as `load` was told it with the data.
    ties: the names of each parameter that has several, but for what the plan ties; None in a
    record of an older version, which says nothing of them. family: which one the model is of, a
    declared or a discovered one.
    """

    layout: str
    plan: Plan | None
    source: str
    revision: str
    data: str | None
    n_parameters: int
    recipe: Recipe | None
    versions: Mapping[str, str]
    quantize: str | None = None
    tokenize: str | None = None
    ties: Ties | None = None
    family: str | None = None

    def to_dict(self) -> dict[str, Any]:
        values = {
            "format": _FORMAT,
            **asdict(self),
            "plan": self.plan.to_dict() if self.plan else None,
            "recipe": self.recipe.to_dict() if self.recipe else None,
        }
        if self.tokenize is None:
            # As records said before there was a choice, so that earlier versions read them.
            del values["tokenize"]
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """Inverse of `to_dict`. Raises ValueError, TypeError or KeyError for anything else."""
        values = dict(data)
        if (found := values.pop("format")) != _FORMAT:
            raise ValueError(f"format {found!r} was found, and this version reads {_FORMAT}")
        if values["layout"] not in LAYOUTS:
            raise ValueError(f"the layout {values['layout']!r} is not known")
        if values.get("quantize") not in (None, *QUANTIZATIONS):
            raise ValueError(f"weights kept as {values['quantize']!r} are not known")
        if values.get("tokenize") not in (None, *BLEU_TOKENIZERS):
            raise ValueError(f"BLEU's tokenizer {values['tokenize']!r} is not known")
        if type(values["n_parameters"]) is not int or not isinstance(values["source"], str):
            raise TypeError("the source or the number of parameters is of another type")
        values["ties"] = _ties(values.get("ties"))
        values["plan"] = plan_from_dict(values["plan"]) if values["plan"] else None
        values["recipe"] = Recipe.from_dict(values["recipe"]) if values["recipe"] else None
        return cls(**values)


def _ties(found: Any) -> Ties | None:
    if found is None:
        return None
    groups = tuple(tuple(group) for group in found)
    if not all(isinstance(name, str) for group in groups for name in group):
        raise TypeError("ties are not groups of names")
    return groups


def recovery_in(settings: Mapping[str, Mapping[str, Any]]) -> Recovery | None:
    """The fine-tune that a saved model had, as its record says; settings: a `LoadedModel`'s."""
    recipe = (settings.get(RECORD) or {}).get("recipe") or {}
    recovery = recipe.get("recovery")
    return Recovery.from_dict(recovery) if recovery else None


def read_record(folder: Path) -> Record | None:
    """What `save` wrote into a folder; None for a folder of another's.

    Raises `SourceError` for a damaged record.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        return Record.from_dict(read_json(path))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise SourceError(
            f"{path} is damaged or edited, or needs what is not here ({problem}). Otherwise save "
            "the model again."
        ) from None

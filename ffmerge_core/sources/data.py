"""Which data a model is measured on: its own, the built-in digits, the user's, or the hub's."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from ffmerge_core.checks import as_found
from ffmerge_core.errors import DataError
from ffmerge_core.extras import require
from ffmerge_core.kinds import resolve
from ffmerge_core.models.loaded import LoadedModel
from ffmerge_core.plan import BLEU_TOKENIZERS
from ffmerge_core.progress import Report, silent
from ffmerge_core.sources.data_names import hub_data, is_hub_data, own_data
from ffmerge_core.sources.datasets import Rows, pin
from ffmerge_core.sources.hub import HUB
from ffmerge_core.sources.presets import PRESETS
from ffmerge_core.tasks.kinds import DIGITS, TASKS
from ffmerge_core.tasks.task import Task


def check_task(wanted: object) -> None:
    """Raise `DataError` for what `load` cannot take as data: no path, no name, no task either.

    Before anything is read or downloaded.
    """
    if isinstance(wanted, str) and is_hub_data(name := _written_out(wanted, None)):
        hub_data(name)
        require("datasets", "Data of the hub", DataError)
        return
    if wanted is None or (isinstance(wanted, str | PathLike) and wanted != ""):
        return
    asked = (getattr(wanted, name, None) for name in ("calibration", "evaluate"))
    if isinstance(wanted, type) or not any(map(callable, asked)):
        raise DataError(
            f'task is {as_found(wanted)}; it must be "{DIGITS}", the path of your data, '
            "hf:organisation/name of the hub, or a task of your own, such as an "
            "fm.LanguageModeling(…)."
        )


def data_name(
    wanted: Task | str | Path | None, report: Report = silent, kind: str | None = None
) -> str | None:
    """`wanted` as a recipe writes it, or None for no name.

    The built-in name; an absolute path; a data set of the hub at the commit that it is now, for
    which the hub is asked. kind: of the task that the model is for; a preset of another kind is
    refused.
    """
    if not isinstance(wanted, str | Path):
        return None
    name = _written_out(str(wanted), kind)
    if name == DIGITS:
        return DIGITS
    if is_hub_data(name):
        return str(pin(hub_data(name), report))
    own = own_data(name)
    try:
        found = own.path.exists()
    except OSError as error:
        raise DataError(f"“{wanted}” cannot be the path of data ({error}).") from None
    if not found:
        taken = ", ".join(dict.fromkeys(kind.data for kind in TASKS.values()))
        raise DataError(
            f'There is no built-in data called "{wanted}", and no file or folder {own.path}. Give '
            f'"{DIGITS}", hf:organisation/name of the hub, {", ".join(PRESETS)}, or the path of '
            f"{taken}."
        )
    return str(own)


def still_there(name: str | None, report: Report = silent) -> str | None:
    """The data that was named when a model was saved; None if it is out of reach by now."""
    try:
        if name is not None and is_hub_data(name):
            return name if Rows(pin(hub_data(name), report)).facts else None
        return data_name(name, report)
    except DataError:
        return None


def _written_out(name: str, kind: str | None) -> str:
    """A preset's name as the whole name that it stands for, with what is chosen behind it."""
    called, _, chosen = name.partition("?")
    if called not in PRESETS:
        return name
    preset = PRESETS[called]
    if kind is not None and kind not in preset.kinds:
        fit = ", ".join(each.name for each in PRESETS.values() if kind in each.kinds)
        raise DataError(
            f"{called} is for {' and '.join(preset.kinds)}, and this model is for {kind}. Give "
            f"{fit or TASKS.of(kind).data}."
        )
    data = hub_data(preset.data)
    if not chosen:
        return str(data)
    more = hub_data(f"{HUB}{data.repo}?{chosen}").options
    return str(replace(data, options={**data.options, **more}))


def choose_task(
    model: LoadedModel,
    wanted: Task | str | Path | None,
    *,
    fidelity: bool = False,
    tokenize: str | None = None,
    report: Report = silent,
) -> Task | None:
    """What to measure `model` on; None if nothing is known.

    model: its task is what the source brings, or None. wanted: as `load` takes it. fidelity:
    compare with this very model instead of with labels. tokenize: how BLEU splits sentences.
    Raises `DataError`.
    """
    name = data_name(wanted, report)
    task: Any = model.task if wanted is None else wanted
    if name is not None:
        task = _read(model, name, fidelity, report)
    if tokenize is not None:
        task = _tokenized(model, task, tokenize)
    if not fidelity:
        return task  # type: ignore[no-any-return]
    if task is None:
        raise DataError(
            f"Fidelity compares models on inputs, and {model.source} brings none. Give them: "
            'task="a path to your data".'
        )
    from ffmerge_core.tasks.fidelity import Fidelity

    return Fidelity(task, model.model)


def _read(model: LoadedModel, name: str, fidelity: bool, report: Report) -> Task:
    """The data called `name`, by what the model's family is for."""
    kind = TASKS.of(model.family.kind)
    if name == DIGITS and not kind.takes_digits:
        raise DataError(
            f"The digits are images, which a {model.family.name} does not take. Give {kind.data}."
        )
    task: Task = resolve(kind.read)(model, name, fidelity, report)
    return task


def _tokenized(model: LoadedModel, task: Task | None, tokenize: str) -> Task:
    from ffmerge_core.tasks.translation import Translation

    BLEU_TOKENIZERS.of(tokenize)
    if not isinstance(task, Translation):
        what = "nothing" if task is None else task.metric
        raise DataError(
            f"tokenize={tokenize!r} says how BLEU splits sentences, and {model.source} is measured "
            f"by {what}. Leave it out, or give a translator and pairs of sentences."
        )
    return replace(task, tokenize=tokenize)

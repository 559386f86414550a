"""What a source is: from a demo's card without torch, from the model for anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ffmerge_core import demos
from ffmerge_core.cli.tables import evaluation_rows, sublayer_rows
from ffmerge_core.cli.terminal import say, say_table
from ffmerge_core.plan import NOTHING_MERGED, Recovery, plan_from_dict, plan_in_words
from ffmerge_core.reporting.formats import count, figure_text, megabytes
from ffmerge_core.reporting.opening import kept_in_words, notes_on_opening
from ffmerge_core.reporting.recoveries import recovery_in_words
from ffmerge_core.reporting.scores import figures_of

if TYPE_CHECKING:
    from ffmerge_core.models.loaded import LoadedModel

Facts = dict[str, Any]


def facts_of_demo(source: str) -> Facts:
    """A demo as its card describes it; raises `SourceError` for an unknown one."""
    card = demos.card(source)
    return {
        "source": demos.PREFIX + card.name,
        "title": card.title,
        "family": card.family,
        "revision": card.revision,
        "n_parameters": card.n_parameters,
        "weight_bytes": card.weight_bytes,
        "kept_bytes": {"float32": card.weight_bytes},
        "parts": {part.part: part.n_parameters for part in card.anatomy},
        "data": {
            "name": card.data,
            "revision": card.data_revision,
            "kind": card.kind,
            "metric": card.metric,
            "examples": card.unit,
            "splits": dict(card.splits),
            "notes": {},
        },
        "validation": dict(card.validation),
        "plan": None,
        "recovery": None,
        "quantized": None,
        "left_out": [],
        "without_power": [],
        "taken_off": [],
        "sublayers": [dict(sublayer) for sublayer in card.sublayers],
    }


def facts_of_model(model: LoadedModel) -> Facts:
    """The same of a model in memory; without data there is none, and no score is measured."""
    from ffmerge_core.models.loaded import anatomy
    from ffmerge_core.storage.record import recovery_in

    task, recovery = model.task, recovery_in(model.settings)
    return {
        "source": model.source,
        "title": None,
        "family": model.family.name,
        "revision": model.revision,
        "n_parameters": model.n_parameters,
        "weight_bytes": model.weight_bytes,
        "kept_bytes": dict(model.kept_bytes),
        "parts": dict(anatomy(model.model, model.family, model.sublayers)),
        "data": task and {
            "name": task.data,
            "revision": task.revision,
            "kind": task.kind,
            "metric": task.metric,
            "examples": task.examples,
            "splits": {split: task.size(split) for split in ("train", "validation", "test")},
            "notes": dict(getattr(task, "notes", {})),
        },
        "validation": None,
        "plan": model.plan.to_dict() if model.plan else None,
        "recovery": recovery.to_dict() if recovery else None,
        "quantized": model.quantized,
        "left_out": list(model.left_out),
        "without_power": list(model.without_power),
        "taken_off": list(model.taken_off),
        "sublayers": [sublayer.to_dict() for sublayer in model.sublayers],
    }  # fmt: skip


def say_facts(facts: Facts) -> None:
    """For reading."""
    if facts["title"]:
        say(facts["title"])
    say(f"{facts['source']}, a {facts['family']} model, revision {facts['revision'][:12]}")
    if facts["plan"]:
        plan = plan_from_dict(facts["plan"])
        if plan == NOTHING_MERGED:
            say(plan_in_words(plan))
        else:
            say(f"{'Merged' if plan.kind == 'merge' else 'Reduced'}: {plan_in_words(plan)}")
    if facts["recovery"]:
        say(f"Recovered: {recovery_in_words(Recovery.from_dict(facts['recovery']))}")
    if facts["quantized"]:
        say(f"Weights of the blocks: {facts['quantized']}")
    for note in notes_on_opening(facts["left_out"], facts["without_power"], facts["taken_off"]):
        say(note)
    data = facts["data"]
    if data:
        sizes = ", ".join(f"{split} {count(size)}" for split, size in data["splits"].items())
        say(f"Task: {data['kind']}. Data: {data['name']} ({data['examples']}: {sizes})")
        for name, text in data["notes"].items():
            say(f"{name.capitalize()}: {text}")
    else:
        say("Data: none. Give --data to see what it can be measured on.")
    say()
    parts = [(part, count(number)) for part, number in facts["parts"].items()]
    parts.append(("all", f"{count(facts['n_parameters'])}"))
    say_table(("Part", "Parameters"), parts)
    kept = kept_in_words(facts["kept_bytes"])
    say(f"{megabytes(facts['weight_bytes'])} of weights in memory, {kept} in a file")
    if facts["validation"]:
        summary = facts["validation"]
        say()
        say_table(
            (f"Validation, n = {count(summary['n'])}", "Value (95% interval)"),
            evaluation_rows(summary),
        )
    say()
    say_table(
        ("FF sublayer", "d_model", "d_ff", "activation", "parameters"),
        sublayer_rows(facts["sublayers"]),
    )


def say_demos() -> None:
    """Every demo in a line."""
    cards = [demos.card(name) for name in demos.names()]
    say_table(
        ("Demo", "Family", "FF sublayers", "Parameters", "Metric", "Validation (95% interval)"),
        [
            (
                demos.PREFIX + card.name,
                card.family,
                str(len(card.sublayers)),
                count(card.n_parameters),
                card.metric,
                figure_text(card.metric, figures_of(card.validation)[card.metric]),
            )
            for card in cards
        ],
        left=2,
    )

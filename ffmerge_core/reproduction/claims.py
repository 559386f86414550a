"""The paper's claims (Verma et al., arXiv 2501.06126), each against what was found on a demo.

The rules were written before the results, that of likeness aside, and the page says them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ffmerge_core.analysis.prediction import does_similarity_predict
from ffmerge_core.errors import PlanError
from ffmerge_core.reproduction.experiments import SHARES, Share
from ffmerge_core.reproduction.results import Found, Spread, loss_difference
from ffmerge_core.tasks.measures import Figure
from ffmerge_core.tasks.metrics import metric

Held = Literal["holds", "does not hold", "undecided", "not run"]

# What the paper and its reviews report as lost at a third removed: 80.3 → 79.2 % accuracy, about
# 1 perplexity, about 2 BLEU.
MARGINS = {"accuracy": 0.011, "perplexity": 1.0, "BLEU": 2.0}
_NOT_RUN = "Not run yet."
_LOSS = metric("loss")
_COMPARED = ("output", "attention")


@dataclass(frozen=True)
class Verdict:
    """claim: in the paper's sense. where: of what share, or "". found: in a sentence."""

    claim: str
    where: str
    held: Held
    found: str


def verdicts(found: Found) -> Iterator[Verdict]:
    """Every claim on one demo, in the paper's order."""
    yield _comparable(found)
    for share in SHARES:
        yield _beats(found, share, "layer drop", tuned=True)
    for share in SHARES:
        yield _beats(found, share, "vanilla", tuned=False)
    for part in ("window", "anchor"):
        yield _immaterial(found, part)
    yield _similarity(found)
    yield _predicts(found)
    yield _composes(found)


def _comparable(found: Found) -> Verdict:
    claim, where = "After tuning, a third removed is comparable to the original", "third"
    merged = found.spread("value", "main", tuned=True, method="permute", share="third")
    plain = found.spread("value", "control", tuned=False, method="original")
    tuned = found.spread("value", "control", tuned=True, method="original")
    if merged is None or plain is None or tuned is None:
        return Verdict(claim, where, "not run", _NOT_RUN)
    by, margin = found.metric, MARGINS[found.metric.name]
    sign = 1 if by.higher_is_better else -1
    held: Held = "holds" if sign * (merged.mean - tuned.mean) >= -margin else "does not hold"
    return Verdict(
        claim, where, held,
        f"{by.name} {merged.text(by)}; the original {plain.text(by)}, tuned as long "
        f"{tuned.text(by)}: {by.change_text(merged.mean - tuned.mean)} against the tuned one.",
    )  # fmt: skip


def _beats(found: Found, share: Share, rival: str, *, tuned: bool) -> Verdict:
    """By the test loss: a metric moves by sampling more than most differences here."""
    when = "After" if tuned else "Before"
    than = "layer drop of as many parameters" if rival == "layer drop" else rival
    claim = f"{when} tuning, permute is better than {than}"
    mine = found.of("main", tuned=tuned, method="permute", share=share)
    other = found.of("main", tuned=tuned, method=rival, share=share)
    if not mine or not other:
        return Verdict(claim, share, "not run", _NOT_RUN)
    losses, others = (Spread(tuple(each.score("loss") for each in side)) for side in (mine, other))
    by = loss_difference(mine, other)
    low, high = (_LOSS.change_text(end) for end in by.interval)
    said = (
        f"Loss {losses.text(_LOSS)} against {others.text(_LOSS)}: {_LOSS.change_text(by.value)} "
        f"({low} to {high})."
    )
    if not tuned:
        said += _by_window(found, share, rival)
    return Verdict(claim, share, _lower(losses, others, by), said)


def _lower(mine: Spread, other: Spread, by: Figure) -> Held:
    """Decided only if the paired interval leaves out zero and the seeds' ranges are apart."""
    if by.interval.high < 0 and max(mine.values) < min(other.values):
        return "holds"
    if by.interval.low > 0 and min(mine.values) > max(other.values):
        return "does not hold"
    return "undecided"


def _by_window(found: Found, share: Share, rival: str) -> str:
    rows = found.searches[share]["windows"]
    losses = {(row["method"], row["start"]): row["loss"] for row in rows}
    starts = [start for method, start in losses if method == rival]
    better = sum(losses["permute", start] < losses[rival, start] for start in starts)
    return f" Window by window on validation: better in {better} of {len(starts)}."


def _immaterial(found: Found, part: str) -> Verdict:
    claim = f"After tuning, the {part} matters little"
    ranges = []
    for tuned in (False, True):
        others = found.of(part, tuned=tuned, share="third")
        main = found.of("main", tuned=tuned, method="permute", share="third")[:1]
        if len(others) < 2 or not main:
            return Verdict(claim, "third", "not run", _NOT_RUN)
        ranges.append(Spread(tuple(each.score("value") for each in (*main, *others))))
    before, after = ranges
    by = found.metric
    held: Held = "holds" if after.range <= MARGINS[by.name] else "does not hold"
    return Verdict(
        claim, "third", held,
        f"Three {part}s: {by.name} {by.text(min(before.values))} to {by.text(max(before.values))} "
        f"before tuning, {by.text(min(after.values))} to {by.text(max(after.values))} after.",
    )  # fmt: skip


def _similarity(found: Found) -> Verdict:
    claim = "FF outputs are more similar to one another than attention outputs"
    if found.similarity is None:
        return Verdict(claim, "", "not run", _NOT_RUN)
    means = {
        stack: tuple(_mean_of_pairs(found.similarity["cka"][of][stack]) for of in _COMPARED)
        for stack in found.similarity["cka"]["output"]
    }
    more = [ff > attention for ff, attention in means.values()]
    held: Held = "holds" if all(more) else "does not hold"
    said = "; ".join(
        f"{stack}: mean CKA of a pair {ff:.2f} against {attention:.2f}"
        for stack, (ff, attention) in means.items()
    )
    return Verdict(claim, "", held, f"{said[:1].upper()}{said[1:]}.")


def _predicts(found: Found) -> Verdict:
    """What the paper supposed: by the merges of the search, before tuning, on validation."""
    claim = "The more alike a window's FF outputs, the less its merge hurts"
    if "third" not in found.searches:
        return Verdict(claim, "third", "not run", _NOT_RUN)
    rows = [row for row in found.searches["third"]["windows"] if row["method"] == "permute"]
    try:
        measured = does_similarity_predict(pd.DataFrame(rows))
    except PlanError as error:
        return Verdict(claim, "third", "undecided", str(error))
    held: Held = "undecided"
    if measured.high < 0 or measured.low > 0:
        held = "holds" if measured.value < 0 else "does not hold"
    return Verdict(claim, "third", held, measured.in_words("mean CKA"))


def _composes(found: Found) -> Verdict:
    """What int8 costs the merged model, beside what it costs the original."""
    claim = "int8 composes with merging"
    sides = []
    plans: tuple[tuple[str, str, Share | None], ...] = (
        ("control", "original", None),
        ("main", "permute", "third"),
    )
    for part, method, share in plans:
        plain = found.of(part, tuned=True, method=method, share=share)[:1]
        rounded = found.of("int8", tuned=True, method=method)
        if not plain or not rounded:
            return Verdict(claim, "third", "not run", _NOT_RUN)
        sides.append((plain[0], rounded[0]))
    by = found.metric
    costs = [rounded.score("value") - plain.score("value") for plain, rounded in sides]
    sign = 1 if by.higher_is_better else -1
    held: Held = "holds" if sign * (costs[1] - costs[0]) >= -MARGINS[by.name] else "does not hold"
    megabytes = sides[1][1].record["merged"]["weight_bytes"] / 1e6
    whole = sides[0][0].record["merged"]["weight_bytes"] / 1e6
    return Verdict(
        claim, "third", held,
        f"Tuned, int8 changes {by.name} by {by.change_text(costs[1])} on the merged model and by "
        f"{by.change_text(costs[0])} on the original; {whole:.2f} MB become {megabytes:.2f} MB.",
    )  # fmt: skip


def _mean_of_pairs(matrix: list[list[float]]) -> float:
    values = np.array(matrix)
    return float(values[np.triu_indices(len(values), 1)].mean())

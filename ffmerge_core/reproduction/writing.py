"""docs/results.md: what was tried, what came of it, claim by claim and number by number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ffmerge_core.plan import layers_in_words, plan_from_dict
from ffmerge_core.reporting.folders import write_atomically
from ffmerge_core.reproduction.claims import MARGINS, verdicts
from ffmerge_core.reproduction.drawing import draw
from ffmerge_core.reproduction.experiments import RECOVERIES, SHARES, TRIED, Share
from ffmerge_core.reproduction.results import Found, Spread, Trial, What, read
from ffmerge_core.tasks.metrics import Metric, metric

_LOSS = metric("loss")
_HEAD = """\
# Results

What the paper's claims come to on the three embedded demos. `make reproduce` carries out what is
tried and writes this page; where it is stopped, it goes on. Every score is of the test split;
every choice (the window, early stopping) was made on validation. The demos are small: what holds
here need not hold for large models, nor the reverse.

- **Removed**: a third, a half, or all but one of the FF sublayers of each stack, in one window of
  adjacent layers a stack, each method at its own best window. Layer drop removes whole layers, as
  many as leave the nearest number of parameters.
- **Tuned**: {budgets}.
  The same budget for every method and, as the control, for the original.
- **Spread**: mean ± standard deviation over three seeds at a third, one seed elsewhere. A seed
  draws calibration tokens and the order of training; what draws nothing has one number.
- **Replay**: each number links to its recipe and record, beside it those of the other seeds.
  `OMP_NUM_THREADS=1 ffmerge run FILE --final` gives it again: to the last digit on a processor
  of the same kind, with the versions that the file names. All was computed by one thread.
"""
_RULES = """\
Decided by rules set beforehand. *Comparable*: no more lost, against the original tuned as long,
than the paper reports: {margins}. *Better*: a lower test loss;
undecided where the paired 95 % interval spans zero or the seeds' ranges overlap. *Matters
little*: three windows, or the best window's three anchors, within that same margin after tuning.
*More similar*: a higher mean CKA over all pairs, in every stack. *The more alike, the less it
hurts*: a rank correlation, over a search's windows, whose interval is below zero; this rule alone
was written once the correlation on vit-digits was known. *Composes*: int8 costs the merged model
no more than it costs the original, within that margin.
"""


def write(folder: Path) -> Path:
    """Write the page beside the folder of results, and its figures inside; returns the page."""
    found = read(folder)
    page = folder.with_name(f"{folder.name}.md")
    parts = [_HEAD.format(budgets=_budgets(found)), *_claims(found)]
    for demo in found:
        parts += _demo(demo, folder)
    parts += _not_run(found)
    write_atomically(page, ("\n".join(parts).rstrip() + "\n").encode())
    return page


def _budgets(found: Sequence[Found]) -> str:
    """As in the results, which may be of a quick run."""
    said = []
    for demo in found:
        recoveries = [each.recipe["recovery"] for each in demo.trials if each.tuned]
        for steps, batch in sorted({(each["steps"], each["batch_size"]) for each in recoveries}):
            said.append(f"{demo.demo} {steps} steps of {batch} examples")
    return ", ".join(said) or "nothing yet"


def _claims(found: Sequence[Found]) -> Iterator[str]:
    margins = ", ".join(
        metric(name).change_text(value).lstrip("+") + ("" if metric(name).percent else f" {name}")
        for name, value in MARGINS.items()
    )
    yield "\n## The claims, one by one\n"
    yield _RULES.format(margins=margins)
    rows = [
        (verdict.claim, verdict.where, demo.demo, f"**{verdict.held}**", verdict.found)
        for demo in found
        for verdict in verdicts(demo)
    ]
    order = list(dict.fromkeys(row[:2] for row in rows))
    rows.sort(key=lambda row: order.index(row[:2]))
    yield from _table(("Claim", "Removed", "Demo", "Verdict", "Found"), rows)


def _demo(found: Found, folder: Path) -> Iterator[str]:
    yield f"\n## {found.demo}\n"
    by, test = found.metric, found.trials[0].record["original"]["test"]
    better = "higher" if by.higher_is_better else "lower"
    yield f"{by.label} on {test['n']:,} test examples; {better} is better.\n"
    yield from _table(
        ("Removed", "Method", "Where", "Parameters", f"{by.name}, untuned", f"{by.name}, tuned",
         "loss, untuned", "loss, tuned"),
        [*_control_rows(found, folder), *_method_rows(found, folder)],
    )  # fmt: skip
    choices = list(_choice_rows(found, folder))
    if choices:
        yield "\nOther windows and anchors at a third, permute:\n"
        yield from _table(("Choice", f"{by.name}, untuned", f"{by.name}, tuned"), choices)
    yield from _searched(found, folder)
    yield from _rounded(found, folder)
    yield from _timed(found)
    for name, title, drawn in draw(found, folder / found.demo):
        place = f"{folder.name}/{found.demo}/{name}"
        yield f"\n{title} ([interactive]({place}.html)):\n"
        if drawn:
            yield f"![{title}]({place}.png)"


def _control_rows(found: Found, folder: Path) -> Iterator[tuple[str, ...]]:
    plain, tuned = (found.of("control", tuned=tuned) for tuned in (False, True))
    if plain:
        count = f"{plain[0].n_parameters:,}"
        yield "none", "original", "", count, *_cells(found, folder, plain, tuned)


def _method_rows(found: Found, folder: Path) -> Iterator[tuple[str, ...]]:
    for share in SHARES:
        for method in TRIED:
            plain, tuned = (
                found.of("main", tuned=tuned, method=method, share=share) for tuned in (False, True)
            )
            if plain or tuned:
                first = (*plain, *tuned)[0]
                where = layers_in_words(plan_from_dict(first.recipe["plan"]))
                count = f"{first.n_parameters:,}"
                yield share, method, where, count, *_cells(found, folder, plain, tuned)


def _choice_rows(found: Found, folder: Path) -> Iterator[tuple[str, ...]]:
    best = [found.of("main", tuned=t, method="permute", share="third")[:1] for t in (False, True)]
    if not (found.of("window", tuned=False) or found.of("anchor", tuned=False)):
        return
    yield "best window, anchor first", *_cells(found, folder, *best)[:2]
    for part in ("window", "anchor"):
        plain, tuned = found.of(part, tuned=False), found.of(part, tuned=True)
        for each in plain:
            after = tuple(other for other in tuned if other.variant == each.variant)
            yield each.variant or "", *_cells(found, folder, (each,), after)[:2]


def _cells(
    found: Found, folder: Path, plain: tuple[Trial, ...], tuned: tuple[Trial, ...]
) -> tuple[str, str, str, str]:
    by = found.metric
    return (
        _cell(folder, plain, "value", by), _cell(folder, tuned, "value", by),
        _cell(folder, plain, "loss", _LOSS), _cell(folder, tuned, "loss", _LOSS),
    )  # fmt: skip


def _searched(found: Found, folder: Path) -> Iterator[str]:
    """What choosing cost, on the machine that did it."""
    place = f"{folder.name}/{found.demo}"
    said = [
        f"[{share}]({place}/search-{share}.json): {len(content['windows'])} candidates in "
        f"{content['seconds']['all']:,.0f} s"
        for share in SHARES
        if (content := found.searches.get(share))
    ]
    if said:
        yield f"\nThe searches, each from one calibration: {'; '.join(said)}."


def _rounded(found: Found, folder: Path) -> Iterator[str]:
    """Merging and quantising, alone and together."""
    sides: list[tuple[str, str, Share | None]] = [
        ("control", "original", None),
        ("main", "permute", "third"),
    ]
    rows = []
    for part, method, share in sides:
        for kind, label in ((part, "float32"), ("int8", "int8")):
            plain, tuned = (
                found.of(kind, tuned=tuned, method=method, share=share)[:1]
                for tuned in (False, True)
            )
            if plain or tuned:
                removed = share or "none"
                sizes = ((found.sizes or {}).get(removed) or {}).get(label) or {}
                held = [
                    f"{sizes[size] / 1e6:.2f} MB" if size in sizes else "–"
                    for size in ("weights", "disk", "peak")
                ]
                cells = _cells(found, folder, plain, tuned)[:2]
                rows.append((removed, label, *held, *cells))
    if found.of("int8", tuned=False):
        by = found.metric
        yield "\nMerge × quantise, permute, seed 0; FF and attention matrices as int8:\n"
        columns = (
            "Removed", "Weights", "In memory", "On disk", "Peak of a pass",
            f"{by.name}, untuned", f"{by.name}, tuned",
        )  # fmt: skip
        yield from _table(columns, rows)
        yield (
            "\nIn memory and on disk: of the weights, a tied one once. Peak of a pass: the weights "
            "and all that a forward pass of one validation batch holds beside them, at its highest."
        )


def _timed(found: Found) -> Iterator[str]:
    merged = found.of("main", tuned=True, method="permute", share="third")
    if merged and (latency := merged[0].record.get("latency")):
        ratio = latency["merged"]["seconds"] / latency["original"]["seconds"]
        yield (
            "\nTying saves memory and disk, not time: a batch takes the model with a third removed "
            f"{ratio:.2f} times as long as the original, measured in turns."
        )


def _not_run(found: Sequence[Found]) -> Iterator[str]:
    """What is tried by `make reproduce` and is not in this page yet."""
    missing = [demo for demo in RECOVERIES if demo not in {each.demo for each in found}]
    lines = [f"- {demo}: nothing of it." for demo in missing]
    for demo in found:
        lacking = list(dict.fromkeys(v.claim for v in verdicts(demo) if v.held == "not run"))
        lines += [f"- {demo.demo}: {claim}." for claim in lacking]
        if demo.missing:
            n, of = len(demo.missing), len(demo.planned)
            lines.append(f"- {demo.demo}: {n} of {of} recipes, {', '.join(demo.missing)}.")
    if lines:
        yield "\n## Not run yet\n"
        yield from lines


def _cell(folder: Path, trials: tuple[Trial, ...], what: What, by: Metric) -> str:
    """Mean and spread, linked to the first seed's file and then each of the others'."""
    if not trials:
        return "–"
    values = Spread(tuple(each.score(what) for each in trials))
    first, *others = (f"{folder.name}/{each.file}" for each in trials)
    more = "".join(f" [{number}]({place})" for number, place in enumerate(others, start=1))
    return f"[{values.text(by)}]({first}){more}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"

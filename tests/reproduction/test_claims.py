"""The verdicts, on results made up so that the right one is known."""

from collections.abc import Sequence

import numpy as np
import pytest

from ffmerge_core.reproduction.claims import Verdict, verdicts
from ffmerge_core.reproduction.results import Found, Trial
from ffmerge_core.tasks.measures import LOSS, Measure

N = 200
NOISE = np.random.default_rng(0).normal(size=N)


def trial(
    part: str, method: str, value: float, loss: float, *, share: str | None = None,
    tuned: bool = True, seed: int = 0, variant: str | None = None,
) -> Trial:  # fmt: skip
    """A model with this accuracy, whose losses differ from another's by the same everywhere."""
    nats = loss + 0.01 * NOISE
    test = {"metric": "accuracy", "value": value, "loss": float(nats.mean()), "n": N}
    side = {"test": test, "weight_bytes": 4_000_000}
    return Trial(
        f"demo/{part}-{method}-{variant}-{tuned}-{seed}.json", part, method, share, variant,
        tuned, seed, {}, {"original": side, "merged": side}, Measure.ratio(LOSS, nats),
    )  # fmt: skip


def judged(trials: Sequence[Trial], claim: str, where: str | None = None, **more: object) -> str:
    found = Found(
        "demo", tuple(trials),
        more.get("searches", {}), more.get("similarity"), (),
    )  # fmt: skip
    mine: list[Verdict] = [
        each for each in verdicts(found) if claim in each.claim and where in (None, each.where)
    ]
    assert len(mine) == 1
    return mine[0].held


def controls() -> list[Trial]:
    return [
        trial("control", "original", 0.97, 0.1, tuned=False),
        *(trial("control", "original", 0.98, 0.08, seed=seed) for seed in range(3)),
    ]


@pytest.mark.parametrize(("value", "held"), [(0.975, "holds"), (0.965, "does not hold")])
def test_comparable_is_against_the_original_tuned_as_long(value: float, held: str) -> None:
    # 0.965 is within the margin of the untuned original, and not of the tuned one.
    merged = [trial("main", "permute", value, 0.1, share="third", seed=s) for s in range(3)]
    assert judged([*controls(), *merged], "comparable") == held


@pytest.mark.parametrize(
    ("mine", "theirs", "held"),
    [
        ((0.10, 0.11), (0.12, 0.13), "holds"),
        ((0.12, 0.13), (0.10, 0.11), "does not hold"),
        # Apart on average, and closer than the seeds are.
        ((0.10, 0.12), (0.115, 0.13), "undecided"),
        ((0.10, 0.11), (0.10, 0.11), "undecided"),
    ],
)
def test_better_is_decided_beyond_the_spread_of_seeds(
    mine: Sequence[float], theirs: Sequence[float], held: str
) -> None:
    trials = [
        *controls(),
        *(trial("main", "permute", 0.9, x, share="third", seed=i) for i, x in enumerate(mine)),
        *(trial("main", "layer drop", 0.9, x, share="third", seed=i)
          for i, x in enumerate(theirs)),
    ]  # fmt: skip
    assert judged(trials, "layer drop", "third") == held


def test_a_difference_within_sampling_is_undecided() -> None:
    def noisy(method: str, shift: float, draw: int) -> Trial:
        made = trial("main", method, 0.9, 0.1, share="half")
        nats = 0.1 + shift + np.random.default_rng(draw).normal(size=N)
        losses = Measure.ratio(LOSS, nats)
        made.record["merged"]["test"]["loss"] = float(nats.mean())
        return Trial(**{**made.__dict__, "losses": losses})

    trials = [*controls(), noisy("permute", 0.0, 1), noisy("layer drop", 0.02, 2)]
    assert judged(trials, "layer drop", "half") == "undecided"


def test_window_by_window_is_told() -> None:
    trials = [
        *controls(),
        trial("main", "permute", 0.9, 0.1, share="third", tuned=False),
        trial("main", "vanilla", 0.9, 0.2, share="third", tuned=False),
    ]
    rows = [
        {"method": method, "start": start, "loss": loss}
        for method, losses in (("permute", (1, 2, 3)), ("vanilla", (2, 1, 4)))
        for start, loss in enumerate(losses)
    ]
    found = Found("demo", tuple(trials), {"third": {"windows": rows}}, None, ())
    mine = next(v for v in verdicts(found) if "vanilla" in v.claim and v.where == "third")
    assert mine.held == "holds"
    assert "better in 2 of 3" in mine.found


@pytest.mark.parametrize(("last", "held"), [(0.975, "holds"), (0.95, "does not hold")])
@pytest.mark.parametrize("part", ["window", "anchor"])
def test_a_choice_matters_little_within_the_margin(part: str, last: float, held: str) -> None:
    trials = controls()
    for tuned, values in ((False, (0.9, 0.5, 0.2)), (True, (0.98, 0.978, last))):
        trials.append(trial("main", "permute", values[0], 0.1, share="third", tuned=tuned))
        trials += [
            trial(part, "permute", value, 0.1, share="third", tuned=tuned, variant=str(value))
            for value in values[1:]
        ]
    assert judged(trials, f"the {part} matters") == held


@pytest.mark.parametrize(("ff", "held"), [(0.6, "holds"), (0.4, "does not hold")])
def test_every_stack_must_be_more_similar(ff: float, held: str) -> None:
    def matrix(value: float) -> list[list[float]]:
        return [[1.0, value], [value, 1.0]]

    cka = {
        "output": {"encoder": matrix(0.9), "decoder": matrix(ff)},
        "attention": {"encoder": matrix(0.5), "decoder": matrix(0.5)},
    }
    assert judged(controls(), "attention outputs", similarity={"cka": cka}) == held


@pytest.mark.parametrize(
    ("losses", "held"),
    [
        ((5, 4, 3, 2, 1, 0), "holds"),
        ((0, 1, 2, 3, 4, 5), "does not hold"),
        ((0, 5, 1, 4, 2, 3), "undecided"),
        ((0, 1, 2), "undecided"),
    ],
)
def test_similarity_predicts_where_the_rank_correlation_is_below_zero(
    losses: Sequence[int], held: str
) -> None:
    rows = [
        {"method": method, "start": start, "loss": 0.0, "mean CKA": start / 10, "loss change": loss}
        for method, sign in (("permute", 1), ("vanilla", -1))
        for start, loss in enumerate(sign * loss for loss in losses)
    ]
    assert judged(controls(), "alike", searches={"third": {"windows": rows}}) == held


@pytest.mark.parametrize(("rounded", "held"), [(0.97, "holds"), (0.95, "does not hold")])
def test_int8_composes_if_it_costs_the_merged_model_no_more(rounded: float, held: str) -> None:
    trials = [
        *controls(),
        trial("int8", "original", 0.98, 0.1, variant="int8"),
        # By file, half comes before third: the third is what int8 is compared with.
        trial("main", "permute", 0.5, 0.1, share="half"),
        trial("main", "permute", 0.975, 0.1, share="third"),
        trial("int8", "permute", rounded, 0.1, share="third", variant="int8"),
    ]
    assert judged(trials, "int8") == held


def test_what_has_not_been_run_is_not_judged() -> None:
    found = Found("demo", tuple(controls()), {}, None, ())
    assert {verdict.held for verdict in verdicts(found)} == {"not run"}

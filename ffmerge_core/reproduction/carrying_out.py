"""Carrying out what is tried: each result is a file, and what has its file is not done again."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pandas as pd

from ffmerge_core.analysis.calibration import calibrate
from ffmerge_core.analysis.features import Features, similarity_matrix
from ffmerge_core.compression.cost import versions
from ffmerge_core.compression.footprint import footprint
from ffmerge_core.compression.merging import apply
from ffmerge_core.compression.quantization import quantize
from ffmerge_core.compression.result import scores_record
from ffmerge_core.compression.running import evaluate, fixed, run
from ffmerge_core.compression.search import search_windows
from ffmerge_core.errors import StorageError
from ffmerge_core.plan import MergePlan, Plan, Recipe, plan_from_dict
from ffmerge_core.progress import Report, silent
from ffmerge_core.reporting.folders import data_folder, reason, write_atomically
from ffmerge_core.reproduction.experiments import (
    TRIED,
    Experiment,
    Scope,
    Share,
    best_plan,
    by_choice,
    by_method,
    control,
    other_windows,
    rounded,
    to_remove,
)
from ffmerge_core.sources.loading import load
from ffmerge_core.tasks.batch import Split
from ffmerge_core.tasks.evaluation import Evaluation
from ffmerge_core.tasks.measures import LOSS

Json = dict[str, Any]


def reproduce(scope: Scope, folder: Path, report: Report = silent) -> Iterator[str]:
    """Everything of a scope, in files under `folder`/demo; each name once its file is there.

    Stopped anywhere, it goes on from there: a file is kept if what it says was done is what is
    to be done, and a recovery goes on from its last checkpoint. Choices read the validation
    split alone. All is computed by one thread: sums are rounded by their number, and one is a
    number that every machine has. Raises `StorageError` if the folder cannot be made.
    """
    place = folder / scope.demo
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{place} cannot be made ({reason(error)}). Name another folder for the results."
        ) from error
    with _one_thread():
        yield from _Bench(scope, place, report).results()


class _Bench:
    """One demo's model, with what several experiments need of it kept."""

    def __init__(self, scope: Scope, folder: Path, report: Report) -> None:
        self._scope, self._folder, self._report = scope, folder, report
        self._model = load(scope.source, report=report)
        self._feats: Features | None = None
        self._scores: dict[Split, Evaluation] = {}
        self._rounded: set[Path] = set()
        self._stacks = {
            stack: [each for each in self._model.sublayers if each.stack == stack]
            for stack in self._model.stacks
        }

    def results(self) -> Iterator[str]:
        yield self._keep("similarity", {"similarity": self._asked()}, self._similarity)
        for share in self._scope.shares:
            yield self._search(share)
        experiments = self._experiments()
        planned = as_json({"planned": [each.name for each in experiments]})
        write_atomically(self._folder / "planned.json", planned.encode())
        for experiment in experiments:
            recipe = fixed(experiment.recipe, self._model)
            asked = {"recipe": json.loads(json.dumps(recipe.to_dict()))}
            yield self._keep(experiment.name, asked, partial(self._carried_out, experiment))
        yield self._sizes()
        for experiment in experiments:
            shutil.rmtree(_unfinished(experiment.recipe), ignore_errors=True)

    def _experiments(self) -> list[Experiment]:
        """The most telling first: what is there when it is stopped should be worth reading."""
        scope, shares = self._scope, self._scope.shares
        plans = {share: self._plans(share) for share in shares}
        best = cast(MergePlan, plans["third"]["permute"])
        others = [
            (row["layers"], cast(MergePlan, plan_from_dict(row["plan"])))
            for row in (other_windows(self._windows("third")) if scope.others else [])
        ]
        in_int8 = list(rounded(scope, best))
        self._rounded = {_unfinished(each.recipe) for each in in_int8}
        untuned, tuned = (
            [
                each
                for share in shares
                for each in by_method(scope, share, plans[share], tuned=is_tuned)
            ]
            for is_tuned in (False, True)
        )
        return [
            *control(scope),
            *untuned,
            *tuned,
            *in_int8,
            *(by_choice(scope, others, best) if scope.others else ()),
        ]

    def _keep(self, name: str, asked: Json, make: Callable[[], Json]) -> str:
        """A result's name, once its file is there and says that it is of what was asked."""
        path = self._folder / f"{name}.json"
        if not _answers(path, asked):
            start = time.perf_counter()
            made = {**asked, **make(), "versions": versions()}
            made.setdefault("seconds", {"all": time.perf_counter() - start})
            write_atomically(path, as_json(made).encode())
        return name

    def _carried_out(self, experiment: Experiment) -> Json:
        recipe = experiment.recipe
        # The other seeds' features are not kept: they are used twice, and rather large.
        feats = self._features() if recipe.seed == 0 and recipe.plan.needs_features else None
        unfinished = _unfinished(recipe)
        result = run(
            recipe, self._report, model=self._model, feats=feats,
            before=self._score("validation"), folder=unfinished,
        )  # fmt: skip
        record = result.record()
        after = evaluate(result.merged, "test", self._report)
        for part, splits in scores_record(self._score("test"), after).items():
            record[part] |= splits
        if unfinished not in self._rounded:
            shutil.rmtree(unfinished, ignore_errors=True)
        return {
            "recipe": result.recipe.to_dict(),
            "experiment": experiment.to_dict(),
            "result": record,
            "test_losses": _by_example(after),
            "seconds": result.seconds,
            "peak_memory": result.peak_memory,
        }

    def _search(self, share: Share) -> str:
        both = "both" if len(self._stacks) > 1 else None
        remove = to_remove(share, self._stacks)
        asked = {**self._asked(), "remove": remove, "stack": both, "methods": list(TRIED)}

        def make() -> Json:
            table = search_windows(
                self._model, self._features(), remove, methods=cast(Any, TRIED), stack=both,
                report=self._report, before=self._score("validation"),
                similarity=self._cka("output"),
            )  # fmt: skip
            rows = table.to_dict("records")
            return {
                "original": self._score("validation").summary(),
                "windows": [row | {"plan": row["plan"].to_dict()} for row in rows],
            }

        return self._keep(f"search-{share}", {"search": asked}, make)

    def _sizes(self) -> str:
        """Of the original and of the best third, as they are and as int8; tuning changes none."""
        best = cast(MergePlan, self._plans("third")["permute"])
        asked = {"of": {**self._asked(), "plan": json.loads(json.dumps(best.to_dict()))}}

        def make() -> Json:
            models = {"none": self._model, "third": apply(self._model, best, self._features())}
            return {
                share: {"float32": asdict(footprint(model)),
                        "int8": asdict(footprint(quantize(model)))}
                for share, model in models.items()
            }  # fmt: skip

        return self._keep("sizes", asked, make)

    def _windows(self, share: Share) -> list[Json]:
        found = json.loads((self._folder / f"search-{share}.json").read_text("utf-8"))
        return cast(list[Json], found["windows"])

    def _plans(self, share: Share) -> dict[str, Plan]:
        rows = self._windows(share)
        return {method: plan_from_dict(best_plan(rows, method)["plan"]) for method in TRIED}

    def _similarity(self) -> Json:
        return {
            "examples": self._model.require_task().examples,
            "cka": {
                of: {stack: table.to_numpy().tolist() for stack, table in self._cka(of).items()}
                for of in ("output", "attention")
            },
        }

    def _cka(self, of: Any) -> dict[str, pd.DataFrame]:
        return {
            stack: similarity_matrix(self._features(), of, stack=stack, report=self._report)
            for stack in self._stacks
        }

    def _features(self) -> Features:
        if self._feats is None:
            self._feats = calibrate(self._model, self._scope.tokens, 0, self._report)
        return self._feats

    def _score(self, split: Split) -> Evaluation:
        if split not in self._scores:
            self._scores[split] = evaluate(self._model, split, self._report)
        return self._scores[split]

    def _asked(self) -> Json:
        return {
            "source": self._scope.source,
            "revision": self._model.revision,
            "data_revision": self._model.require_task().revision,
            "tokens": self._scope.tokens,
            "seed": 0,
        }


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_json(value: Json) -> str:
    """Strict JSON: NaN and infinity as null."""
    plain = json.loads(json.dumps(value), parse_constant=lambda _: None)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")) + "\n"


def _by_example(score: Evaluation) -> Json:
    """What each test example adds to the loss, so that any two results can be paired later."""
    nats, weights = score.measures[LOSS].statistics.T.tolist()
    # Weights are counts: of images, or of tokens.
    return {
        "nats": [float(f"{each:.6g}") for each in nats],
        "weights": [int(each) for each in weights],
    }


def _answers(path: Path, asked: Json) -> bool:
    """Whether there is a result of exactly this, by one thread; a damaged one is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return (
        isinstance(found, dict)
        and all(found.get(key) == asked[key] for key in asked)
        and (found.get("versions") or {}).get("threads") == "1"
    )


def _unfinished(recipe: Recipe) -> Path:
    """Where the checkpoints of a recipe's recovery are: not among the results, being large.

    Rounded to int8 afterwards or not, it is the same recovery, which is carried out once.
    """
    values = replace(recipe, quantize=None).to_dict()
    name = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
    return data_folder() / "unfinished" / name

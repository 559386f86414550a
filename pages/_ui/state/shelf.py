"""What one server has computed and all its tabs may read: models, features, matrices, runs.

Nothing here is changed after it was put: a model is shared by every tab, and what is done
to one makes another. Methods that take a `Report` run on the jobs' worker thread.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ffmerge_core.errors import Cancelled, DataError
from ffmerge_core.plan import Recipe
from ffmerge_core.progress import Report
from ffmerge_core.reporting.runs import RunStore
from pages._ui.state.subject import Opened, Subject, demo_subject, loaded_subject

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    import ffmerge_core as fm

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The `limit` values used last, by key. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def values(self) -> list[V]:
        with self._lock:
            return list(self._values.values())

    def drop(self, unwanted: Callable[[K], bool]) -> None:
        """Forget the values whose key is `unwanted`."""
        with self._lock:
            for key in [key for key in self._values if unwanted(key)]:
                del self._values[key]

    def put(self, key: K, value: V) -> V:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._limit:
                self._values.popitem(last=False)
            return value


@dataclass(frozen=True)
class Question:
    """One heatmap: which model, which tokens, what is compared."""

    opened: Opened
    tokens: int
    seed: int
    of: str
    metric: str
    stack: str


@dataclass(frozen=True)
class Answer:
    """A heatmap's numbers, and a sentence if there were fewer tokens than asked for."""

    matrix: pd.DataFrame
    n_tokens: int
    shortfall: str | None


@dataclass(frozen=True)
class Shelf:
    """Each kind bounded by use, so that memory is."""

    subjects: Recent[Opened, Subject] = field(default_factory=lambda: Recent(8))
    models: Recent[Opened, fm.LoadedModel] = field(default_factory=lambda: Recent(3))
    features: Recent[tuple[Opened, int, int], fm.Features] = field(
        default_factory=lambda: Recent(2)
    )
    scores: Recent[tuple[Opened, str], fm.Evaluation] = field(default_factory=lambda: Recent(16))
    answers: Recent[Question, Answer] = field(default_factory=lambda: Recent(64))
    results: Recent[str, fm.RunResult] = field(default_factory=lambda: Recent(3))
    pictures: Recent[tuple[str, str, str], go.Figure] = field(default_factory=lambda: Recent(16))

    def subject(self, opened: Opened) -> Subject | None:
        """What is known of a model; None if it was not opened yet and no card tells it."""
        known = self.subjects.get(opened)
        if known is None and opened.from_card:
            return self.subjects.put(opened, demo_subject(opened.source))
        return known

    def open(self, wanted: Opened, report: Report) -> Opened:
        """Open, score and describe a model as it is now; returns its key, with full paths."""
        from ffmerge_core.tasks.task import tokenize_of

        model = self._read(wanted, report)
        if model.task is None:
            raise DataError(
                f"{wanted.source} was saved without data, so it cannot be measured. Choose the "
                "built-in digits or your own data."
            )
        opened = replace(
            wanted,
            source=model.source,
            data=model.data,
            tokenize=tokenize_of(model.task),
            allow_bin=model.from_bin,
        )
        self._forget(opened, model.revision)
        self.models.put(opened, model)
        self.subjects.put(
            opened, loaded_subject(model, opened, self.score(opened, "validation", report))
        )
        return opened

    def open_recipe(self, recipe: Recipe, report: Report) -> Opened:
        """Open what a recipe names and check that its plan can be carried out on it.

        Raises `PlanError` if it cannot, or if weights or data are others than the recipe's.
        """
        opened = Opened.of(recipe)
        if self.subject(opened) is None:
            opened = self.open(opened, report)
        model = self.load(opened, report)
        from ffmerge_core.compression.running import check_source

        recipe.plan.check(model.sublayers)
        check_source(recipe, model)
        return opened

    def _forget(self, opened: Opened, revision: str) -> None:
        """Drop what was computed of a model as it was, on any data if its weights have changed."""
        stale = {opened}
        for known in self.subjects.values():
            if known.source == opened.source and known.revision != revision:
                stale.add(known.opened)
        self.subjects.drop(lambda key: key in stale)
        self.models.drop(lambda key: key in stale)
        self.features.drop(lambda key: key[0] in stale)
        self.scores.drop(lambda key: key[0] in stale)
        self.answers.drop(lambda key: key.opened in stale)

    def load(self, opened: Opened, report: Report) -> fm.LoadedModel:
        """The model, from the shelf if it is there."""
        return self.models.get(opened) or self.models.put(opened, self._read(opened, report))

    def _read(self, opened: Opened, report: Report) -> fm.LoadedModel:
        if "torch" not in sys.modules:
            report(0, 1, "Starting PyTorch, which takes a while the first time")
        import ffmerge_core as fm

        return fm.load(
            opened.source,
            opened.data,
            report,
            fidelity=opened.fidelity,
            tokenize=opened.tokenize,
            allow_bin=opened.allow_bin,
        )

    def score(self, opened: Opened, split: Any, report: Report) -> fm.Evaluation:
        """The untouched model's score on a split."""
        import ffmerge_core as fm

        return self.scores.get((opened, split)) or self.scores.put(
            (opened, split), fm.evaluate(self.load(opened, report), split, report)
        )

    def answer(self, question: Question, report: Report) -> Answer:
        """Measure one heatmap."""
        import ffmerge_core as fm

        if (known := self.answers.get(question)) is not None:
            return known

        model = self.load(question.opened, report)
        key = (question.opened, question.tokens, question.seed)
        feats = self.features.get(key) or self.features.put(
            key, fm.calibrate(model, question.tokens, question.seed, report)
        )
        matrix = fm.similarity_matrix(
            feats,
            of=question.of,
            metric=question.metric,
            stack=question.stack,
            report=report,
        )
        return self.answers.put(question, Answer(matrix, feats.n_tokens, feats.shortfall))

    def picture(
        self, run_id: str, names: tuple[str, str], feats: fm.Features, report: Report
    ) -> go.Figure:
        """How a run matched the neurons of (anchor, sublayer); feats: those that it merged by.

        The picture alone is kept, of 256 × 256 points at most: a d_ff × d_ff correlation is not.
        """
        from ffmerge_core.reporting.figures import matching_figure

        report(0, 1, f"Correlating the neurons of {' and '.join(names)}")
        figure = matching_figure(
            feats.correlation(*names).numpy(), feats.match(*names).permutation.numpy(), names
        )
        return self.pictures.put((run_id, *names), figure)

    def replay(self, recipe: Recipe, report: Report, folder: Path | None = None) -> fm.RunResult:
        """Carry out a recipe with what is on the shelf, and put there what it made.

        folder: for a recovery's checkpoints.
        """
        import ffmerge_core as fm

        opened = Opened.of(recipe)
        key = (opened, recipe.tokens, recipe.seed)
        result = fm.run(
            recipe,
            report,
            model=self.models.get(opened),
            feats=self.features.get(key),
            before=self.scores.get((opened, "validation")),
            folder=folder,
        )
        self.models.put(opened, result.original)
        self.scores.put((opened, "validation"), result.before)
        if result.feats is not None:
            self.features.put(key, result.feats)
        return result

    def merge(self, recipe: Recipe, name: str, store: RunStore, report: Report) -> str:
        """Carry out a recipe as a run of the history; returns the run's id."""
        model = self.load(Opened.of(recipe), report)
        from ffmerge_core.compression.running import fixed
        from ffmerge_core.reporting.recording import record

        run_id, result = record(store, fixed(recipe, model), name, self.replay, report)
        self.results.put(run_id, result)
        return run_id

    def reload(self, run_id: str, recipe: Recipe, report: Report) -> str:
        """Rebuild a stored run's merged model; its stored figures stay as they are."""
        self.results.put(run_id, self._made_again(recipe, report))
        return run_id

    def _made_again(self, recipe: Recipe, report: Report) -> fm.RunResult:
        result = self.replay(recipe, report)
        if result.recipe.recovery != recipe.recovery:
            # A recovery that is cancelled keeps its best so far, which is another model.
            raise Cancelled("Cancelled: nothing was changed.")
        return result

    def final_score(self, run_id: str, recipe: Recipe, store: RunStore, report: Report) -> str:
        """Add the test split's figures to a run."""
        import ffmerge_core as fm
        from ffmerge_core.compression.result import scores_record

        result = self.results.get(run_id)
        if result is None:
            result = self.results.put(run_id, self._made_again(recipe, report))
        before = self.score(Opened.of(recipe), "test", report)
        after = fm.evaluate(result.merged, "test", report)
        store.update_result(run_id, scores_record(before, after))
        return run_id

"""What one server has computed and all its tabs may read: models, features, matrices, runs.

Nothing here is changed after it was put: a model is shared by every tab, and what is done
to one makes another. Methods that take a `Report` run on the jobs' worker thread.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ffmerge_core import demos
from ffmerge_core.errors import Cancelled, FFMergeError, Interrupted
from ffmerge_core.plan import Recipe
from ffmerge_core.progress import Report
from ffmerge_core.reporting.runs import RunStore
from pages._ui.subject import Subject, demo_subject

if TYPE_CHECKING:
    import pandas as pd

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

    source: str
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

    subjects: Recent[str, Subject] = field(default_factory=lambda: Recent(8))
    models: Recent[str, fm.LoadedModel] = field(default_factory=lambda: Recent(3))
    features: Recent[tuple[str, int, int], fm.Features] = field(default_factory=lambda: Recent(2))
    scores: Recent[tuple[str, str], fm.Evaluation] = field(default_factory=lambda: Recent(16))
    answers: Recent[Question, Answer] = field(default_factory=lambda: Recent(64))
    results: Recent[str, fm.RunResult] = field(default_factory=lambda: Recent(3))

    def subject(self, source: str) -> Subject | None:
        """What is known of a source; None if it is a folder that was not opened yet."""
        known = self.subjects.get(source)
        if known is None and source.startswith(demos.PREFIX):
            return self.subjects.put(source, demo_subject(source))
        return known

    def open(self, source: str, report: Report) -> str:
        """Open a folder as it is now, score and describe it; returns its full source."""
        from ffmerge_core.models.loaded import anatomy

        self.forget(source)
        model = self.load(source, report)
        if model.source != source:
            self.forget(model.source)
            self.models.put(model.source, model)
        score = self.score(model, "validation", report)
        subject = Subject(
            source=model.source,
            revision=model.revision,
            title=model.source.rstrip("/").rsplit("/", 1)[-1],
            description=f"A {model.family.name} opened from {model.source}.",
            family=model.family.name,
            sublayers=model.sublayers,
            anatomy=anatomy(model.model, model.family, model.sublayers),
            n_parameters=model.n_parameters,
            weight_bytes=model.weight_bytes,
            scores={"validation": score.summary()},
            facts=(("Data", f"{model.require_task().data}, built in and fitted to the input"),),
        )
        self.subjects.put(subject.source, subject)
        return subject.source

    def forget(self, source: str) -> None:
        """Drop what was computed of a source, whose weights may have changed since."""
        self.subjects.drop(lambda key: key == source)
        self.models.drop(lambda key: key == source)
        self.features.drop(lambda key: key[0] == source)
        self.scores.drop(lambda key: key[0] == source)
        self.answers.drop(lambda key: key.source == source)

    def load(self, source: str, report: Report) -> fm.LoadedModel:
        if "torch" not in sys.modules:
            report(0, 1, "Starting PyTorch, which takes a while the first time")
        import ffmerge_core as fm

        return self.models.get(source) or self.models.put(
            source, fm.load(source, task=data_of(source), report=report)
        )

    def score(self, model: fm.LoadedModel, split: Any, report: Report) -> fm.Evaluation:
        """The untouched model's score on a split."""
        import ffmerge_core as fm

        return self.scores.get((model.source, split)) or self.scores.put(
            (model.source, split), fm.evaluate(model, split, report)
        )

    def answer(self, question: Question, report: Report) -> Answer:
        """Measure one heatmap."""
        import ffmerge_core as fm

        if (known := self.answers.get(question)) is not None:
            return known

        model = self.load(question.source, report)
        key = (question.source, question.tokens, question.seed)
        feats = self.features.get(key) or self.features.put(
            key, fm.calibrate(model, question.tokens, question.seed, report)
        )
        matrix = fm.similarity_matrix(
            feats,
            of=question.of,  # type: ignore[arg-type]
            metric=question.metric,  # type: ignore[arg-type]
            stack=question.stack,
            report=report,
        )
        return self.answers.put(question, Answer(matrix, feats.n_tokens, feats.shortfall))

    def replay(self, recipe: Recipe, report: Report) -> fm.RunResult:
        """Carry out a recipe with what is on the shelf, and put there what it made."""
        import ffmerge_core as fm

        key = (recipe.source, recipe.tokens, recipe.seed)
        result = fm.run(
            recipe,
            report,
            model=self.models.get(recipe.source),
            feats=self.features.get(key),
            before=self.scores.get((recipe.source, "validation")),
        )
        self.models.put(recipe.source, result.original)
        self.scores.put((recipe.source, "validation"), result.before)
        if result.feats is not None:
            self.features.put(key, result.feats)
        return result

    def merge(self, recipe: Recipe, name: str, store: RunStore, report: Report) -> str:
        """Carry out a recipe as a run of the history; returns the run's id."""
        model = self.load(recipe.source, report)
        from ffmerge_core.compression.cost import versions

        recipe = replace(recipe, revision=model.revision)
        run = store.start(recipe.to_dict(), recipe.source, name, versions())
        try:
            result = self.results.put(run.id, self.replay(recipe, report))
            store.finish(run.id, result.record(), result.seconds, result.peak_memory)
        except Interrupted:
            # The run stays "running" and its process ends, by which the next server knows it.
            raise
        except Cancelled:
            store.cancel(run.id)
            raise
        except Exception as error:
            known = isinstance(error, FFMergeError)
            said = str(error) if known else f"It stopped on an unexpected {type(error).__name__}."
            # The history may be what failed: then the first error is the one to tell.
            with suppress(FFMergeError):
                store.fail(run.id, said)
            raise
        return run.id

    def reload(self, run_id: str, recipe: Recipe, report: Report) -> str:
        """Rebuild a stored run's merged model; its stored figures stay as they are."""
        self.results.put(run_id, self.replay(recipe, report))
        return run_id

    def final_score(self, run_id: str, recipe: Recipe, store: RunStore, report: Report) -> str:
        """Add the test split's figures to a run."""
        import ffmerge_core as fm
        from ffmerge_core.compression.running import scores_record

        result = self.results.get(run_id)
        if result is None:
            result = self.results.put(run_id, self.replay(recipe, report))
        before = self.score(result.original, "test", report)
        after = fm.evaluate(result.merged, "test", report)
        store.update_result(run_id, scores_record(before, after))
        return run_id


def data_of(source: str) -> str | None:
    """The data that a source is measured on: a demo's own, the built-in digits for a folder."""
    return None if source.startswith(demos.PREFIX) else "digits"

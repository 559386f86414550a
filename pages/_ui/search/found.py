"""Searches of windows: what was asked, what was found, and the work between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from ffmerge_core.progress import Report, part
from pages._ui.state.shared import shelf
from pages._ui.state.shelf import Question, Recent
from pages._ui.state.subject import Opened, Subject

if TYPE_CHECKING:
    import pandas as pd

# Of a search's progress: features and their similarity are there already, or cost one pass.
_PREPARING = 0.1


@dataclass(frozen=True)
class Search:
    """One search: of which weights, by which tokens, for how many FF sublayers, how.

    stack: "both", or the one that is searched. methods: some merge. anchors: one or more.
    """

    opened: Opened
    revision: str
    tokens: int
    seed: int
    remove: int
    stack: str
    methods: tuple[str, ...]
    anchors: tuple[str, ...]

    def stacks(self, subject: Subject) -> tuple[str, ...]:
        return subject.stacks if self.stack == "both" else (self.stack,)

    def question(self, stack: str) -> Question:
        """The similarity of a stack that clustering reads: the paper's."""
        return Question(self.opened, self.tokens, self.seed, "output", "cka", stack)


@dataclass(frozen=True, eq=False)
class Found:
    """table: as `search_windows` has it. original: the untouched model's `summary()`.

    seconds, peak_memory (bytes, of the whole process): of the search with its calibration.
    """

    search: Search
    table: pd.DataFrame
    original: Mapping[str, Any]
    seconds: float
    peak_memory: int


@st.cache_resource(show_spinner=False)
def searches() -> Recent[Search, Found]:
    """The searches of all tabs that were used last."""
    return Recent(16)


def find_windows(search: Search, stacks: tuple[str, ...], report: Report) -> Found:
    """Search, with what is on the shelf; runs on the jobs' thread."""
    from ffmerge_core.compression.cost import measured

    models, preparing = shelf(), part(report, 0, _PREPARING)
    with measured() as cost, cost.step("search"):
        model = models.load(search.opened, preparing)
        before = models.score(search.opened, "validation", preparing)
        similarity = {
            stack: models.answer(search.question(stack), preparing).matrix for stack in stacks
        }
        import ffmerge_core as fm

        key = (search.opened, search.tokens, search.seed)
        feats = models.features.get(key) or models.features.put(
            key, fm.calibrate(model, search.tokens, search.seed, preparing)
        )
        several = len(model.stacks) > 1
        methods: Any = search.methods
        anchors: Any = search.anchors
        table = fm.search_windows(
            model,
            feats,
            search.remove,
            methods=methods,
            anchors=anchors,
            stack=search.stack if several else None,
            report=part(report, _PREPARING, 1),
            before=before,
            similarity=similarity,
        )
    found = Found(search, table, before.summary(), cost.seconds["search"], cost.peak_memory)
    return searches().put(search, found)

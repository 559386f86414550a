"""The picture of a matching: made by the jobs' thread, small, and there when the page shows it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import ffmerge_core as fm
from ffmerge_core.analysis import features
from pages._ui.state.shared import job_registry, run_store, shelf
from tests.ui.pages_support import DEMO, id_of, open_app, press, sentences, settle, with_run

GROUP = ("encoder.2", "encoder.3", "encoder.4")


def drawn(tab: AppTest) -> bool:
    """Whether the picture is on the page."""
    charts = [json.loads(chart.proto.spec) for chart in tab.get("plotly_chart")]
    titles = [chart["layout"].get("title", {}).get("text") or "" for chart in charts]
    return any(title.startswith("Correlation of") for title in titles)


def test_drawing_the_page_multiplies_no_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def telling(work: Callable[..., Any]) -> Callable[..., Any]:
        def told(*args: Any) -> Any:
            threads.append(threading.current_thread().name)
            return work(*args)

        return told

    monkeypatch.setattr(features, "correlate", telling(features.correlate))
    monkeypatch.setattr(features, "standardised", telling(features.standardised))
    tab = with_run(GROUP)
    settle(tab)
    before = len(threads)
    assert before > 0
    assert drawn(tab)
    tab.run()
    assert len(threads) == before, "it was made before"
    second = tab.selectbox(key="pair").options[1]
    tab.selectbox(key="pair").set_value(second).run()
    settle(tab)
    assert len(threads) > before
    assert drawn(tab)
    assert set(threads) == {"jobs"}


def test_a_picture_that_was_dropped_is_made_again() -> None:
    tab = settle(with_run())
    shelf().pictures.drop(lambda key: True)
    assert not drawn(tab.run())
    assert drawn(settle(tab))


def test_a_cancelled_picture_is_offered_again() -> None:
    tab = settle(with_run())
    shelf().pictures.drop(lambda key: True)
    begun = threading.Event()
    other = job_registry().submit("another tab", "work", "Work", lambda report: begun.wait())
    tab.run()
    (job,) = job_registry().active(id_of(tab))
    job_registry().cancel(job.id)
    begun.set()
    job_registry().wait(other.id, 10)
    tab.run()
    assert "Cancelled: nothing was changed." in sentences(tab)
    assert not drawn(tab)
    assert drawn(press(tab, "Draw it again"))


def test_what_is_kept_of_wide_sublayers_is_small() -> None:
    source, names = "demo:gpt2-code", ("decoder.2", "decoder.3")
    feats = fm.calibrate(fm.load(source), tokens=300)
    assert feats[names[0]].hidden.shape[1] > 256
    figure = shelf().picture("a run", names, feats, lambda *told: None)
    assert shelf().pictures.get(("a run", *names)) is figure
    for panel in figure.data:
        assert all(np.size(values) <= 256**2 for values in (panel.z, panel.customdata))


def test_the_picture_is_of_the_run_s_own_features() -> None:
    tab = settle(with_run())
    (run,) = run_store().list(DEMO)
    assert run.result is not None
    (pair,) = run.result["pairs"]
    figure = shelf().pictures.get((run.id, pair["anchor"], pair["sublayer"]))
    assert figure is not None
    means = [note.text.rsplit(" ", 1)[1] for note in figure.layout.annotations]
    assert means == [f"{pair['before']:.2f}", f"{pair['after']:.2f}"]
    assert drawn(open_app("merge", id_of(tab)))

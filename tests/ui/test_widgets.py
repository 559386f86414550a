"""Scores and durations in words, and guarding."""

from __future__ import annotations

import logging

import pytest
from streamlit.testing.v1 import AppTest

from pages._ui.pieces.widgets import duration, score_text


def test_a_score_is_written_with_all_its_figures_each_in_its_own_way() -> None:
    score = {
        "metric": "BLEU", "value": 27.004, "interval": [25.0, 29.04],
        "loss": 1.5, "loss_interval": [1.25, 1.75], "n": 1_200,
        "others": {"chrF": {"value": 50.0, "interval": [49.0, 51.0]}},
    }  # fmt: skip
    assert score_text(score, "sentences") == (
        "BLEU 27.0 (25.0 to 29.0), chrF 50.0 (49.0 to 51.0), loss 1.500 (1.250 to 1.750), "
        "on 1,200 sentences"
    )
    old = {name: score[name] for name in score if name != "others"}
    one = {**old, "metric": "accuracy", "value": 1.0, "interval": [1.0, 1.0], "n": 1}
    assert score_text(one, "images") == (
        "accuracy 100.0% (100.0% to 100.0%), loss 1.500 (1.250 to 1.750), on 1 image"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.7, "1 min 0 s"),
        (75, "1 min 15 s"),
        (3_720, "1 h 2 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def guarded_page() -> None:
    import streamlit as st

    from ffmerge_core.errors import Cancelled, DataError
    from pages._ui.pieces.widgets import guarded

    st.session_state.setdefault("runs", 0)
    st.session_state.runs += 1

    @guarded()
    def divide() -> float:
        return 1 / 0

    with guarded():
        raise DataError("12 tokens were found and 10,000 asked for. Ask for fewer.")
    with guarded():
        raise Cancelled
    divide()
    with guarded():
        if st.session_state.runs == 1:
            st.rerun()
    st.text(f"runs: {st.session_state.runs}")
    with guarded():
        st.stop()
    st.text("not reached")


def test_guarded_shows_sentences_and_lets_reruns_and_stops_pass(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        page = AppTest.from_function(guarded_page).run()
    ours, unexpected = [error.value for error in page.error]
    assert ours == "12 tokens were found and 10,000 asked for. Ask for fewer."
    assert unexpected.startswith("This part of the page stopped on an unexpected ZeroDivisionError")
    assert "Traceback" in caplog.text
    assert page.info[0].value == "Cancelled: nothing was changed."
    assert [text.value for text in page.text] == ["runs: 2"]
    assert not page.exception

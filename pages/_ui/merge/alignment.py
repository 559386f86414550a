"""How the neurons of a merge were matched, pair by pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ffmerge_core.reporting.figures import alignment_bars
from ffmerge_core.reporting.runs import Run
from pages._ui.pieces.job_panel import needed
from pages._ui.state.shared import shelf

if TYPE_CHECKING:
    import ffmerge_core as fm


@st.fragment
def alignment(run: Run, result: fm.RunResult | None) -> None:
    """How well neurons were matched, pair by pair, and the matching as a picture."""
    pairs = (run.result or {}).get("pairs") or []
    if not pairs:
        st.caption("This method does not align neurons, so there is no matching to show.")
        return
    st.subheader("How the neurons were matched")
    st.plotly_chart(alignment_bars(pairs), key="alignment", config={"displaylogo": False})
    if result is None or result.feats is None:
        return
    labels = {f"{pair['sublayer']} → {pair['anchor']}": pair for pair in pairs}
    chosen = labels[
        st.selectbox("Matched pair of FF sublayers", list(labels), key="pair") or next(iter(labels))
    ]
    names = chosen["anchor"], chosen["sublayer"]
    models, feats = shelf(), result.feats
    figure = models.pictures.get((run.id, *names))
    if figure is None:
        # A product of d_ff × n_tokens matrices is no work for the thread that draws the page.
        needed(
            "matching",
            f"Drawing the matching of {names[1]} and {names[0]}",
            lambda report: models.picture(run.id, names, feats, report),
            (run.id, *names),
            again="Draw it again",
        )
    else:
        st.plotly_chart(figure, key="matching", config={"displaylogo": False})

"""What a merge did, from the stored run and, where it is in memory, from the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from ffmerge_core.reporting.figures import alignment_bars, matching_figure
from ffmerge_core.reporting.runs import Run
from pages._ui.try_out import picture
from pages._ui.widgets import count, megabytes, percent, with_interval

if TYPE_CHECKING:
    import ffmerge_core as fm

SHOWN_IMAGES = 24


def before_and_after(run: Run) -> None:
    """The table, split by split, and the paired differences in sentences."""
    result = run.result or {}
    original, merged = result["original"], result["merged"]
    saved = original["n_parameters"] - merged["n_parameters"]
    rows = [
        (
            "Parameters",
            count(original["n_parameters"]),
            count(merged["n_parameters"]),
            f"−{count(saved)} (−{percent(saved / original['n_parameters'])})",
        ),
        (
            "Memory of the weights",
            megabytes(original["weight_bytes"]),
            megabytes(merged["weight_bytes"]),
            f"−{megabytes(original['weight_bytes'] - merged['weight_bytes'])}",
        ),
    ]
    for split, change in result["difference"].items():
        rows += _score_rows(split, original[split], merged[split], change)
    st.table(pd.DataFrame(rows, columns=["", "Original", "Merged", "Change"]).set_index(""))
    st.caption(
        "In brackets: 95% bootstrap intervals over examples; the change is paired, example by "
        "example. Tying saves parameters and memory, not compute: the merged sublayer still runs "
        "at every position."
    )


def _score_rows(
    split: str, before: Mapping[str, Any], after: Mapping[str, Any], change: Mapping[str, Any]
) -> list[tuple[str, str, str, str]]:
    label = f"{split.capitalize()} {before['metric']}"
    n = f"n = {count(before['n'])}"
    return [
        (
            f"{label}, {n}",
            with_interval(before["value"], before["interval"]),
            with_interval(after["value"], after["interval"]),
            with_interval(change["value"], change["interval"], _points),
        ),
        (
            f"{split.capitalize()} loss",
            with_interval(before["loss"], before["loss_interval"], "{:.3f}".format),
            with_interval(after["loss"], after["loss_interval"], "{:.3f}".format),
            with_interval(change["loss"], change["loss_interval"], _signed),
        ),
        (f"{split.capitalize()} predictions that agree", "", percent(change["agreement"]), ""),
    ]


def _signed(difference: float) -> str:
    """-0.0171 -> "−0.017"."""
    return _minus(f"{difference:+.3f}")


def _minus(text: str) -> str:
    """A signed number with a true minus, and zero without a sign."""
    return text.replace("-", "−") if text.strip("+-0.") else text.lstrip("+-")


def _points(difference: float) -> str:
    """-0.025 -> "−2.5 points"."""
    return _minus(f"{100 * difference:+.1f}") + " points"


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
    chosen = labels[st.selectbox("Neurons of", list(labels), key="pair") or next(iter(labels))]
    names = chosen["anchor"], chosen["sublayer"]
    figure = matching_figure(
        result.feats.correlation(*names).numpy(),
        result.feats.match(*names).permutation.numpy(),
        names,
    )
    st.plotly_chart(figure, key="matching", config={"displaylogo": False})


def changed_images(result: fm.RunResult) -> None:
    """The validation images that the two models classify differently."""
    task: Any = result.original.require_task()
    images = task.splits["validation"]
    changed = result.after.versus(result.before).changed.tolist()
    if not changed:
        st.success(f"No prediction changed on the {count(result.after.n)} validation images.")
        return
    shown = changed[:SHOWN_IMAGES]
    st.write(
        f"{len(changed)} of {count(result.after.n)} predictions changed"
        + (f"; the first {len(shown)} are shown" if len(shown) < len(changed) else "")
        + ". Below each: true class: original → merged."
    )
    with st.container(horizontal=True):
        for index in shown:
            truth = task.classes[int(images.labels[index])]
            was = task.classes[int(result.before.predictions[index])]
            now = task.classes[int(result.after.predictions[index])]
            with st.container(width=110):
                st.image(
                    picture(images.images[index], side=96),
                    width=96,
                    caption=f"{truth}: {was} → {now}",
                )

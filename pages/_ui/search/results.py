"""What a search found: the chart, the table, and whether similarity foretold it."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from ffmerge_core.errors import PlanError
from ffmerge_core.plan import ANCHORS, METHODS, MergePlan, merges, short
from ffmerge_core.reporting.figures import (
    Damage,
    WindowPoint,
    damage_scatter,
    to_html,
    window_chart,
)
from ffmerge_core.reporting.formats import count, figure_text, megabytes
from ffmerge_core.reporting.scores import LOSS, Stored
from ffmerge_core.tasks.metrics import metric
from pages._ui.pieces.widgets import (
    Download,
    download_row,
    duration,
)
from pages._ui.search.found import Found, Search
from pages._ui.state.recipes import restore_plan
from pages._ui.state.shared import current_workspace
from pages._ui.state.subject import Subject

NO_BAR = {"displaylogo": False}
SIMILARITIES = ("mean CKA", "mean aligned correlation")


def best_window(found: Found, subject: Subject) -> None:
    """The best merge in a sentence, with the step on; and what layer drop did beside it."""
    table, own = found.table, metric(found.original["metric"])
    mergers = table[table["method"].isin(merges())]
    best, first = mergers.iloc[0], table.iloc[0]
    st.subheader(f"Best window: {best['layers']}, {_tried_by(best, found.search)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"It has validation loss {_told(best, 'loss')} and {own.name} {_told(best, own.name)}. "
            f"The original has {metric(LOSS).text(found.original['loss'])} and "
            f"{own.text(found.original['value'])}. {count(best['n_parameters'])} parameters are "
            "left. Nothing was fine-tuned.",
            width="stretch",
        )
        wanted = st.button(
            "Use this window",
            type="primary",
            icon=":material/merge:",
            help="Makes this window the group to merge, with this method and anchor, and opens the "
            "Merge page. Undo on the Similarity page brings back the earlier groups.",
        )
    if wanted:
        use(best["plan"], subject)
    if first["method"] not in merges():
        st.caption(
            f"{METHODS[first['method']].label} does better here: {first['layers']}, loss "
            f"{_told(first, 'loss')}, with {count(first['n_parameters'])} parameters left."
        )
    st.caption(
        f"{count(len(table))} {'candidate' if len(table) == 1 else 'candidates'} took "
        f"{duration(found.seconds)}. The peak memory of the whole process was "
        f"{megabytes(found.peak_memory)}."
    )


def use(plan: MergePlan, subject: Subject) -> None:
    """Make a window the groups of this tab, and go to the Merge page."""
    restore_plan(current_workspace(), plan, subject)
    st.switch_page("pages/merge.py")


def chart(found: Found) -> None:
    """Score by window start, and the downloads."""
    own = found.original["metric"]
    score = st.segmented_control(
        "Score",
        (own, LOSS),
        # The one that the best is chosen by.
        default=LOSS,
        required=True,
        key=f"search_score_{own}",
        persist_state="session",
    )
    say, original = metric(score), found.original["value" if score == own else "loss"]
    points = [
        WindowPoint(
            row["start"], row["layers"], row["method"], row["n_parameters"],
            row[score], row[f"{score} low"], row[f"{score} high"], row["anchor"],
        )
        for row in found.table.to_dict("records")
    ]  # fmt: skip
    best = next(point for point in points if point.method in merges())
    methods, anchors = found.search.methods, ("", *found.search.anchors)
    points.sort(key=lambda point: (methods.index(point.method), anchors.index(point.anchor)))
    figure = window_chart(points, say, original, best)
    st.plotly_chart(figure, key="search", config=NO_BAR)
    st.caption(
        "Bars are 95% bootstrap intervals over examples. The best window has the lowest loss on "
        "the validation split. Where bars overlap, the order of the windows may be due to chance."
        if len(points) > 1
        else "The bar is a 95% bootstrap interval over examples."
    )
    download_row(
        Download("Table (CSV)", "search.csv", lambda: _csv(found.table), "text/csv"),
        Download("Figure (HTML)", "search.html", lambda: to_html(figure), "text/html"),
        key="search-files",
    )


def windows_table(found: Found, subject: Subject) -> None:
    """Every candidate, best first; a selected merge goes to the Merge page."""
    own = metric(found.original["metric"])
    scale = 100 if own.percent else 1
    several = {"Anchor": found.table["anchor"]} if len(found.search.anchors) > 1 else {}
    frame = pd.DataFrame({
        "Layers": found.table["layers"],
        "Method": found.table["method"],
        **several,
        own.label: found.table[own.name] * scale,
        "Loss": found.table["loss"],
        "Change of the loss": found.table["loss change"],
        "CKA": found.table["mean CKA"],
        "Aligned": found.table["mean aligned correlation"],
        "Parameters": found.table["n_parameters"],
    })  # fmt: skip
    number = st.column_config.NumberColumn
    event: Any = st.dataframe(
        frame,
        # A name of exactly this search: a selection is of positions.
        key=f"search-table-{hash(found.search)}",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            own.label: number(format=f"%.{own.digits}f" + ("%%" if own.percent else "")),
            "Loss": number(
                format="%.3f", help="On the validation split. The table is sorted by it."
            ),
            "Change of the loss": number(
                format="%+.3f", help="Merged minus original, paired example by example."
            ),
            "CKA": number(
                format="%.2f",
                help="Similarity of the FF outputs (centred kernel alignment), the mean over the "
                "window's pairs of layers.",
            ),
            "Aligned": number(
                format="%.2f",
                help="The mean correlation of the neurons after matching them one to one.",
            ),
            "Parameters": number(format="localized"),
        },
    )
    rows = event["selection"]["rows"]
    chosen = found.table.iloc[rows[0]] if rows and rows[0] < len(found.table) else None
    mergeable = chosen is not None and chosen["method"] in merges()
    if st.button(
        "Use the selected window",
        disabled=not mergeable,
        icon=":material/merge:",
        help="Select a row whose method merges. Dropped layers are not a group that can be merged.",
    ):
        assert chosen is not None
        use(chosen["plan"], subject)


def prediction(found: Found) -> None:
    """Damage against similarity, and in plain words whether one foretells the other."""
    from ffmerge_core.analysis.prediction import does_similarity_predict

    with st.container(horizontal=True, gap="medium"):
        of = st.segmented_control(
            "Similarity", SIMILARITIES, default=SIMILARITIES[0], required=True,
            key="search_similarity", persist_state="session",
            format_func=lambda name: name[:1].upper() + name[1:],
        )  # fmt: skip
        mine = found.table
        for label, column in (("Merged by", "method"), ("Anchor", "anchor")):
            mine = _of_one(label, mine, column, found.search)
    correlation = None
    try:
        measured = does_similarity_predict(mine, of)
    except PlanError as error:
        st.info(str(error))
    else:
        correlation = measured.text()
        st.markdown(f"**{measured.in_words(of)}**")
    windows = [
        Damage(
            row["layers"], row[of], row["loss"],
            row["loss change"], row["loss change low"], row["loss change high"],
        )
        for row in mine.to_dict("records")
    ]  # fmt: skip
    figure = damage_scatter(windows, of, found.original["loss"], correlation)
    st.plotly_chart(figure, key="damage", config=NO_BAR)
    st.caption(
        "Each point is one window. Spearman's rank correlation runs from −1 (the more alike the "
        "layers, the less the merge hurts) to 1. Its brackets hold a 95% bootstrap interval over "
        "windows. The windows overlap, so this interval is narrower than it should be."
    )


def _of_one(label: str, table: pd.DataFrame, column: str, search: Search) -> pd.DataFrame:
    """The rows of one method, or of one anchor: the chosen one, where there are several."""
    known = [each for each in (*search.methods, *search.anchors) if each in set(table[column])]
    offered = [each for each in known if each in (*merges(), *ANCHORS)]
    if not offered:
        return table  # of a method without an anchor
    chosen = offered[0]
    if len(offered) > 1:
        chosen = st.segmented_control(
            label, offered, default=offered[0], required=True,
            key=f"search_{column}_{'-'.join(offered)}", persist_state="session",
            format_func=lambda name: METHODS[name].label if name in METHODS else name.capitalize(),
        )  # fmt: skip
    return table[table[column] == chosen]


def describe(search: Search) -> str:
    """A search in words: "4 of the encoder's FF sublayers, anchor first"."""
    where = "both stacks'" if search.stack == "both" else f"the {search.stack}'s"
    anchors = f"anchor{'s' if len(search.anchors) > 1 else ''} {', '.join(search.anchors)}"
    return (
        f"removing {search.remove} of {where} FF sublayers, {anchors}, {count(search.tokens)} "
        f"tokens, seed {search.seed}"
    )


def groups_in_words(groups: tuple[tuple[str, ...], ...]) -> str:
    """ "encoder 3–4 · encoder 5, 7"."""
    return " · ".join(short(group) for group in groups)


def _tried_by(row: pd.Series, search: Search) -> str:
    """ "permute, anchor last"; the method alone where one anchor was tried, or it has none."""
    several = len(search.anchors) > 1 and row["anchor"]
    return f"{row['method']}, anchor {row['anchor']}" if several else str(row["method"])


def _told(row: pd.Series, name: str) -> str:
    return figure_text(name, Stored(row[name], row[f"{name} low"], row[f"{name} high"]))


def _csv(table: pd.DataFrame) -> str:
    plans = [json.dumps(plan.to_dict()) for plan in table["plan"]]
    text: str = table.assign(plan=plans).to_csv(index=False, lineterminator="\n")
    return text

"""Making groups: on the heatmap, by the keyboard, and what they would save.

The chart is an input device only: what is picked goes into the draft, which the multiselect
shows and the heatmap outlines, and becomes a group when it is added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from ffmerge_core.errors import PlanError
from ffmerge_core.plan import MergePlan, check_groups, in_layer_order
from ffmerge_core.reporting.figures import similarity_heatmap
from pages._ui.shared import current_workspace
from pages._ui.subject import Subject, short
from pages._ui.widgets import count, megabytes, percent

BOX, CLICK = "Drag a box", "Click cells"


def pickable_heatmap(matrix: pd.DataFrame, subject: Subject, title: str) -> None:
    """The heatmap with groups outlined; what is dragged or clicked becomes the draft."""
    workspace = current_workspace()
    mode = st.segmented_control(
        "Pick layers on the heatmap",
        (BOX, CLICK),
        default=BOX,
        required=True,
        key="pick_mode",
        persist_state="session",
        help="Drag a box: every layer that it touches. Click cells: each adds its two layers; "
        "a cell whose layers are both in takes them out.",
    )
    figure = similarity_heatmap(matrix, workspace.groups, workspace.draft, title)
    figure.update_layout(dragmode="select" if mode == BOX else "pan")
    if mode == CLICK:
        # Panning would move the cells away from under the pointer.
        figure.update_xaxes(fixedrange=True)
        figure.update_yaxes(fixedrange=True)
    # A new key after every pick: the front end keeps an old selection, and would report a
    # second click on the same cell as "nothing selected".
    key = f"heatmap-{mode}-{st.session_state.setdefault('picks', 0)}"
    st.plotly_chart(
        figure,
        key=key,
        on_select=lambda: _picked(key, mode, list(matrix.index), subject),
        selection_mode="box" if mode == BOX else "points",
        config={
            "displaylogo": False,
            "modeBarButtons": [["toImage"]],
            "toImageButtonOptions": {"filename": "similarity", "scale": 2},
        },
    )


def _picked(key: str, mode: str, names: Sequence[str], subject: Subject) -> None:
    event: Any = st.session_state.get(key) or {}
    selection = event.get("selection", {})
    if mode == BOX:
        names = boxed(selection.get("box", []), names)
    else:
        clicked = [name for point in selection.get("points", []) for name in point["customdata"]]
        names = toggled(current_workspace().draft, clicked) if clicked else []
    if names or selection.get("points"):
        st.session_state["picks"] += 1
        set_draft(names, subject)


def boxed(boxes: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Every layer whose row or column a dragged box touches, be it only a corner of a cell.

    boxes: the chart's selection, with ends "x" and "y" in cells; cell i covers i ± 0.5.
    """
    touched = {
        index
        for box in boxes
        for ends in (box["x"], box["y"])
        for index in range(round(min(ends)), round(max(ends)) + 1)
    }
    return [name for index, name in enumerate(names) if index in touched]


def toggled(draft: Sequence[str], cell: Sequence[str]) -> list[str]:
    """Layers of a clicked cell join the draft; if all are in already, they leave it."""
    if set(cell) <= set(draft):
        return [name for name in draft if name not in cell]
    return [*draft, *cell]


def set_draft(names: Sequence[str], subject: Subject) -> None:
    """Make `names` the draft, in layer order, here and in the multiselect."""
    draft = in_layer_order(names, subject.sublayers)
    current_workspace().set_draft(draft)
    st.session_state["draft"] = list(draft)


def group_editor(subject: Subject, stack: str) -> None:
    """The draft, the groups, undo, and what they save."""
    st.subheader("Groups to merge")
    _draft_editor(subject, stack)
    _group_list(subject)
    _history_buttons()
    savings(subject)


def _draft_editor(subject: Subject, stack: str) -> None:
    workspace = current_workspace()
    editing = workspace.editing
    options = subject.names(stack)
    if "draft" not in st.session_state:
        st.session_state["draft"] = [name for name in workspace.draft if name in options]
    st.multiselect(
        "New group" if editing is None else f"Layers of group {editing + 1}",
        options,
        key="draft",
        placeholder="Pick here or on the heatmap",
        # With it, Enter after "encoder.1" would take encoder.10 and encoder.11 as well.
        select_all=False,
        on_change=lambda: set_draft(st.session_state["draft"], subject),
    )
    draft = workspace.draft
    problem = draft_problem(draft, subject, editing)
    with st.container(horizontal=True):
        st.button(
            "Add group" if editing is None else "Save group",
            type="primary",
            disabled=not draft or problem is not None,
            on_click=_keep_draft,
            args=(subject, editing),
            icon=":material/add:" if editing is None else ":material/check:",
        )
        if draft or editing is not None:
            label = "Discard" if editing is None else "Cancel edit"
            st.button(label, on_click=_drop_draft)
    if draft and problem is not None:
        st.warning(problem)
    elif draft and editing is None:
        plan = MergePlan((draft,))
        saved = plan.parameters_removed(subject.sublayers)
        st.caption(f"This group would save {count(saved)} parameters.")


def draft_problem(draft: Sequence[str], subject: Subject, editing: int | None) -> str | None:
    """Why the draft cannot become a group, in a sentence; None if it can."""
    if len(draft) == 1:
        return "Pick at least one more layer: a group needs two or more."
    groups = list(current_workspace().groups)
    if editing is None:
        groups.append(tuple(draft))
    else:
        groups[editing] = tuple(draft)
    try:
        check_groups(groups, subject.sublayers)
    except PlanError as error:
        return str(error)
    return None


def _keep_draft(subject: Subject, editing: int | None) -> None:
    workspace = current_workspace()
    if editing is None:
        workspace.add_group(workspace.draft, subject.sublayers)
    else:
        workspace.replace_group(editing, workspace.draft, subject.sublayers)
    _drop_draft()


def _drop_draft() -> None:
    current_workspace().drop_draft()
    st.session_state["draft"] = []


def _group_list(subject: Subject) -> None:
    groups = current_workspace().groups
    if not groups and not current_workspace().draft:
        st.info(
            "No group yet. Drag a box over a bright block of the heatmap, or pick layers above, "
            "then press Add group."
        )
    for index, group in enumerate(groups):
        with st.container(horizontal=True, vertical_alignment="center"):
            mark = " · being edited" if index == current_workspace().editing else ""
            st.markdown(
                f"**{index + 1}** · {short(group)} · {len(group)} layers{mark}", width="stretch"
            )
            st.button(
                "Edit",
                key=f"edit-{index}",
                on_click=_edit,
                args=(index,),
                type="tertiary",
            )
            st.button(
                "Remove",
                key=f"remove-{index}",
                on_click=_remove,
                args=(index,),
                type="tertiary",
            )


def _edit(index: int) -> None:
    current_workspace().edit(index)
    st.session_state["draft"] = list(current_workspace().draft)


def _remove(index: int) -> None:
    if current_workspace().editing is not None:
        _drop_draft()
    current_workspace().remove_group(index)


def _change(action: Callable[[], None]) -> None:
    action()
    # A change that ends an edit empties the draft.
    st.session_state["draft"] = list(current_workspace().draft)


def _history_buttons() -> None:
    workspace = current_workspace()
    with st.container(horizontal=True):
        for label, action, enabled in (
            ("Undo", workspace.undo, workspace.can_undo),
            ("Redo", workspace.redo, workspace.can_redo),
            ("Clear", workspace.clear, bool(workspace.groups)),
        ):
            st.button(
                label,
                on_click=_change,
                args=(action,),
                disabled=not enabled,
                type="tertiary",
                shortcut={"Undo": "Ctrl+Z", "Redo": "Ctrl+Y"}.get(label),
            )


def savings(subject: Subject) -> None:
    """What the groups leave, before anything is run."""
    plan = MergePlan(current_workspace().groups)
    removed = plan.parameters_removed(subject.sublayers)
    left = subject.n_parameters - removed
    bytes_each = subject.weight_bytes / subject.n_parameters
    columns = st.columns(2)
    columns[0].metric(
        "After merging",
        count(left),
        delta=f"−{percent(removed / subject.n_parameters)}" if removed else "nothing saved yet",
        delta_color="off",
        delta_arrow="off",
        help="Parameters that are left. Tying saves parameters, memory and disk. It saves no "
        "compute: a merged FF sublayer still runs at every position.",
    )
    columns[1].metric("Weights in memory", megabytes(left * bytes_each))

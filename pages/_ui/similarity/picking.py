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
from ffmerge_core.plan import MergePlan, check_groups, in_layer_order, short, stack_of
from ffmerge_core.reporting.figures import similarity_heatmap
from ffmerge_core.reporting.formats import count
from pages._ui.pieces.savings import savings
from pages._ui.state.shared import current_workspace
from pages._ui.state.subject import Subject

BOX, CLICK = "Drag a box", "Click cells"


def pickable_heatmap(matrix: pd.DataFrame, subject: Subject, stack: str, title: str) -> None:
    """A stack's heatmap with groups outlined; what is dragged or clicked becomes its draft."""
    workspace = current_workspace()
    mode = st.segmented_control(
        "Pick layers on the heatmap",
        (BOX, CLICK),
        default=BOX,
        required=True,
        key="pick_mode",
        persist_state="session",
        help="Drag a box: every layer that the box touches is picked. Click cells: a cell picks "
        "its two layers. If both are picked already, it takes them out.",
    )
    figure = similarity_heatmap(matrix, workspace.groups, workspace.draft_of(stack), title)
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
        on_select=lambda: _picked(key, mode, list(matrix.index), subject, stack),
        selection_mode="box" if mode == BOX else "points",
        config={
            "displaylogo": False,
            "modeBarButtons": [["toImage"]],
            "toImageButtonOptions": {"filename": "similarity", "scale": 2},
        },
    )


def _picked(key: str, mode: str, names: Sequence[str], subject: Subject, stack: str) -> None:
    event: Any = st.session_state.get(key) or {}
    selection = event.get("selection", {})
    if mode == BOX:
        names = boxed(selection.get("box", []), names)
    else:
        clicked = [name for point in selection.get("points", []) for name in point["customdata"]]
        names = toggled(current_workspace().draft_of(stack), clicked) if clicked else []
    if names or selection.get("points"):
        st.session_state["picks"] += 1
        set_draft(names, subject, stack)


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


def draft_key(stack: str) -> str:
    """The multiselect's key in the session: each stack has a draft of its own."""
    return f"draft-{stack}"


def set_draft(names: Sequence[str], subject: Subject, stack: str) -> None:
    """Make `names` the stack's draft, in layer order, here and in the multiselect."""
    draft = in_layer_order(names, subject.sublayers)
    current_workspace().set_draft(draft, stack)
    _show_draft(stack)


def _show_draft(stack: str) -> None:
    st.session_state[draft_key(stack)] = list(current_workspace().draft_of(stack))


def group_editor(subject: Subject, stack: str) -> None:
    """The stack's draft, the groups of all stacks, undo, and what they save."""
    st.subheader("Groups to merge")
    if subject.merged:
        st.info(
            "This model was compressed before it was saved. It can be measured, but not merged "
            "again. Open the original on the Model page to make other groups."
        )
        return
    _draft_editor(subject, stack)
    _group_list(subject, stack)
    _history_buttons(stack)
    savings(subject)


def _draft_editor(subject: Subject, stack: str) -> None:
    workspace, key = current_workspace(), draft_key(stack)
    editing = workspace.editing_in(stack)
    if key not in st.session_state:
        _show_draft(stack)
    of_stack = f" of the {stack}" if len(subject.stacks) > 1 else ""
    st.multiselect(
        f"New group{of_stack}" if editing is None else f"Layers of group {editing + 1}",
        subject.names(stack),
        key=key,
        placeholder="Pick here or on the heatmap",
        # With it, Enter after "encoder.1" would take encoder.10 and encoder.11 as well.
        select_all=False,
        on_change=lambda: set_draft(st.session_state[key], subject, stack),
    )
    draft = workspace.draft_of(stack)
    problem = draft_problem(draft, subject, editing)
    with st.container(horizontal=True):
        st.button(
            "Add group" if editing is None else "Save group",
            type="primary",
            disabled=not draft or problem is not None,
            on_click=_keep_draft,
            args=(subject, stack),
            icon=":material/add:" if editing is None else ":material/check:",
        )
        if draft or editing is not None:
            label = "Discard" if editing is None else "Cancel edit"
            st.button(label, on_click=_drop_draft, args=(stack,))
    if draft and problem is not None:
        st.warning(problem)
    elif draft and editing is None:
        plan = MergePlan((draft,))
        saved = plan.parameters_removed(subject.sublayers)
        st.caption(f"This group would save {count(saved)} parameters.")


def draft_problem(draft: Sequence[str], subject: Subject, editing: int | None) -> str | None:
    """Why the draft cannot become a group, in a sentence; None if it can."""
    if len(draft) == 1:
        return "A group needs two layers or more. Pick at least one more."
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


def _keep_draft(subject: Subject, stack: str) -> None:
    workspace = current_workspace()
    editing, draft = workspace.editing_in(stack), workspace.draft_of(stack)
    if editing is None:
        workspace.add_group(draft, subject.sublayers)
    else:
        workspace.replace_group(editing, draft, subject.sublayers)
    _drop_draft(stack)


def _drop_draft(stack: str) -> None:
    current_workspace().drop_draft(stack)
    _show_draft(stack)


def _group_list(subject: Subject, stack: str) -> None:
    workspace = current_workspace()
    if not workspace.groups and not workspace.draft:
        st.info(
            "There is no group yet. The FF sublayers of a group are merged into one shared set of "
            "weights. Drag a box over a bright block of the heatmap, or pick layers above. Then "
            "press Add group."
        )
    for index, group in enumerate(workspace.groups):
        with st.container(horizontal=True, vertical_alignment="center"):
            mark = " · being edited" if index == workspace.editing else ""
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
                on_click=_change,
                args=(lambda index=index: workspace.remove_group(index), stack),
                type="tertiary",
            )


def _edit(index: int) -> None:
    workspace = current_workspace()
    stack = stack_of(workspace.groups[index][0])
    workspace.edit(index)
    workspace.choose(stack=stack)
    # Its stack is turned to, so that the heatmap shows what is edited.
    st.session_state["stack"] = stack
    _show_draft(stack)


def _change(action: Callable[[], None], stack: str) -> None:
    action()
    # A change that ends an edit empties the draft.
    _show_draft(stack)


def _history_buttons(stack: str) -> None:
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
                args=(action, stack),
                disabled=not enabled,
                type="tertiary",
                shortcut={"Undo": "Ctrl+Z", "Redo": "Ctrl+Y"}.get(label),
            )

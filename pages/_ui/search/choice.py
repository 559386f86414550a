"""What to search: how many FF sublayers, in which stack, by which methods."""

from __future__ import annotations

import streamlit as st

from ffmerge_core.plan import ANCHORS, METHODS, MergePlan, merges, searched
from ffmerge_core.reporting.formats import count, percent
from pages._ui.pieces.widgets import without_anchor
from pages._ui.search.found import Search
from pages._ui.state.shared import current_workspace
from pages._ui.state.subject import Subject

BESIDE = (
    "A method that does not merge removes as many layers as leave the nearest number of parameters."
)


def choose(subject: Subject) -> Search | None:
    """The search that is asked for; None where no window exists or nothing is chosen."""
    settings = current_workspace().settings
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        stack = _stack(subject)
        stacks = subject.stacks if stack == "both" else (stack,)
        most = min(len(subject.names(each)) for each in stacks) - 1
        if most < 1:
            st.info(f"The {stack} has only one FF sublayer, and a merge needs two or more.")
            return None
        remove = _remove(stack, len(stacks), most)
        # By key, since a widget whose default changes would be another widget.
        st.session_state.setdefault("search_anchors", [settings.anchor])
        anchors = st.segmented_control(
            "Anchors",
            ANCHORS,
            selection_mode="multi",
            key="search_anchors",
            persist_state="session",
            format_func=str.capitalize,
            help="The anchor is the layer of each window that the others are aligned to, or copied "
            "from. Each anchor that you choose is tried in turn. " + without_anchor(searched()),
        )
    methods = st.pills(
        "Methods",
        searched(),
        selection_mode="multi",
        default=[name for name in searched() if METHODS[name].usual],
        key="search_methods",
        persist_state="session",
        format_func=lambda name: METHODS[name].label,
        help=" ".join((*(METHODS[name].sentence for name in searched()), BESIDE)),
    )
    share, left = divmod(remove, len(stacks))
    if left:
        st.info(
            f"{remove} FF sublayers cannot be divided evenly between the two stacks. Choose an "
            "even number."
        )
        return None
    _say_what_is_tried(subject, stacks, share, most + 1 - share)
    if not set(methods) & set(merges()):
        st.info("Choose at least one method that merges. Dropping layers is only for comparison.")
        return None
    if not anchors:
        st.info(
            "Choose one anchor or more. The anchor is the layer that the others are aligned to."
        )
        return None
    return Search(
        opened=subject.opened,
        revision=subject.revision,
        tokens=settings.tokens,
        seed=settings.seed,
        remove=remove,
        stack=stack,
        # In one order, so that the same choice is the same search.
        methods=tuple(method for method in searched() if method in methods),
        anchors=tuple(anchor for anchor in ANCHORS if anchor in anchors),
    )


def _stack(subject: Subject) -> str:
    if len(subject.stacks) == 1:
        return subject.stacks[0]
    stack = st.segmented_control(
        "Stack",
        (*subject.stacks, "both"),
        default=subject.stacks[0],
        required=True,
        # Each pair of stacks has a choice of its own: another model's may be called otherwise.
        key=f"search_stack_{'_'.join(subject.stacks)}",
        persist_state="session",
        format_func=str.capitalize,
        help="A stack is all the layers of the encoder, or all those of the decoder. Both: one "
        "window in each stack, with the same width and the same first layer.",
    )
    return str(stack)


def _remove(stack: str, n_stacks: int, most: int) -> int:
    """By default a third of the FF sublayers that are searched."""
    third = max(1, round((most + 1) / 3))
    return int(
        st.number_input(
            "FF sublayers to remove",
            min_value=n_stacks,
            max_value=n_stacks * most,
            value=n_stacks * min(third, most),
            step=n_stacks,
            key=f"search_remove_{stack}_{n_stacks * most}",
            persist_state="session",
            width=220,
            help="An FF (feed-forward) sublayer is the part of a layer after attention. A window "
            "is a run of adjacent layers. Merging makes the k FF sublayers of a window into "
            "one, so k − 1 of them are removed."
            + (" Half of them are removed from each stack." if n_stacks > 1 else ""),
        )
    )


def _say_what_is_tried(
    subject: Subject, stacks: tuple[str, ...], share: int, n_windows: int
) -> None:
    first = tuple(tuple(subject.names(stack)[: share + 1]) for stack in stacks)
    removed = MergePlan(first).parameters_removed(subject.sublayers)
    chosen = current_workspace().settings
    each = " in each stack" if len(stacks) > 1 else ""
    windows = "1 window" if n_windows == 1 else f"{count(n_windows)} windows"
    st.caption(
        f"There {'is' if n_windows == 1 else 'are'} {windows} of {share + 1} adjacent "
        f"layers{each}. Merging one leaves {count(subject.n_parameters - removed)} parameters "
        f"(−{percent(removed / subject.n_parameters)}). All use the same calibration tokens, "
        f"training positions that the model is run on: {count(chosen.tokens)} tokens, seed "
        f"{chosen.seed}, as chosen on the Similarity page."
    )

"""Groups that need not be adjacent: the dendrogram, and taking what it proposes."""

from __future__ import annotations

import streamlit as st

from ffmerge_core.analysis.clustering import cluster
from ffmerge_core.reporting.figures import dendrogram, to_html
from pages._ui.pieces.widgets import Download, download_row
from pages._ui.search.found import Search
from pages._ui.search.results import NO_BAR, groups_in_words
from pages._ui.state.shared import current_workspace, shelf
from pages._ui.state.subject import Subject


def clusters(search: Search, subject: Subject) -> None:
    """A tree a stack, cut where merging its groups removes as many as a window would."""
    st.subheader("Groups by clustering")
    stacks = search.stacks(subject)
    answers = {stack: shelf().answers.get(search.question(stack)) for stack in stacks}
    known = {stack: answer.matrix for stack, answer in answers.items() if answer is not None}
    if len(known) < len(stacks):
        st.caption(
            "Clustering finds the layers that resemble each other most, adjacent or not. The "
            "layers must be compared first: press Search windows, or open the Similarity page."
        )
        return
    trees = [cluster(matrix, search.remove // len(stacks)) for matrix in known.values()]
    groups = tuple(group for tree in trees for group in tree.groups)
    for stack, tree in zip(stacks, trees, strict=True):
        if len(stacks) > 1:
            st.markdown(f"**{stack.capitalize()}**")
        figure = dendrogram(tree.names, tree.linkage, tree.groups, tree.cut)
        st.plotly_chart(figure, key=f"dendrogram-{stack}", config=NO_BAR)
        download_row(
            Download(
                "Figure (HTML)",
                f"dendrogram-{stack}.html",
                lambda figure=figure: to_html(figure),  # type: ignore[misc]
                "text/html",
            ),
            key=f"dendrogram-file-{stack}",
        )
    st.markdown(f"{len(groups)} groups: {groups_in_words(groups)}")
    st.caption(
        "The tree joins the layers whose FF outputs are most alike by CKA (centred kernel "
        "alignment), with average linkage on 1 − CKA. The lower two branches meet, the more alike "
        f"they are. The tree is cut so that {search.remove} FF sublayers are removed. Similarity "
        "is not a score: merge the groups to see what they cost."
    )
    if st.button("Use these groups", icon=":material/merge:"):
        workspace = current_workspace()
        workspace.set_groups(groups, subject.sublayers)
        workspace.choose(anchor=search.anchors[0])
        st.switch_page("pages/merge.py")

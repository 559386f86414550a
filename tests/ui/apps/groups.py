"""Groups of one tab."""

import streamlit as st

from ffmerge_core.models.sublayers import FFSublayer, Slot
from pages._ui.pieces.widgets import Download, download_row, empty_state, guarded
from pages._ui.state.shared import current_workspace

SUBLAYERS = [
    FFSublayer(f"encoder.{i}", f"attn.{i}", Slot(f"in.{i}"), Slot(f"out.{i}"), 64, 256, "gelu", 9)
    for i in range(4)
]

st.title("Groups")
workspace = current_workspace()
names = st.multiselect("Sublayers", [sublayer.name for sublayer in SUBLAYERS])
if st.button("Add group"):
    with guarded():
        workspace.add_group(names, SUBLAYERS)
if st.button("Undo"):
    workspace.undo()
st.text(f"groups: {workspace.groups}")
if not workspace.groups:
    empty_state("No group yet. Draw a digit meanwhile.", "draw.py", "Go and draw")
download_row(
    Download("Groups", "groups.txt", str(workspace.groups), "text/plain"),
    Download("Later", "later.txt", lambda: "made when pressed", "text/plain"),
    key="downloads",
)

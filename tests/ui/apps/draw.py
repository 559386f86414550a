"""The canvas, and what Python got from it."""

import streamlit as st

from pages._ui.merge.draw import draw_digit

st.title("Draw")
drawing = draw_digit("digit")
if drawing is None:
    st.text("blank")
else:
    rows, columns = drawing.any(axis=1).nonzero()[0], drawing.any(axis=0).nonzero()[0]
    box = [int(edge) for edge in (rows[0], rows[-1], columns[0], columns[-1])]
    st.text(f"box {box} ink {drawing.mean():.3f}")

"""Colours that colour-blind readers tell apart, on a light and on a dark page. Pure.

Okabe & Ito, "Color Universal Design" (2008), without black and yellow, which vanish on a
dark and on a light page.
"""

VERMILLION, SKY_BLUE, PURPLE, GREEN, ORANGE, BLUE = PALETTE = (
    "#D55E00", "#56B4E9", "#CC79A7", "#009E73", "#E69F00", "#0072B2",
)  # fmt: skip
# Told from those, also by colour-blind readers, where six are not enough: at 3 to 1 on both pages.
OLIVE, BROWN, VIOLET = "#999933", "#8C6D46", "#7B5CD6"
# Free, for the next two methods: told from all of the above too.
SPARE = SLATE, INDIGO = "#607878", "#9018F0"
NEUTRAL = "#8A8A8A"

"""Figures as pure functions of numbers: no model, no page, no file."""

from ffmerge_core.reporting.figures.anatomy import anatomy_bar
from ffmerge_core.reporting.figures.compare import RunPoint, compare_chart, pareto_front
from ffmerge_core.reporting.figures.heatmap import similarity_heatmap
from ffmerge_core.reporting.figures.matching import alignment_bars, matching_figure
from ffmerge_core.reporting.figures.probabilities import probability_bars
from ffmerge_core.reporting.figures.recovery import recovery_chart
from ffmerge_core.reporting.figures.search import (
    Damage,
    WindowPoint,
    damage_scatter,
    dendrogram,
    window_chart,
)
from ffmerge_core.reporting.figures.style import to_html

__all__ = [
    "Damage",
    "RunPoint",
    "WindowPoint",
    "alignment_bars",
    "anatomy_bar",
    "compare_chart",
    "damage_scatter",
    "dendrogram",
    "matching_figure",
    "pareto_front",
    "probability_bars",
    "recovery_chart",
    "similarity_heatmap",
    "to_html",
    "window_chart",
]

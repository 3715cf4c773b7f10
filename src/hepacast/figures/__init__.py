"""Drawing: one style for a journal, and functions that turn plain numbers into matplotlib figures.

What lives here: the style and one function a kind of figure.
What may not: any computing of statistics; a figure is a view of numbers that exist already.
"""

from hepacast.figures.curves import (
    draw_calibration,
    draw_decision,
    draw_roc,
)
from hepacast.figures.flow import DesignStage, FlowSet, draw_flow, draw_study_design
from hepacast.figures.forest import ForestRow, draw_forest
from hepacast.figures.images import Picture, draw_segmentation_examples
from hepacast.figures.kaplan_meier import draw_km
from hepacast.figures.lasso import draw_lasso_cv, draw_lasso_path, draw_weights
from hepacast.figures.network import draw_network
from hepacast.figures.nomogram import draw_nomogram
from hepacast.figures.patients import ShareBar, draw_risk_distribution, draw_shares, draw_waterfall
from hepacast.figures.style import save_figure
from hepacast.figures.validation import (
    AucRow,
    draw_null_distribution,
    draw_selection_frequency,
    draw_validation_compare,
)

__all__ = [
    "AucRow",
    "DesignStage",
    "FlowSet",
    "ForestRow",
    "Picture",
    "ShareBar",
    "draw_calibration",
    "draw_decision",
    "draw_flow",
    "draw_forest",
    "draw_km",
    "draw_lasso_cv",
    "draw_lasso_path",
    "draw_network",
    "draw_nomogram",
    "draw_null_distribution",
    "draw_risk_distribution",
    "draw_roc",
    "draw_segmentation_examples",
    "draw_selection_frequency",
    "draw_shares",
    "draw_study_design",
    "draw_validation_compare",
    "draw_waterfall",
    "draw_weights",
    "save_figure",
]

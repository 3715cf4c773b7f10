"""Figures of results: hands the numbers to `hepacast.figures`, which draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hepacast.stats.intervals import ci_label

if TYPE_CHECKING:
    from hepacast.evaluation.calibration import Calibration
    from hepacast.evaluation.decision import DecisionCurves
    from hepacast.evaluation.roc import RocResult


def roc_figure(curves: Mapping[str, RocResult], *, title: str = "") -> Any:
    """ROC curves of one or more models, with AUC and limits in the legend (matplotlib figure)."""
    from hepacast.figures.curves import RocCurve, draw_roc

    drawn = []
    for name, curve in curves.items():
        # Points run from everybody positive to nobody; a figure is read from the lower left.
        fpr, tpr = 1.0 - curve.specificity[::-1], curve.sensitivity[::-1]
        drawn.append(RocCurve(name, fpr, tpr, curve.auc, *curve.auc_ci))
    levels = {curve.level for curve in curves.values()}
    return draw_roc(drawn, ci=ci_label(levels.pop()) if len(levels) == 1 else "CI", title=title)


def calibration_figure(found: Calibration, *, title: str = "") -> Any:
    """Grouped points with limits, smoothed curve with band, histogram of the risks."""
    from hepacast.figures.curves import BandCurve, CalibrationPoints, draw_calibration

    groups = found.groups
    points = CalibrationPoints(
        predicted=[group.predicted for group in groups],
        observed=[group.observed.estimate for group in groups],
        low=[group.observed.low for group in groups],
        high=[group.observed.high for group in groups],
    )
    smooth = None
    if found.curve is not None:
        smooth = BandCurve(found.curve.predicted, found.curve.observed, found.curve.low, found.curve.high)
    notes = [f"Brier {found.brier:.3f}", f"ICI {found.ici:.3f}"]
    if not np.isnan(found.slope.estimate):
        low, high = found.slope.ci
        notes.insert(0, f"Slope {found.slope.estimate:.2f} ({low:.2f} to {high:.2f})")
    if not np.isnan(found.citl.estimate):
        low, high = found.citl.ci
        notes.insert(1, f"In the large {found.citl.estimate:.2f} ({low:.2f} to {high:.2f})")
    return draw_calibration(
        points, smooth=smooth, notes=notes, risks=found.risk, outcomes=found.y, ci=ci_label(found.level), title=title
    )


def decision_figure(found: DecisionCurves, *, title: str = "") -> Any:
    """Net benefit of each model, of treating everybody and of treating nobody."""
    from hepacast.figures.curves import BandCurve, DecisionCurve, draw_decision

    curves = [
        DecisionCurve(name, curve.thresholds, curve.net_benefit, curve.low, curve.high)
        for name, curve in found.models.items()
    ]
    everybody = BandCurve(found.thresholds, found.treat_all)
    return draw_decision(curves, everybody, prevalence=found.prevalence, title=title)

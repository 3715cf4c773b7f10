"""Figures of results: hands the numbers to `hepacast.figures`, which draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hepacast.stats.intervals import ci_label

if TYPE_CHECKING:
    from hepacast.core.estimates import Estimate
    from hepacast.evaluation.calibration import Calibration
    from hepacast.evaluation.decision import NetBenefit
    from hepacast.evaluation.predictions import Array
    from hepacast.evaluation.roc import RocPoints


def roc_figure(curves: Mapping[str, tuple[RocPoints | None, Estimate]], *, title: str = "") -> Any:
    """ROC curves of one or more models, with AUC and limits in the legend (matplotlib figure)."""
    from hepacast.figures.curves import RocCurve, draw_roc

    drawn = [
        RocCurve(name, points.fpr, points.tpr, auc.value, *auc.ci)
        for name, (points, auc) in curves.items()
        if points is not None
    ]
    levels = {auc.level for _, auc in curves.values()}
    return draw_roc(drawn, ci=ci_label(levels.pop()) if len(levels) == 1 else "CI", title=title)


def calibration_figure(
    found: Calibration, *, risks: Array | None = None, outcomes: Array | None = None, title: str = ""
) -> Any:
    """Grouped points with limits, smoothed curve with band, histogram of the risks."""
    from hepacast.figures.curves import BandCurve, CalibrationPoints, draw_calibration

    groups = [(group.predicted, group.observed) for group in found.groups]
    points = CalibrationPoints(
        predicted=[predicted for predicted, _ in groups],
        observed=[observed.value for _, observed in groups],
        low=[observed.low for _, observed in groups],
        high=[observed.high for _, observed in groups],
    )
    smooth = None
    if found.curve is not None:
        smooth = BandCurve(found.curve.predicted, found.curve.observed, found.curve.low, found.curve.high)
    notes = [f"Brier {found.brier.value:.3f}", f"ICI {found.ici.value:.3f}"]
    told = [("Slope", found.slope), ("In the large", found.citl)]
    notes[:0] = [f"{name} {item.value:.2f} ({item.low:.2f} to {item.high:.2f})" for name, item in told if item.known]
    return draw_calibration(
        points,
        smooth=smooth,
        notes=notes,
        risks=found.risk if risks is None else risks,
        outcomes=found.y if outcomes is None else outcomes,
        ci=ci_label(found.level),
        title=title,
    )


def decision_figure(
    models: Mapping[str, NetBenefit], thresholds: Array, treat_all: Array, prevalence: float, *, title: str = ""
) -> Any:
    """Net benefit of each model, of treating everybody and of treating nobody."""
    from hepacast.figures.curves import BandCurve, DecisionCurve, draw_decision

    curves = [
        DecisionCurve(name, curve.thresholds, curve.net_benefit, curve.low, curve.high)
        for name, curve in models.items()
    ]
    return draw_decision(curves, BandCurve(thresholds, treat_all), prevalence=prevalence, title=title)

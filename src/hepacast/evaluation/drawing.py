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
    from hepacast.figures.curves import draw_roc

    drawn = {name: (points, auc) for name, (points, auc) in curves.items() if points is not None}
    levels = {auc.level for _, auc in drawn.values()}
    return draw_roc(drawn, ci=ci_label(levels.pop()) if len(levels) == 1 else "CI", title=title)


def calibration_figure(
    found: Calibration, *, risks: Array | None = None, outcomes: Array | None = None, title: str = ""
) -> Any:
    """Grouped points with limits, smoothed curve with band, histogram of the risks."""
    from hepacast.figures.curves import draw_calibration

    notes = [f"Brier {found.brier.value:.3f}", f"ICI {found.ici.value:.3f}"]
    told = [("Slope", found.slope), ("In the large", found.citl)]
    notes[:0] = [f"{name} {item.value:.2f} ({item.low:.2f} to {item.high:.2f})" for name, item in told if item.known]
    return draw_calibration(
        found.groups,
        smooth=found.curve,
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
    from hepacast.figures.curves import draw_decision

    return draw_decision(models, thresholds, treat_all, prevalence=prevalence, title=title)

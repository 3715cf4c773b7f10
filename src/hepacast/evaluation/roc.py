"""ROC curve: area with DeLong's interval, points, best thresholds, partial area. Equal to R's pROC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record
from hepacast.errors import ModelError
from hepacast.evaluation.delong import (
    DeLong,
    check_level,
    delong_covariance,
    delong_test,
    delong_test_unpaired,
)
from hepacast.evaluation.predictions import Array, checked
from hepacast.evaluation.thresholds import ThresholdRow, at_threshold
from hepacast.stats.intervals import ci_label
from hepacast.stats.ranks import auc_covariance, auc_from_ranks, halfway
from hepacast.stats.tests import mann_whitney

__all__ = ["DeLong", "RocResult", "bootstrap_auc", "delong_test", "delong_test_unpaired", "roc"]


@dataclass(frozen=True)
class RocPoints(Record):
    """Points of a ROC curve from (0, 0) to (1, 1); who has at least the threshold's score counts as positive."""

    fpr: Array
    tpr: Array
    thresholds: Array = field(default_factory=lambda: np.empty(0))

    @property
    def youden(self) -> dict[str, float]:
        """The point with the largest sensitivity + specificity - 1 (of several the lowest threshold, as pROC lists)."""
        gain = np.round(self.tpr - self.fpr, 12)
        return self._point(len(gain) - 1 - int(np.argmax(gain[::-1])))

    def _point(self, index: int) -> dict[str, float]:
        sensitivity, specificity = float(self.tpr[index]), 1.0 - float(self.fpr[index])
        return {
            "threshold": float(self.thresholds[index]),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "youden": sensitivity + specificity - 1.0,
        }


@dataclass(frozen=True, repr=False)
class RocResult(Record):
    """A ROC curve.

    Attributes
    ----------
    auc, auc_ci, variance
        Area, DeLong's limits (clipped to 0 and 1 as pROC does) and variance.
    thresholds, sensitivity, specificity
        The curve's points, from everybody positive (threshold -inf) to nobody (inf). A patient is positive when the
        score is at least the threshold (above it; thresholds lie half way between neighboring scores).
    p
        P of the Mann-Whitney test that the area is 0.5 (normal approximation, no continuity correction).
    direction
        `<`: events have higher scores; `>`: lower ones, and the score was turned round for the curve.
    status, reason
        `ok`; `constant` when the score takes a single value (area 0.5, no curve to speak of); `no_interval` when
        there are too few patients of a class for a variance.
    """

    auc: float
    auc_ci: tuple[float, float]
    variance: float
    thresholds: Array
    sensitivity: Array
    specificity: Array
    p: float
    n: int
    n_events: int
    direction: str
    level: float
    status: str
    reason: str
    y: Array = field(repr=False, default_factory=lambda: np.empty(0), metadata={"stored": False})
    score: Array = field(repr=False, default_factory=lambda: np.empty(0), metadata={"stored": False})

    @property
    def se(self) -> float:
        """Standard error of the area (DeLong)."""
        return float(np.sqrt(self.variance))

    @property
    def estimate(self) -> Estimate:
        """The area with its limits alone."""
        return Estimate(self.auc, *self.auc_ci, level=self.level, se=self.se)

    @property
    def points(self) -> RocPoints:
        """The curve from the lower left, as figures read it."""
        return RocPoints((1.0 - self.specificity)[::-1], self.sensitivity[::-1], self.thresholds[::-1])

    @property
    def youden(self) -> Mapping[str, float]:
        """The point with the largest sensitivity + specificity - 1 (the first of several, as pROC lists them)."""
        return self._point(int(np.argmax(np.round(self.sensitivity + self.specificity, 12))))

    @property
    def closest_topleft(self) -> Mapping[str, float]:
        """The point nearest to sensitivity = specificity = 1."""
        distance = (1.0 - self.sensitivity) ** 2 + (1.0 - self.specificity) ** 2
        return self._point(int(np.argmin(np.round(distance, 12))))

    def _point(self, index: int) -> dict[str, float]:
        sensitivity, specificity = float(self.sensitivity[index]), float(self.specificity[index])
        return {
            "threshold": float(self.thresholds[index]),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "youden": sensitivity + specificity - 1.0,
        }

    def at(self, threshold: float, *, method: str = "exact") -> ThresholdRow:
        """Sensitivity, specificity, predictive values and accuracy at a threshold, each with limits."""
        sign = 1.0 if self.direction == "<" else -1.0
        return at_threshold(self.y, sign * self.score, sign * threshold, method=method, level=self.level)

    def partial_auc(self, low: float, high: float, *, focus: str = "specificity") -> float:
        """Area under the part of the curve between two specificities (or sensitivities), as pROC's `partial.auc`."""
        if not 0.0 <= low < high <= 1.0:
            raise ModelError("A partial area needs 0 <= low < high <= 1.", found=f"{low:g} to {high:g}")
        if focus == "specificity":
            x, height = self.specificity, self.sensitivity
        elif focus == "sensitivity":
            x, height = self.sensitivity[::-1], self.specificity[::-1]
        else:
            raise ModelError("Unknown focus.", expected="specificity or sensitivity", found=focus)
        return _area_between(x, height, low, high)

    def bootstrap_ci(self, indices: Iterable[ArrayLike]) -> tuple[float, float]:
        """Percentile limits of the area over given resamples (row numbers, one array a resample)."""
        return bootstrap_auc(self.y, self.score if self.direction == "<" else -self.score, indices, level=self.level)

    def to_frame(self) -> pd.DataFrame:
        """The curve's points."""
        return pd.DataFrame(
            {"threshold": self.thresholds, "sensitivity": self.sensitivity, "specificity": self.specificity}
        )

    def plot(self, *, name: str = "Model", title: str = "") -> Any:
        """The curve (matplotlib figure)."""
        from hepacast.evaluation.drawing import roc_figure

        return roc_figure({name: (self.points, self.estimate)}, title=title)

    def __repr__(self) -> str:
        low, high = self.auc_ci
        return f"<RocResult AUC {self.auc:.3f} ({low:.3f}-{high:.3f}), n={self.n}, events={self.n_events}>"

    def _repr_html_(self) -> str:
        low, high = self.auc_ci
        interval = f"{ci_label(self.level)} {low:.3f}–{high:.3f}"
        return f"<p>AUC <b>{self.auc:.3f}</b> ({interval}), {self.n_events}/{self.n} events</p>"


def roc(y: ArrayLike, score: ArrayLike, *, direction: str = "<", level: float = 0.95) -> RocResult:
    """ROC curve of a score or risk.

    Parameters
    ----------
    y
        Outcome, 0 or 1, shape (n,).
    score
        Any finite number a patient, shape (n,).
    direction
        `<` (events have higher scores; the default, right for risks), `>`, or `auto` as pROC decides (by the
        medians; never use it for a model's risk, since it hides a model that is worse than chance).
    level
        Confidence level of the interval.

    Raises
    ------
    OutcomeError
        The outcome is missing, not binary, or of one class.
    ModelError
        The score is missing, infinite, or of another length.
    """
    level = check_level(level)
    outcome, values = checked(y, score, what="score")
    if direction == "auto":
        higher = np.median(values[outcome == 0]) <= np.median(values[outcome == 1])
        direction = "<" if higher else ">"
    if direction not in ("<", ">"):
        raise ModelError("Unknown direction.", expected="<, > or auto", found=direction)
    turned = values if direction == "<" else -values
    (auc,), covariance = delong_covariance(outcome, [turned])
    variance = float(covariance[0, 0])
    half = float(norm.ppf(0.5 + level / 2.0) * np.sqrt(variance))
    thresholds, sensitivity, specificity = _curve(outcome, turned)
    status, reason = "ok", ""
    if np.ptp(values) == 0.0:
        status, reason = "constant", "every patient has the same score"
    elif np.isnan(variance):
        status, reason = "no_interval", "fewer than two patients with or without the event"
    elif variance == 0.0:
        reason = "the score parts events and non-events without a fault: DeLong's limits have no width and mean nothing"
    test = mann_whitney(turned[outcome == 1], turned[outcome == 0], exact=False, correct=False)
    return RocResult(
        auc=float(auc),
        auc_ci=(max(0.0, float(auc) - half), min(1.0, float(auc) + half)) if half == half else (half, half),
        variance=variance,
        thresholds=thresholds if direction == "<" else -thresholds,
        sensitivity=sensitivity,
        specificity=specificity,
        p=test.p if test.ok else 1.0,
        n=outcome.size,
        n_events=int(outcome.sum()),
        direction=direction,
        level=level,
        status=status,
        reason=reason,
        y=outcome,
        score=values,
    )


def _curve(y: Array, score: Array) -> tuple[Array, Array, Array]:
    """Thresholds half way between neighboring scores, with the sensitivity and specificity at each."""
    distinct, inverse = np.unique(score, return_inverse=True)
    events = np.bincount(inverse, weights=y)
    others = np.bincount(inverse, weights=1.0 - y)
    thresholds = np.concatenate([[-np.inf], halfway(distinct[:-1], distinct[1:]), [np.inf]])
    sensitivity = 1.0 - np.concatenate([[0.0], np.cumsum(events)]) / y.sum()
    specificity = np.concatenate([[0.0], np.cumsum(others)]) / (1.0 - y).sum()
    return thresholds, np.clip(sensitivity, 0.0, 1.0), np.clip(specificity, 0.0, 1.0)


def _area_between(x: Array, height: Array, low: float, high: float) -> float:
    """Trapezoids under (x rising, height) between low and high; a vertical piece has no area."""
    # At a vertical piece of the curve a limit of the range belongs to the side inside the range.
    area = 0.0
    for x0, x1, h0, h1 in zip(x[:-1], x[1:], height[:-1], height[1:]):
        left, right = max(x0, low), min(x1, high)
        if right > left:
            slope = (h1 - h0) / (x1 - x0)
            area += (right - left) * (h0 + slope * ((left + right) / 2.0 - x0))
    return float(area)


def bootstrap_auc(
    y: ArrayLike, score: ArrayLike, indices: Iterable[ArrayLike], *, level: float = 0.95
) -> tuple[float, float]:
    """Percentile limits of the area over given resamples; resamples of one class are left out.

    Returns
    -------
    tuple
        (low, high); NaN if no resample had both classes.
    """
    outcome, values = checked(y, score, what="score")
    areas = [auc_from_ranks(outcome[rows], values[rows]) for rows in (np.asarray(item, dtype=int) for item in indices)]
    kept = np.array([area for area in areas if not np.isnan(area)])
    if kept.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def auc_with_variance(y: ArrayLike, score: ArrayLike) -> tuple[float, float]:
    """The area and DeLong's variance only, without the curve."""
    outcome, values = checked(y, score, what="score")
    aucs, covariance = auc_covariance(outcome, [values])
    return float(aucs[0]), float(covariance[0, 0])

"""Calibration of the risk of an event by a horizon: observed over expected, slope, curve, ICI, groups.

The observed risk of one patient is that patient's pseudo-value of the cumulative incidence, which takes censoring (and
competing events) into account; the curve is a loess of the pseudo-values over the predicted risk.

Sources: McLernon DJ et al. Ann Intern Med 2023;176:105 (what to report); Andersen PK, Perme MP. Stat Methods Med Res
2010;19:71 (pseudo-values); Austin PC, Harrell FE, van Klaveren D. Stat Med 2020;39:2714 (ICI for survival).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from hepacast.errors import HepacastError, OutcomeError
from hepacast.evaluation.survival_accuracy import observed_risk
from hepacast.stats.competing_risks import check_codes, fit_fine_gray
from hepacast.stats.cox import fit_cox
from hepacast.stats.smoothing import loess, loess_matrix

Array = npt.NDArray[np.float64]

#: Fewer distinct risks than this are not smoothed: their own means are the curve.
_MIN_DISTINCT = 10
_EDGE = 1e-9


@dataclass(frozen=True)
class Limits:
    """A number with limits; NaN with `reason` where there is none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class RiskGroup:
    """Patients of similar risk: mean predicted, observed (Aalen-Johansen) with limits."""

    predicted: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class SurvivalCalibration:
    """Calibration at one horizon.

    Attributes
    ----------
    observed_expected
        Observed risk over mean predicted risk; 1 is perfect (calibration in the large).
    slope
        Coefficient of the complementary log-log risk in a Cox (or Fine-Gray) model; 1 is perfect, below 1 the
        predictions are too extreme.
    ici, e50, e90
        Mean, median and 90th percentile of |smoothed observed - predicted|.
    x, y, low, high
        The curve with its pointwise band; empty where risks have too few distinct values.
    notes
        What could not be computed, and why.
    """

    time: float
    observed_expected: Limits
    slope: Limits
    ici: float
    e50: float
    e90: float
    groups: tuple[RiskGroup, ...]
    x: Array
    y: Array
    low: Array
    high: Array
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Plain values for the report."""
        return {
            "observed_expected": self.observed_expected.to_json(),
            "slope": self.slope.to_json(),
            "ici": self.ici,
            "e50": self.e50,
            "e90": self.e90,
            "groups": [item.__dict__ for item in self.groups],
            "smooth": {"x": self.x, "y": self.y, "low": self.low, "high": self.high} if len(self.x) else None,
            "notes": list(self.notes),
        }


def pseudo_values(times: Array, codes: Array, t: float) -> Array:
    """Pseudo-value of each patient's event state at a time, shape (n,): n F(t) - (n - 1) F without the patient(t)."""
    order = np.argsort(times, kind="stable")
    time, code = times[order], codes[order]
    distinct, start, inverse = np.unique(time, return_index=True, return_inverse=True)
    inside = distinct <= t
    own = np.bincount(inverse, weights=code == 1)[inside].astype(float)
    other = np.bincount(inverse, weights=code == 2)[inside].astype(float)
    risk = (len(time) - start)[inside].astype(float)
    whole = _incidence(own[None], other[None], risk[None])[0]
    columns = np.flatnonzero(inside)
    gone = (inverse[:, None] >= columns[None, :]).astype(float)
    here = (inverse[:, None] == columns[None, :]).astype(float)
    left = _incidence(
        own[None] - here * (code == 1)[:, None], other[None] - here * (code == 2)[:, None], risk[None] - gone
    )
    n = len(time)
    result = np.empty(n)
    result[order] = n * whole - (n - 1) * left
    return result


def _incidence(own: Array, other: Array, risk: Array) -> Array:
    """Aalen-Johansen incidence at the last column, one row a sample."""
    safe = np.where(risk > 0, risk, 1.0)
    survival = np.cumprod(1 - (own + other) / safe, axis=1)
    before = np.concatenate([np.ones((len(survival), 1)), survival[:, :-1]], axis=1)
    return np.asarray((before * own / safe).sum(axis=1))


def calibrate_at(
    time: npt.ArrayLike, code: npt.ArrayLike, risk: npt.ArrayLike, t: float, *, groups: int = 5, level: float = 0.95
) -> SurvivalCalibration:
    """Calibration of predicted risks of the event by `t`.

    Raises
    ------
    OutcomeError
        A risk is no probability, or follow-up does not reach `t`.
    """
    times, codes = check_codes(time, code)
    risks = np.asarray(risk, dtype=float)
    if risks.shape != times.shape or not ((risks >= 0) & (risks <= 1)).all():
        raise OutcomeError("Risks must be probabilities.", expected="0 to 1 for every patient")
    observed, low, high = observed_risk(times, codes, t, level)
    if not np.isfinite(observed):
        raise OutcomeError(
            f"Calibration at {t:g} cannot be judged: nobody is followed so long.",
            found=f"longest follow-up {times.max():g}",
        )
    notes: list[str] = []
    mean = float(risks.mean())
    ratio = Limits(observed / mean, low / mean, high / mean) if mean > 0 else Limits(float("nan"))
    slope = calibration_slope(times, codes, risks, level)
    if slope.reason:
        notes.append(slope.reason)
    pseudo = pseudo_values(times, codes, t)
    smooth = _smooth_at(pseudo, risks)
    error = np.abs(np.clip(smooth, 0, 1) - risks)
    x, y, band_low, band_high = _curve(pseudo, risks, level)
    return SurvivalCalibration(
        float(t),
        ratio,
        slope,
        float(error.mean()),
        float(np.quantile(error, 0.5)),
        float(np.quantile(error, 0.9)),
        _groups(times, codes, risks, t, groups, level),
        x,
        y,
        band_low,
        band_high,
        tuple(notes),
    )


def calibration_slope(times: Array, codes: Array, risks: Array, level: float = 0.95) -> Limits:
    """Coefficient of the complementary log-log risk (of a Cox model: the linear predictor) in new patients.

    1 is perfect, below 1 the predictions are too extreme; NaN with the reason where there is no slope.
    """
    inside = np.clip(risks, _EDGE, 1 - _EDGE)
    score = np.log(-np.log1p(-inside))
    if np.ptp(score) == 0:
        return Limits(float("nan"), reason="no slope: all patients have the same risk")
    try:
        if (codes == 2).any():
            fit = fit_fine_gray(score, times, codes)
        else:
            fit = fit_cox(score, times, (codes == 1).astype(float))
    except (HepacastError, np.linalg.LinAlgError) as error:
        return Limits(float("nan"), reason=f"no slope: {getattr(error, 'message', error)}")
    if fit.status != "ok":
        return Limits(float("nan"), reason="no slope: the risk separates the events")
    half = float(norm.ppf(0.5 + level / 2)) * float(fit.se[0])
    value = float(fit.coef[0])
    return Limits(value, value - half, value + half)


def _smooth_at(pseudo: Array, risks: Array) -> Array:
    distinct, inverse = np.unique(risks, return_inverse=True)
    if len(distinct) < _MIN_DISTINCT:
        return np.asarray((np.bincount(inverse, weights=pseudo) / np.bincount(inverse))[inverse])
    return loess(risks, pseudo)


def _curve(pseudo: Array, risks: Array, level: float) -> tuple[Array, Array, Array, Array]:
    """Loess on an even grid from the 2nd to the 98th percentile, with a band from the residuals (robust)."""
    empty = np.zeros(0)
    if len(np.unique(risks)) < _MIN_DISTINCT:
        return empty, empty, empty, empty
    # Beyond these a handful of patients would draw the curve.
    first, last = (float(value) for value in np.quantile(risks, [0.02, 0.98]))
    grid = np.linspace(first, last, 101)
    weights, _ = loess_matrix(risks, grid)
    residual = pseudo - loess(risks, pseudo)
    center = weights @ pseudo
    half = float(norm.ppf(0.5 + level / 2)) * np.sqrt(weights**2 @ residual**2)
    return grid, np.clip(center, 0, 1), np.clip(center - half, 0, 1), np.clip(center + half, 0, 1)


def _groups(times: Array, codes: Array, risks: Array, t: float, groups: int, level: float) -> tuple[RiskGroup, ...]:
    """Groups of equal size by predicted risk, patients of equal risk together; those that cannot be judged are out."""
    edges = np.unique(np.quantile(risks, np.linspace(0, 1, groups + 1)))
    index = np.zeros(len(risks), dtype=int)
    if len(edges) > 1:
        index = np.clip(np.searchsorted(edges, risks, side="left") - 1, 0, len(edges) - 2)
    found = []
    for group in np.unique(index):
        inside = index == group
        observed, low, high = observed_risk(times[inside], codes[inside], t, level)
        if np.isfinite(observed):
            found.append(RiskGroup(float(risks[inside].mean()), observed, low, high, int(inside.sum())))
    return tuple(found)

"""Calibration of predicted risks: slope, intercept, Hosmer-Lemeshow, smoothed curve with band, ICI, grouped points.

References
----------
Cox DR. Biometrika 1958;45:562-5 (slope and intercept). Hosmer DW, Lemeshow S. Commun Stat 1980;9:1043-69.
Austin PC, Steyerberg EW. Stat Med 2019;38:4051-65 (ICI, E50, E90). Van Calster B et al. BMC Med 2019;17:230.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import logit
from scipy.stats import chi2, norm

from hepacast.errors import ModelError
from hepacast.evaluation.predictions import Array, risks
from hepacast.stats.intervals import Proportion, proportion
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.results import TestResult, impossible
from hepacast.stats.smoothing import loess, loess_matrix

HL_NAME = "Hosmer-Lemeshow"


@dataclass(frozen=True)
class Estimate:
    """An estimate with its standard error and limits; NaN with a reason where it cannot be computed."""

    estimate: float
    se: float = float("nan")
    ci: tuple[float, float] = (float("nan"), float("nan"))
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"estimate": self.estimate, "se": self.se, "ci": list(self.ci), "reason": self.reason}


@dataclass(frozen=True)
class HosmerLemeshow(TestResult):
    """Hosmer-Lemeshow test with its groups: patients, events, expected events."""

    n: tuple[int, ...] = ()
    observed: tuple[int, ...] = ()
    expected: tuple[float, ...] = ()


@dataclass(frozen=True)
class CalibrationGroup:
    """Patients of similar risk: how many, their mean risk, and how many had the event, with limits."""

    n: int
    predicted: float
    observed: Proportion


@dataclass(frozen=True)
class CalibrationCurve:
    """Smoothed observed risk at predicted risks, with a pointwise confidence band."""

    predicted: Array
    observed: Array
    low: Array
    high: Array


@dataclass(frozen=True, repr=False)
class Calibration:
    """How predicted risks agree with what happened.

    Attributes
    ----------
    slope, intercept
        Of the logistic recalibration model logit P(y) = intercept + slope × logit(risk); ideal 1 and 0.
    citl
        Calibration in the large: the intercept with the slope fixed at 1; ideal 0.
    observed_expected, observed_expected_ci
        Events observed / sum of the risks; limits are the exact (Clopper-Pearson) ones of the observed risk over the
        mean predicted one.
    brier, brier_scaled, log_loss
        Brier score, 1 - Brier / (prevalence × (1 - prevalence)), and mean negative log-likelihood.
    hosmer_lemeshow
        Groups by deciles of risk.
    ici, e50, e90, emax
        Mean, median, 90th percentile and maximum of |risk - smoothed observed risk| (loess, span 0.75, degree 2).
    curve, groups
        For the figure.
    level
        Confidence level of all limits.
    notes
        What could not be computed, and why.
    """

    n: int
    n_events: int
    slope: Estimate
    intercept: Estimate
    citl: Estimate
    observed_expected: float
    observed_expected_ci: tuple[float, float]
    brier: float
    brier_scaled: float
    log_loss: float
    hosmer_lemeshow: HosmerLemeshow
    ici: float
    e50: float
    e90: float
    emax: float
    curve: CalibrationCurve | None
    groups: tuple[CalibrationGroup, ...]
    level: float
    notes: tuple[str, ...]
    y: Array = field(repr=False)
    risk: Array = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """One row a measure, with limits where there are any."""
        rows = [
            ("Calibration slope", self.slope.estimate, *self.slope.ci),
            ("Calibration intercept", self.intercept.estimate, *self.intercept.ci),
            ("Calibration in the large", self.citl.estimate, *self.citl.ci),
            ("Observed / expected", self.observed_expected, *self.observed_expected_ci),
            *(
                (label, value, np.nan, np.nan)
                for label, value in (
                    ("Brier score", self.brier),
                    ("Scaled Brier score", self.brier_scaled),
                    ("Log loss", self.log_loss),
                    ("Hosmer-Lemeshow chi-square", self.hosmer_lemeshow.statistic),
                    ("Hosmer-Lemeshow P", self.hosmer_lemeshow.p),
                    ("ICI", self.ici),
                    ("E50", self.e50),
                    ("E90", self.e90),
                    ("Emax", self.emax),
                )
            ),
        ]
        return pd.DataFrame(rows, columns=["measure", "estimate", "ci_low", "ci_high"])

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the curve and the groups."""
        test = self.hosmer_lemeshow
        return {
            "slope": self.slope.estimate,
            "slope_ci": list(self.slope.ci),
            "slope_se": self.slope.se,
            "intercept": self.intercept.estimate,
            "intercept_ci": list(self.intercept.ci),
            "citl": self.citl.estimate,
            "citl_ci": list(self.citl.ci),
            "observed_expected": self.observed_expected,
            "observed_expected_ci": list(self.observed_expected_ci),
            "brier": self.brier,
            "brier_scaled": self.brier_scaled,
            "log_loss": self.log_loss,
            "hosmer_lemeshow": {
                "chi2": test.statistic,
                "df": test.df,
                "p": test.p,
                "reason": test.reason,
                "n": list(test.n),
                "observed": list(test.observed),
                "expected": list(test.expected),
            },
            "ici": self.ici,
            "e50": self.e50,
            "e90": self.e90,
            "emax": self.emax,
            "curve": None
            if self.curve is None
            else {
                "predicted": self.curve.predicted,
                "observed": self.curve.observed,
                "low": self.curve.low,
                "high": self.curve.high,
            },
            "groups": [
                {
                    "n": group.n,
                    "predicted": group.predicted,
                    "observed": group.observed.estimate,
                    "low": group.observed.low,
                    "high": group.observed.high,
                }
                for group in self.groups
            ],
            "notes": list(self.notes),
        }

    def plot(self, *, title: str = "") -> Any:
        """A calibration plot (matplotlib figure)."""
        from hepacast.evaluation.drawing import calibration_figure

        return calibration_figure(self, title=title)

    def __repr__(self) -> str:
        return (
            f"<Calibration slope {self.slope.estimate:.3f}, intercept {self.intercept.estimate:.3f}, "
            f"ICI {self.ici:.3f}, Brier {self.brier:.3f}, n={self.n}, events={self.n_events}>"
        )

    def _repr_html_(self) -> str:
        notes = "".join(f"<p><small>{note}</small></p>" for note in self.notes)
        table = self.to_frame().to_html(index=False, border=0, float_format=lambda value: f"{value:.4g}", na_rep="")
        return table + notes


def calibration(
    y: ArrayLike, risk: ArrayLike, *, groups: int = 10, level: float = 0.95, external: bool = False
) -> Calibration:
    """Measure the calibration of predicted risks.

    Parameters
    ----------
    y
        Outcome, 0 or 1, shape (n,).
    risk
        Predicted probabilities, shape (n,).
    groups
        Number of groups for the Hosmer-Lemeshow test and the grouped points.
    external
        The risks come from a model fitted to other patients: g instead of g - 2 degrees of freedom.

    Raises
    ------
    OutcomeError, ModelError
        The outcome or the risks cannot be used.
    """
    outcome, p = risks(y, risk)
    notes: list[str] = []
    slope, intercept, citl = logistic_recalibration(outcome, p, level=level, notes=notes)
    brier = float(np.mean((p - outcome) ** 2))
    prevalence = float(outcome.mean())
    smooth = smoothed_at_risks(outcome, p, notes)
    error = np.abs(smooth - p)
    ratio, ratio_ci = observed_over_expected(outcome, p, level=level)
    return Calibration(
        n=outcome.size,
        n_events=int(outcome.sum()),
        slope=slope,
        intercept=intercept,
        citl=citl,
        observed_expected=ratio,
        observed_expected_ci=ratio_ci,
        brier=brier,
        brier_scaled=1.0 - brier / (prevalence * (1.0 - prevalence)),
        log_loss=_log_loss(outcome, p, notes),
        hosmer_lemeshow=hosmer_lemeshow(outcome, p, groups=groups, external=external),
        ici=float(error.mean()),
        e50=float(np.quantile(error, 0.5)),
        e90=float(np.quantile(error, 0.9)),
        emax=float(error.max()),
        curve=calibration_curve(outcome, p, level=level),
        groups=calibration_groups(outcome, p, groups=groups, level=level),
        level=level,
        notes=tuple(notes),
        y=outcome,
        risk=p,
    )


def observed_over_expected(y: Array, p: Array, *, level: float = 0.95) -> tuple[float, tuple[float, float]]:
    """Observed events over the sum of the risks, with limits (see `Calibration`); NaN where no event is expected."""
    expected = float(p.sum())
    if not expected > 0:
        return float("nan"), (float("nan"), float("nan"))
    share = proportion(int(y.sum()), y.size, level=level)
    return float(y.sum()) / expected, (share.low * y.size / expected, share.high * y.size / expected)


def logistic_recalibration(
    y: Array, p: Array, *, level: float = 0.95, notes: list[str] | None = None
) -> tuple[Estimate, Estimate, Estimate]:
    """Slope, intercept, and intercept with the slope fixed at 1 (calibration in the large).

    Patients with a risk of exactly 0 or 1 have no logit; they are left out here and counted in `notes`.
    """
    notes = [] if notes is None else notes
    usable = (p > 0.0) & (p < 1.0)
    if not usable.all():
        notes.append(f"{int((~usable).sum())} risks of exactly 0 or 1 are left out of slope and intercept.")
    outcome, lp = y[usable], logit(p[usable])
    if outcome.size == 0 or outcome.min() == outcome.max():
        nothing = Estimate(float("nan"), reason="without risks of exactly 0 or 1 only one class remains")
        return nothing, nothing, nothing
    z = float(norm.ppf(0.5 + level / 2.0))
    large = fit_logistic(np.empty((outcome.size, 0)), outcome, offset=lp)
    center, spread = large.intercept, float(large.se[0])
    citl = Estimate(center, spread, (center - z * spread, center + z * spread))
    if np.ptp(lp) == 0.0:
        nothing = Estimate(float("nan"), reason="every patient has the same risk")
        notes.append("Slope and intercept: every patient has the same risk.")
        return nothing, nothing, citl
    fit = fit_logistic(lp, outcome, ["logit risk"])
    if not fit.ok:
        nothing = Estimate(float("nan"), reason=fit.reason)
        notes.append(f"Slope and intercept: {fit.reason}.")
        return nothing, nothing, citl
    limits = fit.ci(level)
    slope = Estimate(float(fit.coef[0]), float(fit.se[1]), (float(limits[1, 0]), float(limits[1, 1])))
    intercept = Estimate(fit.intercept, float(fit.se[0]), (float(limits[0, 0]), float(limits[0, 1])))
    return slope, intercept, citl


def _log_loss(y: Array, p: Array, notes: list[str]) -> float:
    with np.errstate(divide="ignore"):
        value = -float(np.mean(np.log(np.where(y == 1.0, p, 1.0 - p))))
    if np.isinf(value):
        notes.append("Log loss is infinite: a risk of exactly 0 or 1 was wrong.")
    return value


def hosmer_lemeshow(y: ArrayLike, risk: ArrayLike, *, groups: int = 10, external: bool = False) -> HosmerLemeshow:
    """Hosmer-Lemeshow test by quantile groups of risk (as R's `ResourceSelection::hoslem.test`).

    Parameters
    ----------
    groups
        Groups wanted; equal quantiles are joined, and the degrees of freedom follow the groups that there are.
    external
        Risks from a model fitted to other patients: as many degrees of freedom as groups, instead of two fewer.
    """
    outcome, p = risks(y, risk)
    if groups < 3:
        raise ModelError("The Hosmer-Lemeshow test needs at least three groups.", found=str(groups))
    edges = np.unique(np.quantile(p, np.linspace(0.0, 1.0, groups + 1)))
    made = len(edges) - 1
    if made < 3:
        empty = impossible(HL_NAME, f"the risks form only {max(made, 1)} group(s)")
        return HosmerLemeshow(empty.name, status=empty.status, reason=empty.reason)
    index = np.clip(np.searchsorted(edges, p, side="left") - 1, 0, made - 1)
    n = np.bincount(index, minlength=made)
    observed = np.bincount(index, weights=outcome, minlength=made)
    expected = np.bincount(index, weights=p, minlength=made)
    if (expected <= 0.0).any() or (expected >= n).any():
        reason = "a group's expected events are 0 or everybody"
        return HosmerLemeshow(HL_NAME, status="impossible", reason=reason)
    statistic = float(((observed - expected) ** 2 / expected + (observed - expected) ** 2 / (n - expected)).sum())
    df = made if external else made - 2
    return HosmerLemeshow(
        HL_NAME,
        statistic=statistic,
        p=float(chi2.sf(statistic, df)),
        df=float(df),
        n=tuple(int(value) for value in n),
        observed=tuple(int(value) for value in observed),
        expected=tuple(float(value) for value in expected),
    )


def smoothed_at_risks(y: Array, p: Array, notes: list[str] | None = None, *, surface: str = "interpolate") -> Array:
    """Loess-smoothed observed risk at every patient's predicted risk; NaN with a note for fewer than four patients."""
    if y.size < 4:
        if notes is not None:
            notes.append("The smoothed curve needs at least four patients.")
        return np.full(y.size, np.nan)
    return loess(p, y, surface=surface)


def calibration_curve(
    y: ArrayLike, risk: ArrayLike, *, points: int = 101, level: float = 0.95
) -> CalibrationCurve | None:
    """Loess curve of the outcome over the predicted risk, on an even grid between the extreme risks.

    The band is pointwise: fit ± z sqrt(sum_i l_i² f_i (1 - f_i)), with l the smoother's weights and f the smoothed
    risks. Curve, band and f are clipped to 0 and 1, between which every risk lies. None when the risks do not vary or
    there are fewer than ten patients.
    """
    outcome, p = risks(y, risk)
    if outcome.size < 10 or np.ptp(p) == 0.0:
        return None
    grid = np.linspace(p.min(), p.max(), points)
    weights, _ = loess_matrix(p, grid)
    center = weights @ outcome
    smooth = np.clip(smoothed_at_risks(outcome, p), 0.0, 1.0)
    half = norm.ppf(0.5 + level / 2.0) * np.sqrt((weights**2) @ (smooth * (1.0 - smooth)))
    return CalibrationCurve(grid, *(np.clip(line, 0.0, 1.0) for line in (center, center - half, center + half)))


def calibration_groups(
    y: ArrayLike, risk: ArrayLike, *, groups: int = 10, method: str = "wilson", level: float = 0.95
) -> tuple[CalibrationGroup, ...]:
    """Patients in groups of equal size by predicted risk (patients of equal risk stay together)."""
    outcome, p = risks(y, risk)
    edges = np.unique(np.quantile(p, np.linspace(0.0, 1.0, groups + 1)))
    if len(edges) == 1:
        index = np.zeros(p.size, dtype=int)
    else:
        index = np.clip(np.searchsorted(edges, p, side="left") - 1, 0, len(edges) - 2)
    result = []
    for group in np.unique(index):
        inside = index == group
        share = proportion(int(outcome[inside].sum()), int(inside.sum()), method=method, level=level)
        result.append(CalibrationGroup(int(inside.sum()), float(p[inside].mean()), share))
    return tuple(result)

"""Calibration of predicted risks: slope, intercept, Hosmer-Lemeshow, smoothed curve with band, ICI, grouped points.

One description for an outcome without time and for the risk of an event by a horizon. What the curve smooths is each
patient's state, or its pseudo-value where somebody is censored; what groups have is their share with the event, or the
Aalen-Johansen estimate. The slope is that of a logistic model of the logit of the risk, or of a Cox (or Fine-Gray)
model of its complementary log-log.

References
----------
Cox DR. Biometrika 1958;45:562-5 (slope and intercept). Hosmer DW, Lemeshow S. Commun Stat 1980;9:1043-69.
Austin PC, Steyerberg EW. Stat Med 2019;38:4051-65 (ICI, E50, E90). Van Calster B et al. BMC Med 2019;17:230.
McLernon DJ et al. Ann Intern Med 2023;176:105 (what to report by a horizon). Austin PC, Harrell FE, van Klaveren D.
Stat Med 2020;39:2714 (ICI by a horizon).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import logit
from scipy.stats import chi2, norm

from hepacast.core.estimates import Estimate, missing
from hepacast.core.records import Record
from hepacast.errors import HepacastError, ModelError, OutcomeError
from hepacast.evaluation.event_by import EventBy, event
from hepacast.evaluation.predictions import Array, probability, risks, score_array
from hepacast.evaluation.time_dependent import brier_at
from hepacast.stats.competing_risks import fit_fine_gray
from hepacast.stats.cox import fit_cox
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.results import TestResult, impossible
from hepacast.stats.smoothing import loess, loess_matrix

HL_NAME = "Hosmer-Lemeshow"
#: Groups of patients by risk; follow-up needs more patients a group.
GROUPS, GROUPS_OF_FOLLOW_UP = 10, 5
#: Fewer patients, or of follow-up distinct risks, are not smoothed.
_MIN_DISTINCT = 10
_EDGE = 1e-9
_OF_LOGIT = "not of follow-up"


@dataclass(frozen=True)
class HosmerLemeshow(TestResult):
    """Hosmer-Lemeshow test with its groups: patients, events, expected events."""

    n: tuple[int, ...] = ()
    observed: tuple[int, ...] = ()
    expected: tuple[float, ...] = ()


@dataclass(frozen=True)
class CalibrationGroup:
    """Patients of similar risk: how many, their mean risk, and the observed one, with limits."""

    n: int
    predicted: float
    observed: Estimate


@dataclass(frozen=True)
class CalibrationCurve:
    """Smoothed observed risk at predicted risks, with a pointwise confidence band."""

    predicted: Array
    observed: Array
    low: Array
    high: Array


@dataclass(frozen=True, repr=False)
class Calibration(Record):
    """How predicted risks agree with what happened.

    Attributes
    ----------
    n, n_events
        Patients, and events (by the horizon).
    observed_expected
        Observed over mean predicted risk; limits are those of the observed risk over the mean predicted one.
    slope
        1 is perfect, below 1 the predictions are too extreme. Of logit P(y) = intercept + slope × logit(risk), or of
        the complementary log-log risk in a Cox (Fine-Gray) model of the follow-up.
    intercept, citl
        The intercept beside the slope, and calibration in the large: the intercept with the slope fixed at 1; ideal 0.
        Not of follow-up.
    brier
        Brier score; limits where they were computed.
    brier_null, brier_scaled
        Brier score of the observed risk for everybody; 1 - Brier / that.
    log_loss
        Mean negative log-likelihood; not of follow-up.
    hosmer_lemeshow
        Groups by deciles of risk; None of follow-up.
    ici, e50, e90, emax
        Mean, median, 90th percentile and maximum of |risk - smoothed observed risk| (loess, span 0.75, degree 2).
    curve, groups
        For the figure.
    level
        Confidence level of all limits.
    notes
        What could not be computed, and why.
    y, risk
        Outcome and risks of the patients, to be drawn; not stored.
    """

    n: int
    n_events: int
    slope: Estimate
    observed_expected: Estimate
    brier: Estimate
    brier_null: float
    brier_scaled: float
    ici: Estimate
    e50: float
    e90: float
    emax: float
    curve: CalibrationCurve | None
    groups: tuple[CalibrationGroup, ...]
    level: float
    notes: tuple[str, ...] = ()
    intercept: Estimate = field(default_factory=lambda: missing(_OF_LOGIT))
    citl: Estimate = field(default_factory=lambda: missing(_OF_LOGIT))
    log_loss: float = float("nan")
    hosmer_lemeshow: HosmerLemeshow | None = None
    y: Array = field(repr=False, default_factory=lambda: np.empty(0), metadata={"stored": False})
    risk: Array = field(repr=False, default_factory=lambda: np.empty(0), metadata={"stored": False})

    def to_frame(self) -> pd.DataFrame:
        """One row a measure, with limits where there are any."""
        test = self.hosmer_lemeshow
        rows = [
            ("Calibration slope", self.slope.value, *self.slope.ci),
            ("Calibration intercept", self.intercept.value, *self.intercept.ci),
            ("Calibration in the large", self.citl.value, *self.citl.ci),
            ("Observed / expected", self.observed_expected.value, *self.observed_expected.ci),
            ("Brier score", self.brier.value, *self.brier.ci),
            ("Scaled Brier score", self.brier_scaled, np.nan, np.nan),
            ("Log loss", self.log_loss, np.nan, np.nan),
            ("Hosmer-Lemeshow chi-square", np.nan if test is None else test.statistic, np.nan, np.nan),
            ("Hosmer-Lemeshow P", np.nan if test is None else test.p, np.nan, np.nan),
            ("ICI", self.ici.value, *self.ici.ci),
            *((name, value, np.nan, np.nan) for name, value in
              (("E50", self.e50), ("E90", self.e90), ("Emax", self.emax))),
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["measure", "estimate", "ci_low", "ci_high"])

    def plot(self, *, title: str = "") -> Any:
        """A calibration plot (matplotlib figure)."""
        from hepacast.evaluation.drawing import calibration_figure

        return calibration_figure(self, title=title)

    def __repr__(self) -> str:
        return (
            f"<Calibration slope {self.slope.value:.3f}, intercept {self.intercept.value:.3f}, "
            f"ICI {self.ici.value:.3f}, Brier {self.brier.value:.3f}, n={self.n}, events={self.n_events}>"
        )

    def _repr_html_(self) -> str:
        notes = "".join(f"<p><small>{note}</small></p>" for note in self.notes)
        table = self.to_frame().to_html(index=False, border=0, float_format=lambda value: f"{value:.4g}", na_rep="")
        return table + notes


def calibration(
    y: ArrayLike | EventBy,
    risk: ArrayLike,
    *,
    groups: int | None = None,
    level: float = 0.95,
    external: bool = False,
) -> Calibration:
    """Measure the calibration of predicted risks.

    Parameters
    ----------
    y
        Outcome, 0 or 1, shape (n,); or what is known of an event by a horizon (`event_by`).
    risk
        Predicted probabilities, shape (n,).
    groups
        Number of groups for the grouped points (and the Hosmer-Lemeshow test); 10, of follow-up 5.
    external
        The risks come from a model fitted to other patients: g instead of g - 2 degrees of freedom.

    Raises
    ------
    OutcomeError, ModelError
        The outcome or the risks cannot be used, or follow-up does not reach the horizon.
    """
    known = event(y)
    p = probability(score_array(risk, known.n, "risk"), "risk")
    observed = known.risk(level)
    if not observed.known:
        raise OutcomeError(
            f"Calibration at {known.horizon:g} cannot be judged: nobody is followed so long.",
            found=f"longest follow-up {known.follow_up()[0].max():g}",
        )
    notes: list[str] = []
    brier, null = brier_score(known, p, level), brier_score(known, np.full(known.n, observed.value), level)
    error = np.abs(smoothed_at_risks(known, p, notes) - p)
    made = groups or (GROUPS if known.complete else GROUPS_OF_FOLLOW_UP)
    own = _regressed(known, p, level, notes, made, external)
    return Calibration(
        n=known.n,
        n_events=known.n_events,
        observed_expected=observed_over_expected(observed, p),
        brier=brier,
        brier_null=null.value,
        brier_scaled=1.0 - brier.value / null.value,
        ici=Estimate(float(error.mean()), level=level),
        e50=float(np.quantile(error, 0.5)),
        e90=float(np.quantile(error, 0.9)),
        emax=float(error.max()),
        curve=calibration_curve(known, p, level=level),
        groups=calibration_groups(known, p, groups=made, level=level),
        level=level,
        notes=tuple(notes),
        y=known.y,
        risk=p,
        **own,
    )


def _regressed(known: EventBy, p: Array, level: float, notes: list[str], groups: int, external: bool) -> dict[str, Any]:
    """The slope, and of an outcome without time what else the logit and the counts tell."""
    if not known.complete:
        slope = cloglog_slope(*known.follow_up(), p, level)
        notes += [slope.reason] if slope.reason else []
        return {"slope": slope}
    slope, intercept, citl = logistic_recalibration(known.y, p, level=level, notes=notes)
    return {
        "slope": slope,
        "intercept": intercept,
        "citl": citl,
        "log_loss": _log_loss(known.y, p, notes),
        "hosmer_lemeshow": hosmer_lemeshow(known.y, p, groups=groups, external=external),
    }


def brier_score(known: EventBy, p: Array, level: float = 0.95) -> Estimate:
    """Mean squared distance of risk and state; of follow-up weighted, with limits, where it can be estimated."""
    if known.complete:
        return Estimate(float(np.mean((p - known.y) ** 2)), level=level)
    try:
        return brier_at(*known.follow_up(), p, known.horizon).estimate(level)
    except OutcomeError as error:
        return missing(error.message.rstrip("."))


def cloglog_slope(times: Array, codes: Array, risks: Array, level: float = 0.95) -> Estimate:
    """Coefficient of the complementary log-log risk (of a Cox model: the linear predictor) in new patients.

    1 is perfect, below 1 the predictions are too extreme; NaN with the reason where there is no slope.
    """
    inside = np.clip(risks, _EDGE, 1 - _EDGE)
    score = np.log(-np.log1p(-inside))
    if np.ptp(score) == 0:
        return missing("no slope: all patients have the same risk")
    try:
        if (codes == 2).any():
            fit = fit_fine_gray(score, times, codes)
        else:
            fit = fit_cox(score, times, (codes == 1).astype(float))
    except (HepacastError, np.linalg.LinAlgError) as error:
        return missing(f"no slope: {getattr(error, 'message', error)}")
    if fit.status != "ok":
        return missing("no slope: the risk separates the events")
    se, value = float(fit.se[0]), float(fit.coef[0])
    half = float(norm.ppf(0.5 + level / 2)) * se
    return Estimate(value, value - half, value + half, level, se)


def observed_over_expected(observed: Estimate, p: Array) -> Estimate:
    """Observed risk over the mean predicted one, with the limits of the former; NaN where no event is expected."""
    expected = float(p.mean())
    if not expected > 0:
        return missing("no event is expected")
    return Estimate(observed.value / expected, observed.low / expected, observed.high / expected, observed.level)


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
        nothing = missing("without risks of exactly 0 or 1 only one class remains")
        return nothing, nothing, nothing
    z = float(norm.ppf(0.5 + level / 2.0))
    large = fit_logistic(np.empty((outcome.size, 0)), outcome, offset=lp)
    center, spread = large.intercept, float(large.se[0])
    citl = Estimate(center, center - z * spread, center + z * spread, level, spread)
    if np.ptp(lp) == 0.0:
        nothing = missing("every patient has the same risk")
        notes.append("Slope and intercept: every patient has the same risk.")
        return nothing, nothing, citl
    fit = fit_logistic(lp, outcome, ["logit risk"])
    if not fit.ok:
        nothing = missing(fit.reason)
        notes.append(f"Slope and intercept: {fit.reason}.")
        return nothing, nothing, citl
    limits = fit.ci(level)
    slope = Estimate(float(fit.coef[0]), float(limits[1, 0]), float(limits[1, 1]), level, float(fit.se[1]))
    intercept = Estimate(fit.intercept, float(limits[0, 0]), float(limits[0, 1]), level, float(fit.se[0]))
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


def smoothed_at_risks(
    y: Array | EventBy, p: Array, notes: list[str] | None = None, *, surface: str = "interpolate"
) -> Array:
    """Loess-smoothed observed risk at every patient's predicted risk; NaN with a note for fewer than four patients.

    As it is, as in R, also where it leaves 0 to 1: what is drawn is clipped, the distances (ICI and the others) are
    not. Pseudo-values of few distinct risks are averaged, not smoothed.
    """
    known = event(y)
    if known.n < 4:
        if notes is not None:
            notes.append("The smoothed curve needs at least four patients.")
        return np.full(known.n, np.nan)
    distinct, inverse = np.unique(p, return_inverse=True)
    if not known.complete and len(distinct) < _MIN_DISTINCT:
        return np.asarray((np.bincount(inverse, weights=known.states) / np.bincount(inverse))[inverse])
    return loess(p, known.states, surface=surface)


def calibration_curve(
    y: ArrayLike | EventBy, risk: ArrayLike, *, points: int = 101, level: float = 0.95
) -> CalibrationCurve | None:
    """Loess curve of the patients' states over the predicted risk, on an even grid, clipped to 0 and 1.

    The grid runs between the extreme risks; of pseudo-values from the 2nd to the 98th percentile, beyond which a
    handful of patients would draw the curve. The band is pointwise: fit ± z sqrt(sum_i l_i² v_i), with l the
    smoother's weights and v the variance of a state, f_i (1 - f_i) with f the smoothed risks, or of a pseudo-value, its
    squared residual. None when the risks do not vary or there are fewer than ten patients (of follow-up: risks).
    """
    known = event(y)
    p = probability(score_array(risk, known.n, "risk"), "risk")
    if known.n < _MIN_DISTINCT or np.ptp(p) == 0.0 or (not known.complete and len(np.unique(p)) < _MIN_DISTINCT):
        return None
    ends = (p.min(), p.max()) if known.complete else np.quantile(p, [0.02, 0.98])
    grid = np.linspace(float(ends[0]), float(ends[1]), points)
    weights, _ = loess_matrix(p, grid)
    center = weights @ known.states
    smooth = smoothed_at_risks(known, p)
    inside = np.clip(smooth, 0.0, 1.0)
    variance = inside * (1.0 - inside) if known.complete else (known.states - smooth) ** 2
    half = norm.ppf(0.5 + level / 2.0) * np.sqrt((weights**2) @ variance)
    return CalibrationCurve(grid, *(np.clip(line, 0.0, 1.0) for line in (center, center - half, center + half)))


def calibration_groups(
    y: ArrayLike | EventBy, risk: ArrayLike, *, groups: int = GROUPS, method: str = "wilson", level: float = 0.95
) -> tuple[CalibrationGroup, ...]:
    """Patients in groups of equal size by predicted risk (patients of equal risk stay together).

    Groups of which nobody is followed to the horizon are left out.
    """
    known = event(y)
    p = probability(score_array(risk, known.n, "risk"), "risk")
    edges = np.unique(np.quantile(p, np.linspace(0.0, 1.0, groups + 1)))
    index = np.zeros(p.size, dtype=int)
    if len(edges) > 1:
        index = np.clip(np.searchsorted(edges, p, side="left") - 1, 0, len(edges) - 2)
    result = []
    for group in np.unique(index):
        inside = index == group
        observed = known.risk(level, inside, method=method)
        if observed.known:
            result.append(CalibrationGroup(int(inside.sum()), float(p[inside].mean()), observed))
    return tuple(result)

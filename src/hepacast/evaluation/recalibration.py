"""Bringing a model to a new center or a later time: how far it drifted, and the smallest change that is enough.

A frozen logistic model is left as it is, gets a new intercept, a new intercept and slope of its logit, or new
coefficients. A frozen Cox model says that a patient with linear predictor lp has the cumulative hazard H0(t) exp(lp):
it may be left as it is; its baseline may be multiplied by one number, exp(shift); the linear predictor may be stretched
as well, slope * lp; or the coefficients may be estimated anew. With H0's shape as it was, the numbers of events are
Poisson with mean exp(shift + slope lp) H0(T), so that the four are nested there too and a closed test chooses among
them. Beside them stands the baseline estimated anew (Breslow) with the slope of a Cox model: it drops the shape of H0.

References
----------
Steyerberg EW et al. Stat Med 2004;23:2567-86 (updating). Vergouwe Y et al. Stat Med 2017;36:4529-39 (closed test).
Crowson CS, Atkinson EJ, Therneau TM. Stat Methods Med Res 2016;25:1692 (Poisson). van Houwelingen HC. Stat Med
2000;19:3401.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import chi2

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record
from hepacast.errors import HepacastError, ModelError
from hepacast.evaluation.calibration import Calibration, logistic_recalibration
from hepacast.evaluation.event_by import EventBy, event
from hepacast.evaluation.predictions import Array, probability, risks, score_array
from hepacast.evaluation.roc import auc_with_variance
from hepacast.evaluation.time_dependent import brier_at
from hepacast.evaluation.val_prob import fixed_fit
from hepacast.stats.closed_test import closed_test
from hepacast.stats.competing_risks import baseline_hazard, fit_fine_gray
from hepacast.stats.cox import CoxFit, fit_cox
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.logistic_fit import LogisticFit
from hepacast.stats.poisson import poisson_fit, poisson_loglik
from hepacast.stats.results import TestResult, impossible

METHODS = ("none", "intercept", "slope", "refit")
#: Changes of a hazard.
HAZARD_METHODS = ("none", "intercept", "slope", "baseline", "refit")
#: Patients with the event, and without, that new patients need among them.
MIN_EACH = 5
_EDGE = 1e-12


@dataclass(frozen=True, repr=False)
class Recalibration:
    """A change of a model's risks: new logit = intercept + slope × old logit, or a model refitted here.

    Attributes
    ----------
    method
        `none`, `intercept` (slope kept), `slope` (intercept and slope), or `refit` (all coefficients).
    intercept, slope
        Of the change; NaN after `refit`.
    fit
        The refitted model, after `refit`.
    status, reason
        `ok`, or why there is no estimate.
    p
        By method, P of the likelihood-ratio test against the largest model tried (closed test), where it was made.
    """

    method: str
    intercept: float
    slope: float
    n: int
    n_events: int
    status: str = "ok"
    reason: str = ""
    p: dict[str, float] = field(default_factory=dict)
    fit: LogisticFit | None = None

    def apply(self, risk: ArrayLike, x: ArrayLike | None = None) -> Array:
        """Changed risks of new patients; `x` (their predictors) is needed after `refit`.

        Raises
        ------
        ModelError
            There is no estimate, or predictors are missing.
        """
        if self.status != "ok":
            raise ModelError("The recalibration has no estimate.", found=self.reason)
        if self.fit is not None:
            if x is None:
                raise ModelError("A refitted model needs the patients' predictors.", expected=", ".join(self.fit.names))
            return self.fit.predict(x)
        values = np.asarray(risk, dtype=float).ravel()
        p = probability(score_array(values, values.size, "risk"), "risk")
        return np.asarray(expit(self.intercept + self.slope * _logit(p)))

    def __repr__(self) -> str:
        if self.status != "ok":
            return f"<Recalibration {self.method}: {self.status}, {self.reason}>"
        return f"<Recalibration {self.method}: {self.intercept:.3f} + {self.slope:.3f} × logit(risk), n={self.n}>"


def _logit(p: Array) -> Array:
    return np.asarray(logit(np.clip(p, _EDGE, 1.0 - _EDGE)))


def recalibrate(
    y: ArrayLike,
    risk: ArrayLike,
    *,
    method: str = "slope",
    x: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Recalibration:
    """Fit a change of the risks to patients of a new center.

    Parameters
    ----------
    y, risk
        Outcome and old risks of the new center's patients.
    method
        `intercept`, `slope` (both), `refit` (all coefficients again, from `x`), `none`, or `closed test`: the
        smallest change that fits no worse (P > 0.05) than the largest one.
    x, names
        Predictors of the model, for `refit` and for the closed test up to it.

    Raises
    ------
    OutcomeError, ModelError
        The outcome, the risks or the method cannot be used.
    """
    outcome, p = risks(y, risk)
    lp = _logit(p)
    if method == "closed test":
        return _closed_test(outcome, lp, x, names)
    if method not in METHODS:
        raise ModelError("Unknown recalibration.", expected=", ".join((*METHODS, "closed test")), found=method)
    return _recalibrated(method, outcome, lp, x, names)[0]


def _recalibrated(
    method: str, y: Array, lp: Array, x: ArrayLike | None, names: Sequence[str] | None
) -> tuple[Recalibration, float, int]:
    """The recalibration, its log-likelihood and its number of coefficients."""
    n, events = y.size, int(y.sum())
    if method == "none":
        return Recalibration("none", 0.0, 1.0, n, events), -0.5 * fixed_fit(y, lp)["deviance"], 0
    if method == "refit":
        if x is None:
            raise ModelError("A refit needs the predictors.", remedy="give x")
        fit = fit_logistic(x, y, names)
        nan = float("nan")
        found = Recalibration("refit", nan, nan, n, events, fit.status, fit.reason, fit=fit)
        return found, fit.loglik, len(fit.beta)
    if method == "intercept":
        fit = fit_logistic(np.empty((n, 0)), y, offset=lp)
        return Recalibration("intercept", fit.intercept, 1.0, n, events, fit.status, fit.reason), fit.loglik, 1
    fit = fit_logistic(lp, y, ["logit risk"])
    slope = float(fit.coef[0])
    return Recalibration("slope", fit.intercept, slope, n, events, fit.status, fit.reason), fit.loglik, 2


def _closed_test(y: Array, lp: Array, x: ArrayLike | None, names: Sequence[str] | None) -> Recalibration:
    methods = METHODS if x is not None else METHODS[:-1]
    tried = {name: _recalibrated(name, y, lp, x, names) for name in methods}
    usable = [name for name in methods if tried[name][0].status == "ok"]
    loglik = {name: tried[name][1] for name in usable}
    chosen, p = closed_test(loglik, {name: tried[name][2] for name in usable})
    found = tried[chosen][0]
    return replace(found, p=p)


@dataclass(frozen=True)
class Drift:
    """Calibration by group (center, period) and tests whether it differs between the groups.

    `table` has one row a group: n, events, auc, observed_expected, citl and slope with limits, notes.
    `intercepts` tests equal intercepts (slope 1), `slopes` equal slopes; both are likelihood-ratio tests.
    """

    table: pd.DataFrame
    intercepts: TestResult
    slopes: TestResult

    def to_frame(self) -> pd.DataFrame:
        """The table by group."""
        return self.table


def calibration_drift(y: ArrayLike, risk: ArrayLike, groups: ArrayLike, *, level: float = 0.95) -> Drift:
    """How the calibration of one model differs between centers or periods.

    Groups of one class have no slope or intercept; they are in the table with a note and not in the tests.
    """
    outcome, p = risks(y, risk)
    labels = np.asarray(groups, dtype=object).ravel()
    if labels.size != outcome.size or pd.isna(labels).any():
        raise ModelError("Every patient needs a group.", expected=f"{outcome.size} labels, none missing")
    text = np.array([str(label) for label in labels])
    rows, testable = {}, []
    for name in sorted(set(text)):
        inside = text == name
        rows[name] = _drift_row(outcome[inside], p[inside], level)
        if 0.0 < outcome[inside].mean() < 1.0:
            testable.append(name)
    table = pd.DataFrame.from_dict(rows, orient="index")
    kept = np.isin(text, testable)
    intercepts, slopes = _drift_tests(outcome[kept], _logit(p[kept]), text[kept], testable)
    return Drift(table, intercepts, slopes)


def _drift_row(y: Array, p: Array, level: float) -> dict[str, Any]:
    nan = float("nan")
    row: dict[str, Any] = {
        "n": y.size,
        "events": int(y.sum()),
        "observed_expected": float(y.sum() / p.sum()) if p.sum() > 0 else nan,
    }
    if not 0.0 < y.mean() < 1.0:
        empty = dict.fromkeys(("auc", "citl", "citl_low", "citl_high", "slope", "slope_low", "slope_high"), nan)
        return row | empty | {"notes": "one class only"}
    notes: list[str] = []
    slope, _, citl = logistic_recalibration(y, p, level=level, notes=notes)
    return row | {
        "auc": auc_with_variance(y, p)[0],
        "citl": citl.value,
        "citl_low": citl.ci[0],
        "citl_high": citl.ci[1],
        "slope": slope.value,
        "slope_low": slope.ci[0],
        "slope_high": slope.ci[1],
        "notes": " ".join(notes),
    }


def _drift_tests(y: Array, lp: Array, text: Array, names: Sequence[str]) -> tuple[TestResult, TestResult]:
    intercept_name, slope_name = "equal intercepts (likelihood ratio)", "equal slopes (likelihood ratio)"
    if len(names) < 2:
        reason = "fewer than two groups with both classes"
        return impossible(intercept_name, reason), impossible(slope_name, reason)
    dummies = np.column_stack([(text == name).astype(float) for name in names[1:]])
    none = np.empty((y.size, 0))
    df = float(len(names) - 1)
    tests = []
    for name, small, large, offset in (
        (intercept_name, none, dummies, lp),
        (
            slope_name,
            np.column_stack([dummies, lp]),
            np.column_stack([dummies, lp, dummies * lp[:, None]]),
            None,
        ),
    ):
        first, second = fit_logistic(small, y, offset=offset), fit_logistic(large, y, offset=offset)
        if first.ok and second.ok:
            statistic = max(2.0 * (second.loglik - first.loglik), 0.0)
            tests.append(TestResult(name, statistic=statistic, p=float(chi2.sf(statistic, df)), df=df))
        else:
            tests.append(impossible(name, second.reason or first.reason))
    return tests[0], tests[1]


@dataclass(frozen=True)
class ModelUpdate(Record):
    """One change of a frozen model in new patients; numbers that it does not have are NaN.

    Attributes
    ----------
    method
        ``none``, ``intercept``, ``slope``, ``baseline`` (of a hazard) or ``refit``.
    shift, slope
        New log odds = shift + slope × old log odds; of a hazard, log of the baseline's factor and slope of the linear
        predictor.
    p
        Of the likelihood-ratio test against the largest change.
    mean_risk, brier
        Mean risk (by the horizon) and Brier score after the change, in the patients that it was fitted to.
    reason
        Why the change could not be made.
    """

    method: str
    shift: float = float("nan")
    slope: float = float("nan")
    p: float = float("nan")
    mean_risk: float = float("nan")
    brier: float = float("nan")
    reason: str = ""
    risk: Array = field(repr=False, default_factory=lambda: np.empty(0), metadata={"stored": False})


@dataclass(frozen=True)
class Updating(Record):
    """What new patients say of a frozen model.

    Attributes
    ----------
    n, events
        Patients; events (by the horizon).
    chosen
        The smallest change that fits no worse than the largest, by the closed test; None where there is no test.
    methods
        One a change, from the smallest on.
    observed
        Observed risk (by the horizon).
    ratio
        Of a hazard: events that came over those that the model expected during the follow-up (standardized incidence
        ratio).
    before, after
        Calibration as it is and after the chosen change, where there is one.
    set
        Which patients.
    reason
        Why nothing could be said.
    """

    n: int
    events: int
    chosen: str | None = None
    methods: tuple[ModelUpdate, ...] = ()
    observed: Estimate | None = None
    ratio: float = float("nan")
    before: Calibration | None = None
    after: Calibration | None = None
    set: str = ""
    reason: str = ""


def update_risks(y: ArrayLike | EventBy, risk: ArrayLike) -> Updating:
    """Compare the changes of a frozen model's risks in new patients; `recalibrate_hazard` does so for follow-up."""
    outcome, p = risks(event(y).y, risk)
    found = Updating(outcome.size, int(outcome.sum()))
    if min(found.events, found.n - found.events) < MIN_EACH or np.ptp(p) == 0:
        return replace(found, reason="too few patients of an outcome, or the same risk for all")
    chosen = recalibrate(outcome, p, method="closed test")
    methods = []
    for method in METHODS[:-1]:
        fit = recalibrate(outcome, p, method=method)
        changed = fit.apply(p) if fit.status == "ok" else np.full(p.size, np.nan)
        methods.append(
            ModelUpdate(
                method=method,
                shift=fit.intercept,
                slope=fit.slope,
                p=chosen.p.get(method, float("nan")),
                mean_risk=float(changed.mean()),
                brier=float(np.mean((changed - outcome) ** 2)),
                reason=fit.reason,
                risk=changed,
            )
        )
    return replace(found, chosen=chosen.method, methods=tuple(methods))


def recalibrate_hazard(
    known: EventBy,
    linear_predictor: ArrayLike,
    hazard: Callable[[Array], Array],
    design: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> Updating:
    """Compare the changes of a frozen Cox (or Fine-Gray) model in new patients, with follow-up to the horizon.

    Parameters
    ----------
    known
        Follow-up of the new patients, by the horizon: what comes after it is not looked at.
    linear_predictor
        Of the frozen model, shape (n,), to which `hazard` belongs.
    hazard
        The frozen model's cumulative baseline hazard at times up to `t`.
    design
        Columns of the model's terms, shape (n, p), for the refit; None leaves it out.
    level
        Confidence level of the observed risk's limits.

    Notes
    -----
    With competing events there is no Poisson likelihood of the subdistribution: shift, P and choice are left out.
    """
    (times, codes), t = known.follow_up(), known.horizon
    lp = np.asarray(linear_predictor, dtype=float)
    if lp.shape != times.shape or not np.isfinite(lp).all():
        raise ModelError("A patient has no linear predictor.", expected=f"{len(times)} finite values")
    inside, state = np.minimum(times, t), np.where(times <= t, codes, 0.0)
    events, free = int((state == 1).sum()), int((times > t).sum())
    expected = np.asarray(hazard(inside), dtype=float)
    total = float((expected * np.exp(lp)).sum())
    ratio = events / total if total > 0 and not (codes == 2).any() else float("nan")
    observed = known.risk(level)
    if min(events, free) < MIN_EACH or np.ptp(lp) == 0:
        why = (
            "the same risk for all" if np.ptp(lp) == 0 else f"fewer than {MIN_EACH} patients with or without the event"
        )
        return Updating(known.n, events, observed=observed, ratio=ratio, reason=why)
    cohort = _Cohort(inside, state, times, codes, lp, expected, float(np.asarray(hazard(np.array([t])))[0]), t)
    columns = None if design is None else np.asarray(design, dtype=float)
    updates, chosen = _updates(cohort, columns)
    return Updating(known.n, events, chosen, tuple(updates), observed, ratio)


@dataclass(frozen=True)
class _Cohort:
    """Follow-up to the horizon (`time`, `code`) and whole; expected cumulative hazard of a patient with lp 0."""

    time: Array
    code: Array
    whole_time: Array
    whole_code: Array
    lp: Array
    expected: Array
    at_horizon: float
    horizon: float

    @property
    def competing(self) -> bool:
        return bool((self.whole_code == 2).any())

    def with_brier(self, item: ModelUpdate) -> ModelUpdate:
        """The update with its Brier score by the horizon."""
        try:
            value = brier_at(self.whole_time, self.whole_code, item.risk, self.horizon).value
        except HepacastError:
            return replace(item, mean_risk=float(item.risk.mean()))
        return replace(item, mean_risk=float(item.risk.mean()), brier=value)

    def scaled(self, method: str, shift: float, slope: float, p: float) -> ModelUpdate:
        """The baseline's shape as it was."""
        risk = -np.expm1(-self.at_horizon * np.exp(shift + slope * self.lp))
        return self.with_brier(ModelUpdate(method, shift, slope, p, risk=risk))

    def anew(self, method: str, lp: Array, slope: float, p: float) -> ModelUpdate:
        """A new baseline for these linear predictors."""
        at, cumulative = baseline_hazard(lp, self.time, self.code)
        index = int(np.searchsorted(at, self.horizon, side="right")) - 1
        risk = -np.expm1(-cumulative[index] * np.exp(lp))
        return self.with_brier(ModelUpdate(method, slope=slope, p=p, risk=risk))

    def regression(self, x: Array) -> CoxFit:
        """Cox, or Fine and Gray where there are competing events."""
        return fit_fine_gray(x, self.time, self.code) if self.competing else fit_cox(x, self.time, self.code)


def _updates(cohort: _Cohort, design: Array | None) -> tuple[list[ModelUpdate], str | None]:
    chosen: str | None = None
    p: dict[str, float] = {}
    estimates: dict[str, tuple[float, float]] = {}
    if not cohort.competing:
        chosen, p, estimates = _tested(cohort, design)
    nan = float("nan")
    found = [cohort.scaled("none", 0.0, 1.0, p.get("none", nan))]
    if not cohort.competing:
        for name in ("intercept", "slope"):
            shift, slope = estimates[name]
            found.append(cohort.scaled(name, shift, slope, p.get(name, nan)))  # type: ignore[arg-type]
    found.append(_fitted(cohort, "baseline", cohort.lp[:, None], nan))
    if design is not None and design.shape[1] > 1:
        found.append(_fitted(cohort, "refit", design, nan))
    return found, chosen


def _fitted(cohort: _Cohort, method: str, x: Array, p: float) -> ModelUpdate:
    try:
        fit = cohort.regression(x)
    except (HepacastError, np.linalg.LinAlgError) as error:
        return ModelUpdate(method, reason=str(getattr(error, "message", error)).rstrip("."))
    if fit.status != "ok":
        return ModelUpdate(method, reason="a coefficient runs to infinity")
    slope = float(fit.coef[0]) if method == "baseline" else float("nan")
    return cohort.anew(method, x @ fit.coef, slope, p)


def _tested(
    cohort: _Cohort, design: Array | None
) -> tuple[str, dict[str, float], dict[str, tuple[float, float]]]:  # fmt: skip
    """The closed test among changes that keep the baseline's shape, and what each estimates."""
    event = (cohort.code == 1).astype(float)
    ones = np.ones((len(event), 1))
    tilted = np.column_stack([ones, cohort.lp])
    shift, line = (
        poisson_fit(ones, event, cohort.expected * np.exp(cohort.lp)),
        poisson_fit(tilted, event, cohort.expected),
    )
    loglik = {
        "none": poisson_loglik(cohort.lp, event, cohort.expected),
        "intercept": poisson_loglik(cohort.lp + shift[0], event, cohort.expected),
        "slope": poisson_loglik(tilted @ line, event, cohort.expected),
    }
    estimated = {"none": 0, "intercept": 1, "slope": 2}
    if design is not None and design.shape[1] > 1:
        x = np.column_stack([ones, design - design.mean(axis=0)])
        try:
            loglik["refit"] = poisson_loglik(x @ poisson_fit(x, event, cohort.expected), event, cohort.expected)
            estimated["refit"] = x.shape[1]
        except HepacastError:
            # Separated or collinear in the new cohort: the slope is then the largest change that can be tested.
            pass
    chosen, p = closed_test(loglik, estimated)
    return chosen, p, {"intercept": (float(shift[0]), 1.0), "slope": (float(line[0]), float(line[1]))}  # type: ignore[return-value]

"""Bringing a model to a new center or a later time: how far it drifted, and how much to change.

References
----------
Steyerberg EW et al. Stat Med 2004;23:2567-86 (updating). Vergouwe Y et al. Stat Med 2017;36:4529-39 (closed test).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import chi2

from hepacast.errors import ModelError
from hepacast.evaluation.calibration import logistic_recalibration
from hepacast.evaluation.predictions import Array, probability, risks, score_array
from hepacast.evaluation.roc import auc_with_variance
from hepacast.evaluation.val_prob import fixed_fit
from hepacast.stats.closed_test import closed_test
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.logistic_fit import LogisticFit
from hepacast.stats.results import TestResult, impossible

METHODS = ("none", "intercept", "slope", "refit")
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

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "method": self.method,
            "intercept": self.intercept,
            "slope": self.slope,
            "n": self.n,
            "n_events": self.n_events,
            "status": self.status,
            "reason": self.reason,
            "p": self.p,
            "fit": None if self.fit is None else self.fit.to_json(),
        }

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
    return Recalibration(**{**found.__dict__, "p": p})


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

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "groups": self.table.to_dict(orient="index"),
            "intercepts": self.intercepts.to_json(),
            "slopes": self.slopes.to_json(),
        }


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
        "citl": citl.estimate,
        "citl_low": citl.ci[0],
        "citl_high": citl.ci[1],
        "slope": slope.estimate,
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

"""Taking a survival model to a new cohort: how far its risks are off, and the smallest correction that is enough.

A frozen Cox model says that a patient with linear predictor lp has the cumulative hazard H0(t) exp(lp). In new patients
it may be left as it is; its baseline may be multiplied by one number, exp(shift); the linear predictor may be stretched
as well, slope * lp; or the coefficients may be estimated anew. With H0's shape as it was, the numbers of events are
Poisson with mean exp(shift + slope lp) H0(T), so that the four are nested and a closed test chooses among them. Beside
them stands the baseline estimated anew (Breslow) with the slope of a Cox model: it drops the shape of H0 as well.

References
----------
Crowson CS, Atkinson EJ, Therneau TM. Assessing calibration of prognostic risk scores. Stat Methods Med Res
2016;25:1692. van Houwelingen HC. Validation, calibration, revision and combination of prognostic survival models. Stat
Med 2000;19:3401. Vergouwe Y et al. Stat Med 2017;36:4529 (closed test).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hepacast.errors import HepacastError, ModelError
from hepacast.evaluation.survival_accuracy import observed_risk, survival_brier
from hepacast.stats.closed_test import closed_test
from hepacast.stats.competing_risks import baseline_hazard, check_codes, fit_fine_gray
from hepacast.stats.cox import CoxFit, fit_cox

Array = npt.NDArray[np.float64]
Method = Literal["none", "intercept", "slope", "baseline", "refit"]
METHODS: tuple[Method, ...] = ("none", "intercept", "slope", "baseline", "refit")

#: Events, and patients without, by the horizon that a new cohort needs.
MIN_EACH = 5
_MAX_STEPS = 100
#: A rate so far from the mean one, on the log scale, is on its way to 0 or infinity.
_MAX_LOG_RATE = 25.0


@dataclass(frozen=True)
class HazardUpdate:
    """One change: log of the baseline's factor, slope of the linear predictor, P against the refit, the risks then.

    Numbers that a change does not have are NaN; `reason` says why a change could not be made.
    """

    method: Method
    shift: float = float("nan")
    slope: float = float("nan")
    p: float = float("nan")
    risk: Array = field(repr=False, default_factory=lambda: np.zeros(0))
    brier: float = float("nan")
    reason: str = ""

    @property
    def mean_risk(self) -> float:
        """Mean risk by the horizon after the change."""
        return float(self.risk.mean()) if len(self.risk) else float("nan")


@dataclass(frozen=True)
class HazardRecalibration:
    """What a new cohort says of a frozen model.

    Attributes
    ----------
    chosen
        The smallest change that fits no worse than the largest, by the closed test; None where there is no test.
    updates
        One a method, in the order of `METHODS`.
    observed
        Risk by the horizon that was observed, with limits.
    ratio
        Events that came over those that the model expected during the follow-up (standardized incidence ratio).
    reason
        Why nothing could be said.
    """

    chosen: Method | None
    updates: tuple[HazardUpdate, ...]
    n: int
    events: int
    observed: tuple[float, float, float]
    ratio: float
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "n": self.n,
            "events": self.events,
            "chosen": self.chosen,
            "observed": {"value": self.observed[0], "low": self.observed[1], "high": self.observed[2]},
            "ratio": self.ratio,
            "reason": self.reason or None,
            "methods": [
                {
                    "method": item.method,
                    "shift": item.shift,
                    "slope": item.slope,
                    "p": item.p,
                    "mean_risk": item.mean_risk,
                    "brier": item.brier,
                    "reason": item.reason or None,
                }
                for item in self.updates
            ],
        }


def recalibrate_hazard(
    time: npt.ArrayLike,
    code: npt.ArrayLike,
    linear_predictor: npt.ArrayLike,
    hazard: Callable[[Array], Array],
    t: float,
    design: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> HazardRecalibration:
    """Compare the changes of a frozen Cox (or Fine-Gray) model in new patients, with follow-up to `t`.

    Parameters
    ----------
    time, code
        Follow-up of the new patients; codes 0 censored, 1 event, 2 competing event.
    linear_predictor
        Of the frozen model, shape (n,), to which `hazard` belongs.
    hazard
        The frozen model's cumulative baseline hazard at times up to `t`.
    t
        Horizon: what comes after it is not looked at.
    design
        Columns of the model's terms, shape (n, p), for the refit; None leaves it out.
    level
        Confidence level of the observed risk's limits.

    Notes
    -----
    With competing events there is no Poisson likelihood of the subdistribution: shift, P and choice are left out.
    """
    times, codes = check_codes(time, code)
    lp = np.asarray(linear_predictor, dtype=float)
    if lp.shape != times.shape or not np.isfinite(lp).all():
        raise ModelError("A patient has no linear predictor.", expected=f"{len(times)} finite values")
    inside, state = np.minimum(times, t), np.where(times <= t, codes, 0.0)
    events, free = int((state == 1).sum()), int((times > t).sum())
    expected = np.asarray(hazard(inside), dtype=float)
    total = float((expected * np.exp(lp)).sum())
    ratio = events / total if total > 0 and not (codes == 2).any() else float("nan")
    observed = observed_risk(times, codes, t, level)
    if min(events, free) < MIN_EACH or np.ptp(lp) == 0:
        why = (
            "the same risk for all" if np.ptp(lp) == 0 else f"fewer than {MIN_EACH} patients with or without the event"
        )
        return HazardRecalibration(None, (), len(times), events, observed, ratio, why)
    cohort = _Cohort(inside, state, times, codes, lp, expected, float(np.asarray(hazard(np.array([t])))[0]), t)
    columns = None if design is None else np.asarray(design, dtype=float)
    updates, chosen = _updates(cohort, columns)
    return HazardRecalibration(chosen, tuple(updates), len(times), events, observed, ratio)


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

    def with_brier(self, item: HazardUpdate) -> HazardUpdate:
        """The update with its Brier score by the horizon."""
        try:
            value = survival_brier(self.whole_time, self.whole_code, item.risk, self.horizon).value
        except HepacastError:
            return item
        return HazardUpdate(**{**item.__dict__, "brier": value})

    def scaled(self, method: Method, shift: float, slope: float, p: float) -> HazardUpdate:
        """The baseline's shape as it was."""
        risk = -np.expm1(-self.at_horizon * np.exp(shift + slope * self.lp))
        return self.with_brier(HazardUpdate(method, shift, slope, p, risk))

    def anew(self, method: Method, lp: Array, slope: float, p: float) -> HazardUpdate:
        """A new baseline for these linear predictors."""
        at, cumulative = baseline_hazard(lp, self.time, self.code)
        index = int(np.searchsorted(at, self.horizon, side="right")) - 1
        risk = -np.expm1(-cumulative[index] * np.exp(lp))
        return self.with_brier(HazardUpdate(method, slope=slope, p=p, risk=risk))

    def regression(self, x: Array) -> CoxFit:
        """Cox, or Fine and Gray where there are competing events."""
        return fit_fine_gray(x, self.time, self.code) if self.competing else fit_cox(x, self.time, self.code)


def _updates(cohort: _Cohort, design: Array | None) -> tuple[list[HazardUpdate], Method | None]:
    chosen: Method | None = None
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


def _fitted(cohort: _Cohort, method: Method, x: Array, p: float) -> HazardUpdate:
    try:
        fit = cohort.regression(x)
    except (HepacastError, np.linalg.LinAlgError) as error:
        return HazardUpdate(method, reason=str(getattr(error, "message", error)).rstrip("."))
    if fit.status != "ok":
        return HazardUpdate(method, reason="a coefficient runs to infinity")
    slope = float(fit.coef[0]) if method == "baseline" else float("nan")
    return cohort.anew(method, x @ fit.coef, slope, p)


def _tested(
    cohort: _Cohort, design: Array | None
) -> tuple[Method, dict[str, float], dict[str, tuple[float, float]]]:  # fmt: skip
    """The closed test among changes that keep the baseline's shape, and what each estimates."""
    event = (cohort.code == 1).astype(float)
    ones = np.ones((len(event), 1))
    tilted = np.column_stack([ones, cohort.lp])
    shift, line = (
        poisson_fit(ones, event, cohort.expected * np.exp(cohort.lp)),
        poisson_fit(tilted, event, cohort.expected),
    )
    loglik = {
        "none": _loglik(cohort.lp, event, cohort.expected),
        "intercept": _loglik(cohort.lp + shift[0], event, cohort.expected),
        "slope": _loglik(tilted @ line, event, cohort.expected),
    }
    estimated = {"none": 0, "intercept": 1, "slope": 2}
    if design is not None and design.shape[1] > 1:
        x = np.column_stack([ones, design - design.mean(axis=0)])
        try:
            loglik["refit"] = _loglik(x @ poisson_fit(x, event, cohort.expected), event, cohort.expected)
            estimated["refit"] = x.shape[1]
        except HepacastError:
            # Separated or collinear in the new cohort: the slope is then the largest change that can be tested.
            pass
    chosen, p = closed_test(loglik, estimated)
    return chosen, p, {"intercept": (float(shift[0]), 1.0), "slope": (float(line[0]), float(line[1]))}  # type: ignore[return-value]


def _loglik(eta: Array, event: Array, exposure: Array) -> float:
    """Poisson log-likelihood, without what does not depend on eta."""
    return float(event @ eta - exposure @ np.exp(eta))


def poisson_fit(x: Array, event: Array, exposure: Array) -> Array:
    """Coefficients of a log-linear rate: events are Poisson with mean exposure * exp(x beta); Newton, step-halving.

    Parameters
    ----------
    x
        Shape (n, p), with the column of ones if there is to be one.
    event, exposure
        Shape (n,); exposure 0 or more.

    Raises
    ------
    ModelError
        There is no finite estimate.
    """
    total, count = float(exposure.sum()), float(event.sum())
    if total <= 0 or count <= 0:
        raise ModelError("A rate needs events and follow-up.", found=f"{count:g} events, exposure {total:g}")
    beta = np.zeros(x.shape[1])
    value = _loglik(x @ beta, event, exposure)
    for _ in range(_MAX_STEPS):
        mean = exposure * np.exp(x @ beta)
        gradient, information = x.T @ (event - mean), (x * mean[:, None]).T @ x
        try:
            step = np.linalg.solve(information, gradient)
        except np.linalg.LinAlgError as error:
            raise ModelError("The columns are collinear in these patients.") from error
        if np.abs(x @ (beta + step) - np.log(count / total)).max() > _MAX_LOG_RATE:
            break
        if float(np.abs(gradient @ step)) < 1e-20 * max(1.0, count) or np.abs(step).max() < 1e-11:
            return np.asarray(beta + step)
        for _ in range(40):
            with np.errstate(over="ignore"):
                new = _loglik(x @ (beta + step), event, exposure)
            if np.isfinite(new) and new >= value - 1e-12 * abs(value):
                break
            step = step / 2
        beta, value = beta + step, new
    raise ModelError("There is no finite estimate: a column separates the events.")

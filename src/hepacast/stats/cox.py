"""Cox regression by Newton's method with step-halving: Efron, Breslow and exact ties.

Sources: Cox DR. J R Stat Soc B 1972;34:187. Efron B. J Am Stat Assoc 1977;72:557. Therneau & Grambsch, Modeling
Survival Data, Springer 2000. R's ``survival`` 3.5 is the frozen truth of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from hepacast.core.formatting import p_value, ratio_with_interval, short
from hepacast.core.records import Record
from hepacast.core.tables import make_table
from hepacast.errors import ModelError
from hepacast.stats.effects import ratio_of
from hepacast.stats.kaplan_meier import check_follow_up

Array = npt.NDArray[np.float64]
Ties = Literal["efron", "breslow", "exact"]
_MAX_STEPS = 60
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class HazardRatio(Record):
    """A coefficient of a Cox model, and its hazard ratio with limits; NaN where there is no estimate."""

    coef: float = float("nan")
    se: float = float("nan")
    z: float = float("nan")
    p: float = float("nan")
    hr: float = float("nan")
    hr_low: float = float("nan")
    hr_high: float = float("nan")

    @property
    def with_limits(self) -> tuple[float, float, float]:
        """Hazard ratio and its limits."""
        return self.hr, self.hr_low, self.hr_high


@dataclass(frozen=True)
class CoxFit:
    """A fitted Cox model.

    Attributes
    ----------
    coef, se
        Shape (p,).
    covariance
        Shape (p, p), inverse of the observed information.
    loglik_null, loglik
        Log partial likelihood at 0 and at the estimate.
    score
        Score test statistic at 0.
    means
        Means of the columns.
    baseline_time, mean_hazard
        Steps of the cumulative baseline hazard of a patient with the means of all columns: that of a patient with
        zeros (`baseline_hazard`) may lie beyond every number where a column lies far from 0.
    status
        ``ok``, or ``diverging`` when a coefficient runs to infinity (separation): then use a penalty.
    partial_loglik
        Log partial likelihood at the estimate where `loglik` is a penalized one (Firth), else None.
    """

    names: tuple[str, ...]
    coef: Array
    covariance: Array
    loglik_null: float
    loglik: float
    score: float
    n: int
    n_events: int
    means: Array
    ties: str
    status: str
    baseline_time: Array
    mean_hazard: Array
    partial_loglik: float | None = None

    @property
    def se(self) -> Array:
        """Standard errors; NaN where a runaway fit has no variance."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(np.diag(self.covariance))

    @property
    def lrt(self) -> tuple[float, int, float]:
        """Likelihood-ratio test: chi-square, degrees of freedom, P."""
        chi2 = 2 * (self.loglik - self.loglik_null)
        return chi2, len(self.coef), float(stats.chi2.sf(chi2, len(self.coef)))

    @property
    def wald(self) -> tuple[float, int, float]:
        """Wald test of all coefficients."""
        chi2 = float(self.coef @ np.linalg.solve(self.covariance, self.coef))
        return chi2, len(self.coef), float(stats.chi2.sf(chi2, len(self.coef)))

    @property
    def aic(self) -> float:
        """Akaike's criterion, of the partial likelihood itself where the fit was penalized."""
        return -2 * (self.loglik if self.partial_loglik is None else self.partial_loglik) + 2 * len(self.coef)

    def linear_predictor(self, x: npt.ArrayLike) -> Array:
        """X beta, not centered."""
        return np.asarray(np.asarray(x, dtype=float) @ self.coef)

    @property
    def baseline_hazard(self) -> Array:
        """Steps of the cumulative baseline hazard at X = 0."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # of runaway fits, and far from 0
            return np.asarray(self.mean_hazard * np.exp(-self.means @ self.coef))

    def cumulative_hazard(self, times: npt.ArrayLike, *, at_means: bool = False) -> Array:
        """Baseline cumulative hazard at X = 0, or at the means of the columns; a step function."""
        hazard = self.mean_hazard if at_means else self.baseline_hazard
        index = np.searchsorted(self.baseline_time, np.asarray(times, dtype=float), side="right") - 1
        return np.where(index >= 0, hazard[np.maximum(index, 0)], 0.0)

    def survival(self, x: npt.ArrayLike, times: npt.ArrayLike) -> Array:
        """Predicted survival, shape (n, len(times))."""
        risk = np.exp((np.asarray(x, dtype=float) - self.means) @ self.coef)
        return np.asarray(np.exp(-np.outer(risk, self.cumulative_hazard(times, at_means=True))))

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """Coefficient, SE, z, P, hazard ratio and its interval by variable."""
        z = self.coef / self.se
        spread = stats.norm.ppf(0.5 + level / 2) * self.se
        return pd.DataFrame(
            {
                "coef": self.coef,
                "se": self.se,
                "z": z,
                "p": 2 * stats.norm.sf(np.abs(z)),
                "hr": ratio_of(self.coef),
                "hr_low": ratio_of(self.coef - spread),
                "hr_high": ratio_of(self.coef + spread),
            },
            index=list(self.names),
        )

    def ratios(self, level: float = 0.95) -> dict[str, HazardRatio]:
        """Coefficients and hazard ratios by variable, with Wald limits."""
        frame = self.to_frame(level)
        return {str(name): HazardRatio(*map(float, row)) for name, row in zip(frame.index, frame.to_numpy())}

    def _repr_html_(self) -> str:
        rows = [
            (name, short(item.coef), short(item.se), ratio_with_interval(*item.with_limits), p_value(item.p))
            for name, item in self.ratios().items()
        ]
        return make_table("", ("Term", "Coefficient", "SE", "HR (95% CI)", "P"), rows).to_html()


def fit_cox(
    x: npt.ArrayLike,
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    names: Sequence[str] | None = None,
    *,
    ties: Ties = "efron",
    ridge: float = 0.0,
) -> CoxFit:
    """Fit a Cox model.

    Parameters
    ----------
    x
        Shape (n, p), finite.
    time, event
        Shape (n,).
    names
        Names of the p columns.
    ties
        Handling of tied event times.
    ridge
        Penalty ridge / 2 * sum(beta^2); a small one answers separation.

    Raises
    ------
    ModelError
        No event, fewer patients than columns, missing values, constant or collinear columns.
    """
    matrix = np.asarray(x, dtype=float)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    times, events = check_follow_up(time, event)
    labels = tuple(names) if names is not None else tuple(f"x{j + 1}" for j in range(matrix.shape[1]))
    _check_design(matrix, times, events, labels)
    means = matrix.mean(axis=0)
    scale = matrix.std(axis=0)
    # Newton works on standardized columns; the estimate is carried back, so that units do not matter.
    data = SortedFollowUp((matrix - means) / scale, times, events)
    likelihood = data.exact if ties == "exact" else lambda beta: data.partial(beta, efron=ties == "efron")
    zero = likelihood(np.zeros(matrix.shape[1]))
    beta, final, status = _newton(likelihood, matrix.shape[1], ridge / scale**2)
    information = final[2] + np.diag(ridge / scale**2)
    covariance = np.linalg.inv(information) / np.outer(scale, scale)
    score = float(zero[1] @ np.linalg.solve(zero[2], zero[1]))
    coef = beta / scale
    base_time, hazard = data.baseline(beta, efron=ties == "efron")
    return CoxFit(
        labels, coef, covariance, zero[0], final[0], score, len(times), int(events.sum()), means, ties, status,
        base_time, hazard,
    )  # fmt: skip


def _check_design(matrix: Array, times: Array, events: Array, names: tuple[str, ...]) -> None:
    if len(matrix) != len(times):
        raise ModelError("Predictors and follow-up differ in length.", found=f"{len(matrix)} and {len(times)}")
    if not np.isfinite(matrix).all():
        bad = [name for name, column in zip(names, matrix.T, strict=True) if not np.isfinite(column).all()]
        raise ModelError("A predictor has missing values.", found=", ".join(bad), remedy="impute or leave out")
    if events.sum() == 0:
        raise ModelError("A Cox model needs events.", found="0 events")
    constant = [name for name, column in zip(names, matrix.T, strict=True) if np.ptp(column) == 0]
    if constant:
        raise ModelError("A predictor is constant.", found=", ".join(constant), remedy="leave it out")
    standard = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    if np.linalg.matrix_rank(standard, tol=1e-9 * len(matrix)) < matrix.shape[1]:
        raise ModelError(
            "The predictors determine each other (collinear).", found=", ".join(names), remedy="leave one out"
        )


def _newton(likelihood, p: int, penalty: Array) -> tuple[Array, tuple[float, Array, Array], str]:  # type: ignore[no-untyped-def]
    beta = np.zeros(p)
    value, gradient, information = likelihood(beta)
    objective = value
    for _ in range(_MAX_STEPS):
        step = np.linalg.solve(information + np.diag(penalty), gradient - penalty * beta)
        for _half in range(30):
            trial = beta + step
            result = likelihood(trial)
            new = result[0] - 0.5 * (penalty * trial**2).sum()
            if np.isfinite(new) and new >= objective - 1e-12 * abs(objective):
                break
            step = step / 2
        change = abs(new - objective)
        beta, objective = trial, new
        value, gradient, information = result
        if change <= _TOLERANCE * (abs(objective) + 1e-9) and np.abs(step).max() < 1e-8:
            return beta, (value, gradient, information), "ok"
        # On standardized columns a coefficient of 15 is a hazard ratio of three million: it is running away.
        if np.abs(beta).max() > 15:
            return beta, (value, gradient, information), "diverging"
    return beta, (value, gradient, information), "ok" if np.abs(step).max() < 1e-4 else "diverging"


@dataclass(frozen=True)
class _DeathTerms:
    """By death: weighted count and mean of the covariates in its risk set, and the share of the deaths tied with it
    that have left the set before."""

    a0: Array
    mean: Array
    share: Array


class SortedFollowUp:
    """The data by falling time, with the tied deaths of every event time."""

    def __init__(self, x: Array, time: Array, event: Array) -> None:
        order = np.argsort(-time, kind="stable")
        self.x, self.time, self.event = x[order], time[order], event[order]
        self.deaths = np.unique(time[event == 1])[::-1]
        #: Patients at risk at each event time are the first `end` ones.
        self.end = np.searchsorted(-self.time, -self.deaths, side="right")
        self.dead = [np.flatnonzero((self.time == t) & (self.event == 1)) for t in self.deaths]
        counts = np.array([len(rows) for rows in self.dead])
        #: All deaths, event time by event time; where each time begins; the time that each death belongs to.
        self.dead_rows = np.concatenate(self.dead)
        self.first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self.of_time = np.repeat(np.arange(len(counts)), counts)
        self.tie_share = (np.arange(len(self.dead_rows)) - self.first[self.of_time]) / counts[self.of_time]

    def partial(self, beta: Array, *, efron: bool) -> tuple[float, Array, Array]:
        """Log partial likelihood, gradient and information."""
        eta = self.x @ beta
        shift = eta.max()
        w = np.exp(eta - shift)
        terms = self._terms(w, efron)
        with np.errstate(divide="ignore"):
            value = float((eta[self.dead_rows] - shift).sum() - np.log(terms.a0).sum())
        gradient = self.x[self.dead_rows].sum(axis=0) - terms.mean.sum(axis=0)
        return value, gradient, self._information(w, terms)

    def _information(self, w: Array, terms: _DeathTerms) -> Array:
        """Sum of the covariates' variances over the risk sets.

        Second moments are added up patient by patient and not death by death: a patient's outer product counts by the
        hazard that passed while the patient was at risk.
        """
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # see `_terms`
            each = 1.0 / terms.a0
            jumps = np.zeros(len(w))
            jumps[self.end - 1] = np.add.reduceat(each, self.first)
            passed = np.cumsum(jumps[::-1])[::-1]
            passed[self.dead_rows] -= np.add.reduceat(terms.share * each, self.first)[self.of_time]
            return np.asarray((self.x * (w * passed)[:, None]).T @ self.x - terms.mean.T @ terms.mean)

    def _terms(self, w: Array, efron: bool) -> _DeathTerms:
        """Sums over the risk set of every death; with Efron's method tied deaths leave it by and by."""
        share = self.tie_share if efron else np.zeros(len(self.tie_share))
        a0 = self._over_risk_sets(w, share)
        # A step that goes much too far empties a risk set (0 / 0); Newton's iteration refuses such a step.
        with np.errstate(divide="ignore", invalid="ignore"):
            return _DeathTerms(a0, self._over_risk_sets(w[:, None] * self.x, share) / a0[:, None], share)

    def _over_risk_sets(self, values: Array, share: Array) -> Array:
        """Sum of patients' values over the risk set of every death."""
        own = np.add.reduceat(values[self.dead_rows], self.first)[self.of_time]
        left = share.reshape(-1, *(1 for _ in values.shape[1:])) * own
        return np.asarray(np.cumsum(values, axis=0)[self.end[self.of_time] - 1] - left)

    def exact(self, beta: Array) -> tuple[float, Array, Array]:
        """Exact partial likelihood: sums over all subsets of the risk set, by recursion (Gail, Lubin & Rubinstein,
        Biometrika 1981;68:703)."""
        eta = self.x @ beta
        shift = eta.max()
        w = np.exp(eta - shift)
        p = len(beta)
        value, gradient, information = 0.0, np.zeros(p), np.zeros((p, p))
        for end, dead in zip(self.end, self.dead, strict=True):
            d = len(dead)
            b0, b1, b2 = np.zeros(d + 1), np.zeros((d + 1, p)), np.zeros((d + 1, p, p))
            b0[0] = 1.0
            for i in range(end):
                x = self.x[i]
                # Highest order first, since each one builds on the one below before this patient was added.
                new0, new1, new2 = b0[:-1] * w[i], b1[:-1] * w[i], b2[:-1] * w[i]
                cross = new1[:, :, None] * x
                b2[1:] += new2 + cross + cross.transpose(0, 2, 1) + new0[:, None, None] * np.outer(x, x)
                b1[1:] += new1 + new0[:, None] * x
                b0[1:] += new0
            value += float((eta[dead] - shift).sum() - np.log(b0[d]))
            mean = b1[d] / b0[d]
            gradient += self.x[dead].sum(axis=0) - mean
            information += b2[d] / b0[d] - np.outer(mean, mean)
        return value, gradient, information

    def baseline(self, beta: Array, *, efron: bool) -> tuple[Array, Array]:
        """Times and cumulative baseline hazard for the means of the columns.

        Coefficients that run away (separation) give 0 or infinity here, and no warning: the fit's status tells.
        """
        eta = self.x @ beta
        shift = eta.max()
        terms = self._terms(np.exp(eta - shift), efron)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            jumps = np.add.reduceat(np.exp(-shift) / terms.a0, self.first)
        return self.deaths[::-1].copy(), np.cumsum(jumps[::-1])

    def event_moments(self, beta: Array, *, efron: bool) -> list[tuple[float, Array, Array]]:
        """By event time: time, Schoenfeld residual (summed over deaths) and information."""
        eta = self.x @ beta
        w = np.exp(eta - eta.max())  # the means and moments do not see the shift
        terms = self._terms(w, efron)
        second = self._over_risk_sets(w[:, None, None] * self.x[:, :, None] * self.x[:, None, :], terms.share)
        with np.errstate(divide="ignore", invalid="ignore"):  # a runaway fit empties risk sets; its status tells
            blocks = second / terms.a0[:, None, None] - terms.mean[:, :, None] * terms.mean[:, None, :]
        information = np.add.reduceat(blocks, self.first)
        residual = np.add.reduceat(self.x[self.dead_rows] - terms.mean, self.first)
        rows = zip(self.deaths, residual, information, strict=True)
        return [(float(t), value, block) for t, value, block in rows][::-1]

"""Cox regression by Firth's penalized likelihood: finite estimates where a predictor separates the events.

Sources: Firth D. Biometrika 1993;80:27-38. Heinze G, Schemper M. Biometrics 2001;57:114-119 (R package coxphf).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from hepacast.errors import ModelError
from hepacast.stats.cox import CoxFit, SortedFollowUp, _check_design
from hepacast.stats.kaplan_meier import check_follow_up

Array = npt.NDArray[np.float64]
_STEP = 1e-4
_MAX_STEPS = 100


@dataclass(frozen=True)
class FirthCox:
    """A penalized fit.

    Attributes
    ----------
    fit
        Coefficients, covariance (inverse of the information at the estimate), baseline; ``loglik`` is penalized.
    p_values
        Of each coefficient, by the penalized likelihood-ratio test: Wald's test is of no use under separation.
    """

    fit: CoxFit
    p_values: Array


def fit_cox_firth(
    x: npt.ArrayLike, time: npt.ArrayLike, event: npt.ArrayLike, names: Sequence[str] | None = None
) -> FirthCox:
    """Maximize the partial log likelihood (Breslow's for ties, as coxphf) + log det(information) / 2.

    Parameters
    ----------
    x
        Shape (n, p), finite.
    time, event
        Shape (n,).

    Raises
    ------
    ModelError
        No event, constant or collinear columns, or no maximum was found.
    """
    matrix = np.asarray(x, dtype=float)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    times, events = check_follow_up(time, event)
    labels = tuple(names) if names is not None else tuple(f"x{j + 1}" for j in range(matrix.shape[1]))
    _check_design(matrix, times, events, labels)
    means, scale = matrix.mean(axis=0), matrix.std(axis=0)
    data = SortedFollowUp((matrix - means) / scale, times, events)
    p = matrix.shape[1]
    beta, value, information, converged = _maximize(data, np.ones(p, dtype=bool))
    if not converged:
        raise ModelError("Firth's penalized Cox model did not converge.", remedy="use fewer predictors")
    null_value = _penalized(data, np.zeros(p))[0]
    tests = np.empty(p)
    for j in range(p):
        free = np.ones(p, dtype=bool)
        free[j] = False
        _, smaller, _, found = _maximize(data, free)
        tests[j] = stats.chi2.sf(max(0.0, 2 * (value - smaller)), 1) if found else np.nan
    coef = beta / scale
    base_time, hazard = data.baseline(beta, efron=False)
    covariance = np.linalg.inv(information) / np.outer(scale, scale)
    fit = CoxFit(
        labels,
        coef,
        covariance,
        null_value,
        value,
        float("nan"),
        len(times),
        int(events.sum()),
        means,
        "breslow",
        "ok",
        base_time,
        hazard,
        partial_loglik=data.partial(beta, efron=False)[0],
    )
    return FirthCox(fit, tests)


def _penalized(data: SortedFollowUp, beta: Array) -> tuple[float, Array, Array]:
    """Penalized log likelihood, unpenalized gradient, information."""
    value, gradient, information = data.partial(beta, efron=False)
    sign, determinant = np.linalg.slogdet(information)
    return (value + 0.5 * determinant if sign > 0 else -np.inf), gradient, information


def _maximize(data: SortedFollowUp, free: npt.NDArray[np.bool_]) -> tuple[Array, float, Array, bool]:
    """Newton's method on the free coefficients: estimate, penalized log likelihood, information, converged.

    The penalty's gradient comes from central differences of the information, so the decrement (the squared step in
    standard errors) that counts as converged is that of 1e-3 standard errors.
    """
    beta = np.zeros(len(free))
    value, gradient, information = _penalized(data, beta)
    if not free.any():
        return beta, value, information, True
    where = [int(j) for j in np.flatnonzero(free)]
    decrement = np.inf
    for _ in range(_MAX_STEPS):
        score = gradient[where] + np.array([_penalty_slope(data, beta, j) for j in where])
        step = np.zeros(len(free))
        step[where] = np.linalg.solve(information[np.ix_(where, where)], score)
        decrement = float(score @ step[where])
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        for _half in range(30):
            trial = _penalized(data, beta + step)
            if np.isfinite(trial[0]) and trial[0] >= value - 1e-12 * abs(value):
                break
            step = step / 2
        else:
            break
        beta = beta + step
        value, gradient, information = trial
        if decrement < 1e-13:
            break
    return beta, value, information, bool(decrement < 1e-6)


def _penalty_slope(data: SortedFollowUp, beta: Array, j: int) -> float:
    ahead, behind = beta.copy(), beta.copy()
    ahead[j] += _STEP
    behind[j] -= _STEP
    high = np.linalg.slogdet(data.partial(ahead, efron=False)[2])[1]
    low = np.linalg.slogdet(data.partial(behind, efron=False)[2])[1]
    return float((high - low) / (4 * _STEP))

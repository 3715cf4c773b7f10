"""Ridge regression for risk models of few, named predictors: logistic and Cox, the penalty by marginal likelihood.

Each coefficient of a standardized column has a normal prior around 0; its variance, one for all, is the one under which
the data are most probable (Laplace's approximation of the marginal likelihood, as mgcv's ``method = "ML"``). No folds
and no random numbers are needed, and where no variance beats 0 the answer is that nothing was found.

Sources: Hoerl AE, Kennard RW. Technometrics 1970;12:55. le Cessie S, van Houwelingen JC. Appl Stat 1992;41:191.
Verweij PJM, van Houwelingen HC. Stat Med 1994;13:2427 (Cox). Wood SN. J R Stat Soc B 2011;73:3 (marginal likelihood).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from hepacast.errors import ModelError
from hepacast.stats.competing_risks import Subdistribution
from hepacast.stats.cox import SortedFollowUp
from hepacast.stats.irls import log_likelihood

Array = NDArray[np.float64]
#: Value, gradient and information of a log-likelihood.
Likelihood = Callable[[Array], tuple[float, Array, Array]]

#: Penalties tried: prior standard deviations of a coefficient per SD from 0.01 to 10, each a factor 1.26 apart.
PENALTIES: Array = 10.0 ** np.arange(4.0, -2.01, -0.2)


@dataclass(frozen=True)
class RidgeFit:
    """A fitted ridge regression.

    Attributes
    ----------
    coef
        Of the columns as given, shape (p,).
    intercept
        0 of a Cox model.
    covariance
        Of intercept and coefficients given the data and the prior, shape (p + 1, p + 1); limits made of it are those
        of a shrunk estimate. The intercept's row is 0 in a Cox model.
    penalty
        Half of it times the sum of the squared standardized coefficients is taken from the log-likelihood; infinite
        where nothing was found, and all coefficients are 0.
    df
        Effective degrees of freedom, the intercept aside.
    loglik
        Log-likelihood (of Cox models: partial) at the estimate, without the penalty.
    gain
        Logarithm of the marginal likelihood above that without predictors.
    """

    coef: Array
    intercept: float
    covariance: Array
    penalty: float
    df: float
    loglik: float
    gain: float

    @property
    def found(self) -> bool:
        """Whether the predictors tell more than none."""
        return bool(np.isfinite(self.penalty))

    @property
    def beta(self) -> Array:
        """Intercept and coefficients, shape (p + 1,)."""
        return np.concatenate([[self.intercept], self.coef])

    @property
    def note(self) -> str:
        """What was done, in words."""
        return (
            f"ridge regression: penalty {self.penalty:.3g} by marginal likelihood, {self.df:.1f} effective degrees of "
            "freedom of the coefficients, which are shrunk and have no P"
        )


def ridge_logistic(x: ArrayLike, y: ArrayLike, *, weights: ArrayLike | None = None) -> RidgeFit:
    """Ridge logistic regression, the intercept not penalized.

    Parameters
    ----------
    x
        Shape (n, p), finite, no constant column.
    y
        0 or 1, shape (n,), both present.
    weights
        Case weights >= 0; they should sum to the number of patients.
    """
    matrix, means, scale = _standardized(x)
    outcome = np.asarray(y, dtype=float)
    w = np.ones(len(outcome)) if weights is None else np.asarray(weights, dtype=float)
    design = np.column_stack([np.ones(len(outcome)), matrix])
    sign = 2.0 * outcome - 1.0

    def likelihood(beta: Array) -> tuple[float, Array, Array]:
        eta = design @ beta
        risk = expit(eta)
        information = (design * (w * risk * (1.0 - risk))[:, None]).T @ design
        return log_likelihood(eta, sign, w), design.T @ (w * (outcome - risk)), information

    rate = float(w @ outcome / w.sum())
    start = np.zeros(design.shape[1])
    start[0] = np.log(rate / (1.0 - rate))
    fit = _most_probable(likelihood, start, free=1)
    # From standardized columns to the columns as given: beta = M gamma.
    back = np.eye(len(start))
    back[1:, 1:] = np.diag(1.0 / scale)
    back[0, 1:] = -means / scale
    return replace(
        fit,
        coef=fit.coef / scale,
        intercept=fit.intercept - float(fit.coef @ (means / scale)),
        covariance=back @ fit.covariance @ back.T,
    )


def ridge_cox(x: ArrayLike, time: ArrayLike, code: ArrayLike) -> RidgeFit:
    """Ridge Cox regression, ties by Efron's method; where codes of 2 compete, Fine and Gray's of the subdistribution.

    Parameters
    ----------
    x
        Shape (n, p), finite, no constant column.
    time, code
        Follow-up, and 0, 1 (event) or 2 (competing event), shape (n,).
    """
    matrix, _, scale = _standardized(x)
    times, codes = np.asarray(time, dtype=float), np.asarray(code, dtype=float)
    if not (codes == 1).any():
        raise ModelError("A Cox model needs events.", found="0 events")
    if (codes == 2).any():
        likelihood = Subdistribution(matrix, times, codes).likelihood
    else:
        data = SortedFollowUp(matrix, times, codes)

        def likelihood(beta: Array) -> tuple[float, Array, Array]:
            return data.partial(beta, efron=True)

    fit = _most_probable(likelihood, np.zeros(matrix.shape[1]), free=0)
    covariance = np.zeros((len(scale) + 1, len(scale) + 1))
    covariance[1:, 1:] = fit.covariance / np.outer(scale, scale)
    return replace(fit, coef=fit.coef / scale, covariance=covariance)


def _standardized(x: ArrayLike) -> tuple[Array, Array, Array]:
    matrix = np.asarray(x, dtype=float)
    means, scale = matrix.mean(axis=0), matrix.std(axis=0)
    if not np.isfinite(matrix).all() or (scale == 0).any():
        raise ModelError(
            "A ridge regression needs predictors that are known and vary.",
            found=f"{int((~np.isfinite(matrix)).any(axis=0).sum())} with gaps, {int((scale == 0).sum())} constant",
        )
    return (matrix - means) / scale, means, scale


def _most_probable(likelihood: Likelihood, start: Array, free: int) -> RidgeFit:
    """The penalty of the largest marginal likelihood; the first `free` coefficients carry none."""
    penalized = len(start) - free
    null = likelihood(start)
    # Evidence without predictors: only what is free remains to be integrated over.
    none = null[0] - 0.5 * _log_det(null[2][:free, :free])
    best: tuple[float, float, Array] | None = None
    beta = start
    for penalty in PENALTIES:
        beta = _maximized(likelihood, beta, _diagonal(len(start), free, penalty))
        gain = _evidence(likelihood, beta, free, penalty) - none
        if best is None or gain > best[0]:
            best = (gain, float(penalty), beta)
    assert best is not None
    gain, penalty, beta = best
    if gain <= 0.0 or not penalized:
        covariance = np.zeros((len(start), len(start)))
        covariance[:free, :free] = np.linalg.inv(null[2][:free, :free])
        return _fit(start, covariance, free, np.inf, 0.0, null[0], 0.0)
    value, _, information = likelihood(beta)
    posterior = np.asarray(np.linalg.inv(information + np.diag(_diagonal(len(start), free, penalty))), dtype=float)
    df = float(np.trace(posterior @ information)) - free
    return _fit(beta, posterior, free, penalty, df, value, gain)


def _fit(beta: Array, covariance: Array, free: int, penalty: float, df: float, value: float, gain: float) -> RidgeFit:
    return RidgeFit(beta[free:], float(beta[0]) if free else 0.0, covariance, penalty, df, value, gain)


def _diagonal(size: int, free: int, penalty: float) -> Array:
    return np.concatenate([np.zeros(free), np.full(size - free, penalty)])


def _log_det(matrix: Array) -> float:
    return float(np.linalg.slogdet(matrix)[1]) if matrix.size else 0.0


def _evidence(likelihood: Likelihood, beta: Array, free: int, penalty: float) -> float:
    value, _, information = likelihood(beta)
    prior = _diagonal(len(beta), free, penalty)
    return (
        value
        - 0.5 * float(prior @ beta**2)
        + 0.5 * (len(beta) - free) * float(np.log(penalty))
        - 0.5 * _log_det(information + np.diag(prior))
    )


def _maximized(likelihood: Likelihood, start: Array, prior: Array) -> Array:
    """Newton's method with step-halving; a proper prior makes the maximum unique and finite."""
    beta = start
    value, gradient, information = likelihood(beta)
    objective = value - 0.5 * float(prior @ beta**2)
    for _ in range(100):
        slope = gradient - prior * beta
        step = np.linalg.solve(information + np.diag(prior), slope)
        decrement = float(slope @ step)
        for _half in range(40):
            trial = beta + step
            result = likelihood(trial)
            new = result[0] - 0.5 * float(prior @ trial**2)
            if np.isfinite(new) and new >= objective - 1e-13 * (abs(objective) + 1.0):
                break
            step = step / 2.0
        beta, objective = trial, new
        value, gradient, information = result
        if decrement < 1e-16:
            break
    return beta

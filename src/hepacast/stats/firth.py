"""Firth's penalized logistic regression: finite estimates when the data are separated, less bias in small samples.

The log-likelihood is penalized by Jeffreys' prior, l*(b) = l(b) + 1/2 log |I(b)|. Limits and P values come from the
profile of the penalized likelihood, since Wald's are poor exactly where Firth's method is needed.

References
----------
Firth D. Bias reduction of maximum likelihood estimates. Biometrika 1993;80:27-38.
Heinze G, Schemper M. A solution to the problem of separation in logistic regression. Stat Med 2002;21:2409-19.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import chi2, norm

from hepacast.stats.design import Array
from hepacast.stats.irls import dependent_columns, log_likelihood
from hepacast.stats.logistic import prepared, singular_reason
from hepacast.stats.logistic_fit import Interval, LogisticFit
from hepacast.stats.profile import root_outwards


@dataclass(frozen=True)
class _Penalized:
    beta: Array
    loglik: float
    covariance: Array
    iterations: int
    converged: bool


def _state(design: Array, beta: Array, y: Array, weights: Array, offset: Array) -> tuple[float, Array, Array]:
    """Penalized log-likelihood, its score, and R of the weighted design, at `beta`."""
    eta = offset + design @ beta
    risk = expit(eta)
    root = np.sqrt(weights * risk * expit(-eta))
    q, r = np.linalg.qr(design * root[:, None])
    diagonal = np.abs(np.diag(r))
    if not diagonal.min() > 0.0:
        return -np.inf, np.zeros(len(beta)), r
    loglik = log_likelihood(eta, 2.0 * y - 1.0, weights) + float(np.log(diagonal).sum())
    leverage = np.einsum("ij,ij->i", q, q)
    return loglik, design.T @ (weights * (y - risk) + leverage * (0.5 - risk)), r


def _maximize(
    design: Array,
    y: Array,
    weights: Array,
    offset: Array,
    *,
    start: Array | None = None,
    free: NDArray[np.bool_] | None = None,
    max_iter: int = 1000,
) -> _Penalized:
    """Fisher scoring on the modified score; coefficients that are not `free` stay at `start`.

    The penalty always belongs to the whole design, as in R's `logistf`, so that restricted fits can be compared.
    """
    scale = np.sqrt(np.mean(design**2, axis=0))
    scaled = design / scale
    beta = np.zeros(design.shape[1]) if start is None else start * scale
    moving = np.ones(design.shape[1], dtype=bool) if free is None else free
    loglik, score, r = _state(scaled, beta, y, weights, offset)
    iterations, converged = 0, not moving.any()
    while not converged and iterations < max_iter:
        iterations += 1
        if moving.all():
            factor = r
        else:
            factor = np.linalg.qr(r[:, moving])[1]
        half = np.linalg.solve(factor.T, score[moving])
        step = np.zeros(len(beta))
        step[moving] = np.linalg.solve(factor, half)
        # One long step on a flat penalized likelihood can leave the region where the quadratic model holds.
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        for _ in range(40):
            new, new_score, new_r = _state(scaled, beta + step, y, weights, offset)
            if new >= loglik - 1e-13 * (abs(loglik) + 1.0):
                break
            step /= 2.0
        else:
            break
        beta, loglik, score, r = beta + step, new, new_score, new_r
        converged = float(half @ half) < 1e-22
    # The log-determinant was taken of the scaled design: put the scale back.
    loglik += float(np.log(scale).sum())
    inverse = np.linalg.inv(r) if np.isfinite(loglik) else np.full((len(beta),) * 2, np.nan)
    return _Penalized(beta / scale, loglik, inverse @ inverse.T / np.outer(scale, scale), iterations, converged)


@dataclass(frozen=True, repr=False)
class FirthFit(LogisticFit):
    """A Firth fit: as `LogisticFit`, but limits and P values are those of the penalized profile likelihood."""

    method: str = "firth"

    def ci(self, level: float = 0.95, *, method: Interval | None = None) -> Array:
        """Penalized profile limits by default, or `wald`; shape (p + 1, 2)."""
        return super().ci(level, method=method or "profile")

    @cached_property
    def p_values(self) -> Array:  # type: ignore[override]
        """P of the penalized likelihood-ratio test of each coefficient."""
        if not self.ok:
            return np.full(len(self.beta), np.nan)
        design = np.column_stack([np.ones(self.n), self.x])
        p = np.empty(len(self.beta))
        for index in range(len(self.beta)):
            free = np.arange(len(self.beta)) != index
            start = np.where(free, self.beta, 0.0)
            restricted = _maximize(design, self.y, self.weights, self.offset, start=start, free=free)
            p[index] = chi2.sf(max(2.0 * (self.loglik - restricted.loglik), 0.0), 1)
        return p

    @property
    def wald_p_values(self) -> Array:
        """Two-sided Wald P values."""
        return 2.0 * norm.sf(np.abs(self.z))


def fit_firth(
    x: ArrayLike,
    y: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    weights: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> FirthFit:
    """Firth's penalized logistic regression; parameters as in `fit_logistic`.

    Returns
    -------
    FirthFit
        With `loglik` and `loglik_null` penalized (the null model under the whole model's penalty, as in `logistf`).
        `status` is `ok`, `singular` or `not_converged`; separated data are no obstacle.

    Raises
    ------
    OutcomeError, ModelError
        As `fit_logistic`.
    """
    outcome, matrix, labels, case, known = prepared(x, y, names, weights, offset)
    design = np.column_stack([np.ones(len(outcome)), matrix])
    dependent = dependent_columns(design)
    if dependent:
        return FirthFit.failed("singular", singular_reason(dependent, design, labels), labels, outcome, matrix)
    fit = _maximize(design, outcome, case, known)
    if not fit.converged:
        reason = f"no convergence in {fit.iterations} iterations"
        return FirthFit.failed("not_converged", reason, labels, outcome, matrix)
    intercept_only = np.zeros(design.shape[1], dtype=bool)
    intercept_only[0] = True
    null = _maximize(design, outcome, case, known, free=intercept_only)
    return FirthFit(
        names=labels,
        beta=fit.beta,
        covariance=fit.covariance,
        loglik=fit.loglik,
        loglik_null=null.loglik,
        iterations=fit.iterations,
        status="ok",
        reason="",
        y=outcome,
        x=matrix,
        weights=case,
        offset=known,
    )


def firth_profile_interval(fit: LogisticFit, level: float = 0.95) -> Array:
    """Limits of the penalized profile likelihood, shape (p + 1, 2); infinite on a side that never falls that far."""
    design = np.column_stack([np.ones(fit.n), fit.x])
    cutoff = float(np.sqrt(chi2.ppf(level, 1)))
    limits = np.empty((len(fit.beta), 2))
    for index in range(len(fit.beta)):
        free = np.arange(len(fit.beta)) != index
        for side, sign in enumerate((-1.0, 1.0)):
            path = _PenalizedPath(fit, design, free)
            limits[index, side] = root_outwards(path, float(fit.beta[index]), float(fit.se[index]), sign, cutoff)
    return limits


class _PenalizedPath:
    """Signed root of the penalized deviance difference along one coefficient, each fit starting from the last."""

    def __init__(self, fit: LogisticFit, design: Array, free: NDArray[np.bool_]) -> None:
        self.fit, self.design, self.free = fit, design, free
        self.beta = fit.beta.copy()

    def __call__(self, value: float) -> float:
        start = np.where(self.free, self.beta, value)
        restricted = _maximize(self.design, self.fit.y, self.fit.weights, self.fit.offset, start=start, free=self.free)
        self.beta = restricted.beta
        center = self.fit.beta[~self.free][0]
        difference = max(2.0 * (self.fit.loglik - restricted.loglik), 0.0)
        return float(np.sign(value - center) * np.sqrt(difference))

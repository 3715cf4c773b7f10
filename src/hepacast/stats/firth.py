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
from functools import cached_property, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import chi2, norm

from hepacast.stats.design import Array
from hepacast.stats.irls import dependent_columns, log_likelihood
from hepacast.stats.logistic import null_loglik, prepared, singular_reason
from hepacast.stats.logistic_fit import Interval, LogisticFit
from hepacast.stats.profile import Centered, RestrictedPath

#: A maximization ends, not converged, after so many steps without a higher likelihood or a smaller score.
_IDLE = 20


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
    least, idle = np.inf, 0
    # Where rounding is larger than what convergence asks for (an intercept far from the data), nothing gets better.
    while not converged and iterations < max_iter and idle < _IDLE:
        iterations += 1
        if moving.all():
            factor = r
        else:
            factor = np.asarray(np.linalg.qr(r[:, moving], mode="r"))
        half = np.linalg.solve(factor.T, score[moving])
        step = np.zeros(len(beta))
        step[moving] = np.linalg.solve(factor, half)
        # One long step on a flat penalized likelihood can leave the region where the quadratic model holds.
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        for _ in range(40):
            new, new_score, new_r = _state(scaled, beta + step, y, weights, offset)
            # A row that alone determines a coefficient has leverage 1: its step is twice Newton's, to the mirror
            # image of where it began, as likely and no nearer to the maximum.
            mirrored = float(new_score @ step) < -0.9 * float(score @ step)
            if new >= loglik - 1e-13 * (abs(loglik) + 1.0) and not mirrored:
                break
            step /= 2.0
        else:
            break
        left = float(half @ half)
        better = left < least or new > loglik + 1e-13 * (abs(loglik) + 1.0)
        least, idle = min(left, least), 0 if better else idle + 1
        beta, loglik, score, r = beta + step, new, new_score, new_r
        converged = left < 1e-22
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
        return super().ci(level, method="wald" if method == "wald" else "exact")

    def path(self, index: int) -> RestrictedPath:
        """Along one coefficient of the penalized likelihood."""
        return _PenalizedPath(self, index)

    @cached_property
    def p_values(self) -> Array:  # type: ignore[override]
        """P of the penalized likelihood-ratio test of each coefficient (NaN where a restricted fit has no maximum)."""
        if not self.ok:
            return np.full(len(self.beta), np.nan)
        losses = [2.0 * (self.loglik - _PenalizedPath(self, index).loglik(0.0)) for index in range(len(self.beta))]
        return np.asarray(chi2.sf(np.maximum(losses, 0.0), 1))

    def term_p(self, columns: Sequence[int]) -> float:
        """As `LogisticFit.term_p`, of the penalized likelihood: the penalty stays that of the whole design."""
        if not self.ok:
            return float("nan")
        if len(columns) == 1:
            return float(self.p_values[columns[0] + 1])
        free = np.ones(len(self.beta), dtype=bool)
        free[np.asarray(columns) + 1] = False
        smaller = _maximize(Centered(self).design, self.y, self.weights, self.offset, free=free)
        if not smaller.converged:
            return float("nan")
        return float(chi2.sf(max(2.0 * (self.loglik - smaller.loglik), 0.0), len(columns)))

    @cached_property
    def unpenalized_loglik(self) -> float:
        """Log-likelihood, without the penalty, at the penalized estimate: that of the fitted risks."""
        return log_likelihood(self.offset + self.beta[0] + self.x @ self.beta[1:], 2.0 * self.y - 1.0, self.weights)

    @cached_property
    def unpenalized_loglik_null(self) -> float:
        """Maximized log-likelihood of the intercept alone, without a penalty."""
        return null_loglik(self.y, self.weights, self.offset)

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
    dependent = dependent_columns(np.column_stack([np.ones(len(outcome)), matrix]))
    if dependent:
        design = np.column_stack([np.ones(len(outcome)), matrix])
        return FirthFit.failed("singular", singular_reason(dependent, design, labels), labels, outcome, matrix)
    means = np.average(matrix, axis=0, weights=case)
    design = np.column_stack([np.ones(len(outcome)), matrix - means])
    fit = _maximize(design, outcome, case, known)
    if not fit.converged:
        reason = f"no convergence in {fit.iterations} iterations"
        return FirthFit.failed("not_converged", reason, labels, outcome, matrix)
    back = np.eye(design.shape[1])
    back[0, 1:] = -means  # the intercept of a patient with zeros
    return FirthFit(
        names=labels,
        beta=back @ fit.beta,
        covariance=back @ fit.covariance @ back.T,
        loglik=fit.loglik,
        null=partial(_null_loglik, design, outcome, case, known),
        iterations=fit.iterations,
        status="ok",
        reason="",
        y=outcome,
        x=matrix,
        weights=case,
        offset=known,
    )


def _null_loglik(design: Array, y: Array, weights: Array, offset: Array) -> float:
    """Of the intercept alone, under the whole model's penalty."""
    intercept_only = np.arange(design.shape[1]) == 0
    null = _maximize(design, y, weights, offset, free=intercept_only)
    return null.loglik if null.converged else float("nan")


class _PenalizedPath(RestrictedPath):
    """Along one coefficient of the penalized likelihood."""

    def restricted(self, value: float, start: Array) -> tuple[float, Array, bool]:
        free = np.arange(len(self.fit.beta)) != self.index
        whole = np.insert(start, self.index, value)
        found = _maximize(self.design, self.fit.y, self.fit.weights, self.fit.offset, start=whole, free=free)
        return found.loglik, found.beta[free], found.converged

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
#: Newton's method takes over where the score's squared length, in units of its standard errors, is below this.
_NEAR = 0.1
#: Most products of two columns that it takes.
_MOST_PRODUCTS = 10_000_000


@dataclass(frozen=True)
class _Penalized:
    beta: Array
    loglik: float
    covariance: Array
    iterations: int
    converged: bool


@dataclass(frozen=True)
class _State:
    """At one estimate: penalized log-likelihood, its score, and what its derivatives are made of.

    Parameters
    ----------
    q, r
        Factors of the design, whose rows are weighted by the roots of the binomial variances.
    risk
        Probabilities of the event.
    """

    loglik: float
    score: Array
    q: Array
    r: Array
    risk: Array

    def curvature(self, design: Array) -> Array:
        """Minus the derivative of the score.

        That of the leverages h_i is (1 - 2 p_i) h_i x_i - sum_j (1 - 2 p_j) H_ij^2 x_j with the hat matrix H = q q',
        and H_ij^2 is the product of rows i and j of all products of two columns of q.
        """
        n, columns = self.q.shape
        products = (self.q[:, :, None] * self.q[:, None, :]).reshape(n, columns**2)
        leverage = products[:, :: columns + 1].sum(axis=1)
        pull, slope = 0.5 - self.risk, 1.0 - 2.0 * self.risk
        own = leverage * (self.risk * (1.0 - self.risk) - pull * slope)
        across = (products.T @ (pull[:, None] * design)).T @ (products.T @ (slope[:, None] * design))
        return np.asarray(self.r.T @ self.r + design.T @ (own[:, None] * design) + across)


def _state(design: Array, beta: Array, y: Array, weights: Array, offset: Array) -> _State:
    eta = offset + design @ beta
    risk = expit(eta)
    root = np.sqrt(weights * risk * expit(-eta))
    q, r = np.linalg.qr(design * root[:, None])
    diagonal = np.abs(np.diag(r))
    if not diagonal.min() > 0.0:
        return _State(-np.inf, np.zeros(len(beta)), q, r, risk)
    loglik = log_likelihood(eta, 2.0 * y - 1.0, weights) + float(np.log(diagonal).sum())
    leverage = np.einsum("ij,ij->i", q, q)
    score = design.T @ (weights * (y - risk) + leverage * (0.5 - risk))
    return _State(loglik, score, q, r, risk)


def _slack(state: _State) -> float:
    """Differences of the likelihood that are rounding."""
    return 1e-13 * (abs(state.loglik) + 1.0)


def _newton(now: _State, design: Array, moving: NDArray[np.bool_], factor: Array, half: Array) -> Array:
    """Newton's step of the moving coefficients; that of Fisher scoring where the likelihood is not concave.

    And where the design is so large that many steps of scoring cost less memory, and hardly more time.
    """
    if now.q.size * now.q.shape[1] > _MOST_PRODUCTS:
        return np.asarray(np.linalg.solve(factor, half))
    try:
        lower = np.linalg.cholesky(now.curvature(design)[np.ix_(moving, moving)])
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.solve(factor, half))
    return np.asarray(np.linalg.solve(lower.T, np.linalg.solve(lower, now.score[moving])))


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
    """Fisher scoring on the modified score, near the maximum Newton's method; what is not `free` stays at `start`.

    The penalty always belongs to the whole design, as in R's `logistf`, so that restricted fits can be compared.
    """
    scale = np.sqrt(np.mean(design**2, axis=0))
    scaled = design / scale
    beta = np.zeros(design.shape[1]) if start is None else start * scale
    moving = np.ones(design.shape[1], dtype=bool) if free is None else free
    now = _state(scaled, beta, y, weights, offset)
    iterations, converged = 0, not moving.any()
    least, idle = np.inf, 0
    # Where rounding is larger than what convergence asks for (an intercept far from the data), nothing gets better.
    while not converged and iterations < max_iter and idle < _IDLE:
        iterations += 1
        factor = now.r if moving.all() else np.asarray(np.linalg.qr(now.r[:, moving], mode="r"))
        half = np.linalg.solve(factor.T, now.score[moving])
        left = float(half @ half)
        step = np.zeros(len(beta))
        step[moving] = np.linalg.solve(factor, half) if left > _NEAR else _newton(now, scaled, moving, factor, half)
        # One long step on a flat penalized likelihood can leave the region where the quadratic model holds.
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        for _ in range(40):
            new = _state(scaled, beta + step, y, weights, offset)
            # A row that alone determines a coefficient has leverage 1: its step is twice Newton's, to the mirror
            # image of where it began, as likely and no nearer to the maximum.
            mirrored = float(new.score @ step) < -0.9 * float(now.score @ step)
            if new.loglik >= now.loglik - _slack(now) and not mirrored:
                break
            step /= 2.0
        else:
            break
        better = left < least or new.loglik > now.loglik + _slack(now)
        least, idle = min(left, least), 0 if better else idle + 1
        beta, now = beta + step, new
        converged = left < 1e-22
    # The log-determinant was taken of the scaled design: put the scale back.
    loglik = now.loglik + float(np.log(scale).sum())
    inverse = np.linalg.inv(now.r) if np.isfinite(loglik) else np.full((len(beta),) * 2, np.nan)
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

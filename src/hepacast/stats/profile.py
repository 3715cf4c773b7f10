"""Profile-likelihood confidence limits of logistic coefficients, exact and as R approximates them.

The penalized likelihood of Firth's fit is followed along its coefficients in the same way (`stats.firth`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from hepacast.stats.design import Array
from hepacast.stats.irls import irls

if TYPE_CHECKING:
    from hepacast.stats.logistic_fit import LogisticFit


class Centered:
    """A fit whose predictors are measured from their means.

    A calendar year or a temperature in kelvin lies far from 0, and its intercept is the logit of a patient who cannot
    exist: no restricted fit starts well from there. The likelihood does not see the origin, the arithmetic does.

    Attributes
    ----------
    design
        Intercept and centered predictors, shape (n, p + 1).
    beta, covariance
        Estimate and covariance in these coordinates; the slopes are those of the fit.
    """

    def __init__(self, fit: LogisticFit) -> None:
        means = np.average(fit.x, axis=0, weights=fit.weights)
        self.design = np.column_stack([np.ones(fit.n), fit.x - means])
        back = np.eye(len(fit.beta))
        back[0, 1:] = means
        self.beta = back @ fit.beta
        self.covariance = back @ fit.covariance @ back.T


class RestrictedPath(ABC):
    """Restricted fits along one coefficient: the signed root of the deviance difference as a function of its value.

    Each fit starts from the last solution, moved along to first order. Where one does not converge it is approached in
    smaller steps from the last one that did; a value that cannot be reached so is NaN, never the deviance of a fit
    that stopped on its way.

    Parameters
    ----------
    fit
        The unrestricted fit.
    index
        The coefficient; 0 is the intercept, which is that of a patient with zeros: its design is not centered.
    """

    def __init__(self, fit: LogisticFit, index: int) -> None:
        centered = Centered(fit)
        self.fit, self.index = fit, index
        self.estimate, self.se = float(fit.beta[index]), float(fit.se[index])
        self.design = centered.design if index else np.column_stack([np.ones(fit.n), fit.x])
        covariance = centered.covariance if index else fit.covariance
        self.last = self.estimate
        self.start = np.delete(centered.beta if index else fit.beta, index)
        #: How the other coefficients move when this one moves by 1, to first order.
        self.along = np.delete(covariance[:, index], index) / covariance[index, index]

    @abstractmethod
    def restricted(self, value: float, start: Array) -> tuple[float, Array, bool]:
        """Log-likelihood and other coefficients where this one has the value, and whether the fit converged."""

    def loglik(self, value: float) -> float:
        """Log-likelihood of the restricted fit, NaN where it does not converge."""
        for pieces in (1, 4, 16, 64):
            for at in np.linspace(self.last, value, pieces + 1)[1:]:
                found, others, converged = self.restricted(float(at), self.start + (at - self.last) * self.along)
                if not converged or not np.isfinite(found):
                    break
                self.last, self.start = float(at), others
            else:
                return found
        return float("nan")

    def __call__(self, value: float) -> float:
        """Signed root: negative below the estimate."""
        if value == self.estimate:
            return 0.0
        difference = 2.0 * (self.fit.loglik - self.loglik(value))
        return float(np.sign(value - self.estimate) * np.sqrt(np.maximum(difference, 0.0)))


class LikelihoodPath(RestrictedPath):
    """Along one coefficient of the likelihood itself."""

    def restricted(self, value: float, start: Array) -> tuple[float, Array, bool]:
        found = irls(
            np.delete(self.design, self.index, axis=1),
            self.fit.y,
            weights=self.fit.weights,
            offset=self.fit.offset + value * self.design[:, self.index],
            start=start,
            max_iter=200,
        )
        return found.loglik, found.beta, found.converged


def profile_interval(fit: LogisticFit, level: float = 0.95) -> Array:
    """Exact limits of every coefficient by root-finding along its path (`fit.path`), shape (p + 1, 2).

    A limit is the value at which twice the (penalized) log-likelihood lost equals the chi-square quantile. A side on
    which the likelihood never falls that far (quasi-separation at the limit) has an infinite limit.
    """
    cutoff = float(np.sqrt(chi2.ppf(level, 1)))
    return np.array(
        [[root_outwards(fit.path(index), sign, cutoff) for sign in (-1.0, 1.0)] for index in range(len(fit.beta))]
    )


def root_outwards(profile: RestrictedPath, sign: float, cutoff: float) -> float:
    """Where a signed-root profile reaches `sign * cutoff`: bracketed by growing steps, then Brent's method.

    Infinite where it never does, NaN where the profile is not known (NaN) on the way.
    """
    inner, step = profile.estimate, cutoff * profile.se
    for _ in range(40):
        outer = inner + sign * step
        reached = profile(outer)
        if np.isnan(reached):
            return float("nan")
        if abs(reached) >= cutoff:
            try:
                found = brentq(
                    lambda value: profile(value) - sign * cutoff,
                    *sorted((inner, outer)),
                    xtol=1e-13 * profile.se,  # the coefficient's own scale, so that the unit does not matter
                    rtol=1e-13,
                )
            except ValueError:  # an unknown value of the profile inside the bracket
                return float("nan")
            return float(found)
        inner, step = outer, step * 1.6
    return float(sign * np.inf)


def profile_interval_r(fit: LogisticFit, level: float = 0.95) -> Array:
    """Profile limits as R's `confint` gives them for a `glm` (MASS 7.3, R 4.4 `stats`), shape (p + 1, 2).

    R evaluates the signed root at steps of one fifth of the 1 - alpha / 4 cut-off, draws the Forsythe-Malcolm-Moler
    spline through them, evaluates it at three times as many points and interpolates linearly. The limits differ
    from the exact ones in about the fourth digit; they are here so that published tables can be reproduced.
    """
    zmax = float(np.sqrt(chi2.ppf(1.0 - (1.0 - level) / 4.0, 1)))
    cutoffs = norm.ppf([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    limits = np.empty((len(fit.beta), 2))
    for index in range(len(fit.beta)):
        values, roots = [float(fit.beta[index])], [0.0]
        for sign in (-1.0, 1.0):
            profile = fit.path(index)
            for step in range(1, 10):
                value = profile.estimate + sign * step * zmax / 5.0 * profile.se
                values.append(value)
                roots.append(profile(value))
                if not abs(roots[-1]) < zmax:
                    break
        if np.isnan(roots).any():
            limits[index] = np.nan
            continue
        order = np.argsort(values)
        x, z = np.array(values)[order], np.array(roots)[order]
        grid = np.linspace(x[0], x[-1], 3 * len(x))
        smooth = fmm_spline(x, z, grid)
        rising = np.argsort(smooth, kind="stable")
        limits[index] = np.interp(cutoffs, smooth[rising], grid[rising], left=np.nan, right=np.nan)
    if np.isnan(limits).any():  # R answers NA where ten steps do not reach the cut-off; the exact search goes on
        limits = np.where(np.isnan(limits), profile_interval(fit, level), limits)
    return limits


def fmm_spline(x: Array, y: Array, at: Array) -> Array:
    """R's `spline(method = "fmm")`: a cubic spline whose ends follow the cubic through the four outermost points.

    References
    ----------
    Forsythe GE, Malcolm MA, Moler CB. Computer Methods for Mathematical Computations, 1977.
    """
    from scipy.interpolate import CubicHermiteSpline

    n = len(x)
    h = np.diff(x)
    slope = np.diff(y) / h
    # Unknown: s_i, one sixth of the second derivative at knot i.
    system = np.zeros((n, n))
    right = np.zeros(n)
    for i in range(1, n - 1):
        system[i, i - 1 : i + 2] = h[i - 1], 2.0 * (h[i - 1] + h[i]), h[i]
        right[i] = slope[i] - slope[i - 1]
    system[0, :2] = -h[0], h[0]
    system[-1, -2:] = h[-1], -h[-1]
    if n > 3:
        right[0] = _third_difference(x[:4], y[:4]) * h[0] ** 2
        right[-1] = -_third_difference(x[-4:], y[-4:]) * h[-1] ** 2
    sigma = np.linalg.solve(system, right)
    first = np.empty(n)
    first[:-1] = slope - h * (2.0 * sigma[:-1] + sigma[1:])
    first[-1] = slope[-1] + h[-1] * (sigma[-2] + 2.0 * sigma[-1])
    return np.asarray(CubicHermiteSpline(x, y, first)(at))


def _third_difference(x: Array, y: Array) -> float:
    table = y.copy()
    for order in range(1, 4):
        table = np.diff(table) / (x[order:] - x[:-order])
    return float(table[0])

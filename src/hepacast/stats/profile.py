"""Profile-likelihood confidence limits of logistic coefficients, exact and as R approximates them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from hepacast.stats.design import Array
from hepacast.stats.irls import irls

if TYPE_CHECKING:
    from hepacast.stats.logistic_fit import LogisticFit


class _Profile:
    """The signed root of the deviance difference as a function of one coefficient."""

    def __init__(self, fit: LogisticFit, index: int) -> None:
        design = np.column_stack([np.ones(fit.n), fit.x])
        self.column = design[:, index]
        self.others = np.delete(design, index, axis=1)
        self.fit = fit
        self.estimate = float(fit.beta[index])
        self.se = float(fit.se[index])
        self.start = np.delete(fit.beta, index)

    def __call__(self, value: float) -> float:
        """Signed root: negative below the estimate. Starts from the last solution, which is near."""
        if value == self.estimate:
            return 0.0
        restricted = irls(
            self.others,
            self.fit.y,
            weights=self.fit.weights,
            offset=self.fit.offset + value * self.column,
            start=self.start,
            max_iter=200,
        )
        self.start = restricted.beta
        difference = max(2.0 * (self.fit.loglik - restricted.loglik), 0.0)
        return float(np.sign(value - self.estimate) * np.sqrt(difference))


def profile_interval(fit: LogisticFit, level: float = 0.95) -> Array:
    """Exact profile-likelihood limits of every coefficient, shape (p + 1, 2).

    A limit is the value at which twice the log-likelihood lost equals the chi-square quantile. A side on which the
    likelihood never falls that far (quasi-separation at the limit) has an infinite limit.
    """
    if fit.method == "firth":
        from hepacast.stats.firth import firth_profile_interval

        return firth_profile_interval(fit, level)
    cutoff = float(np.sqrt(chi2.ppf(level, 1)))
    limits = np.empty((len(fit.beta), 2))
    for index in range(len(fit.beta)):
        for side, sign in enumerate((-1.0, 1.0)):
            profile = _Profile(fit, index)
            limits[index, side] = root_outwards(profile, profile.estimate, profile.se, sign, cutoff)
    return limits


def root_outwards(profile: object, estimate: float, se: float, sign: float, cutoff: float) -> float:
    """Where a signed-root profile reaches `sign * cutoff`: bracketed by growing steps, then Brent's method."""
    inner, step = estimate, cutoff * se
    for _ in range(40):
        outer = inner + sign * step
        if abs(profile(outer)) >= cutoff:  # type: ignore[operator]
            return float(
                brentq(lambda value: profile(value) - sign * cutoff, *sorted((inner, outer)), xtol=1e-14, rtol=1e-13)  # type: ignore[operator]
            )
        inner, step = outer, step * 1.6
    return float(sign * np.inf)


def profile_interval_r(fit: LogisticFit, level: float = 0.95) -> Array:
    """Profile limits as R's `confint` gives them for a `glm` (MASS 7.3, R 4.4 `stats`), shape (p + 1, 2).

    R evaluates the signed root at steps of one fifth of the 1 - alpha / 4 cut-off, draws the Forsythe-Malcolm-Moler
    spline through them, evaluates it at three times as many points and interpolates linearly. The limits differ
    from the exact ones in about the fourth digit; they are here so that published tables can be reproduced.
    """
    if fit.method == "firth":
        return profile_interval(fit, level)
    zmax = float(np.sqrt(chi2.ppf(1.0 - (1.0 - level) / 4.0, 1)))
    cutoffs = norm.ppf([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    limits = np.empty((len(fit.beta), 2))
    for index in range(len(fit.beta)):
        values, roots = [float(fit.beta[index])], [0.0]
        for sign in (-1.0, 1.0):
            profile = _Profile(fit, index)
            for step in range(1, 10):
                value = profile.estimate + sign * step * zmax / 5.0 * profile.se
                values.append(value)
                roots.append(profile(value))
                if abs(roots[-1]) >= zmax:
                    break
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

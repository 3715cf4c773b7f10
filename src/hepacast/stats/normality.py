"""Shapiro-Wilk's test, for one sample or for every column of a matrix at once (algorithm AS R94, as in R)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from hepacast.stats.design import Array
from hepacast.stats.results import TestResult, impossible

NAME = "Shapiro-Wilk"
MAX_N = 5000


def shapiro(values: ArrayLike) -> TestResult:
    """Shapiro-Wilk test of normality; 3 to 5000 values, missing ones dropped."""
    x = np.asarray(values, dtype=float).ravel()
    x = x[~np.isnan(x)]
    if not 3 <= x.size <= MAX_N:
        return impossible(NAME, f"needs 3 to {MAX_N} values, found {x.size}")
    w, p = shapiro_columns(x[:, None])
    if np.isnan(w[0]):
        return impossible(NAME, "all values are equal")
    return TestResult(NAME, statistic=float(w[0]), p=float(p[0]))


def shapiro_columns(x: Array) -> tuple[Array, Array]:
    """W and P of each column of x (n, p), n between 3 and 5000, no missing values; NaN for constant columns.

    References
    ----------
    Royston P. Algorithm AS R94. Appl Stat 1995;44:547-51.
    """
    n = x.shape[0]
    ordered = np.sort(x, axis=0)
    spread = ordered[-1] - ordered[0]
    # The same scaling as R's `swilk`, which guards the sums against overflow.
    safe = np.where(spread > 0, spread, 1.0)
    scaled = ordered / safe
    centered = scaled - scaled.mean(axis=0)
    a = _weights(n)
    total = (centered**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # 1 - W computed as R does, so that W near one keeps its digits.
        score = a @ centered
        root = np.sqrt((a @ a) * total)
        one_minus_w = (root - score) * (root + score) / ((a @ a) * total)
        # A spread of rounding noise only is no spread.
        flat = (spread <= 0) | (spread < 1e-15 * np.abs(ordered).max(axis=0))
        w = 1.0 - one_minus_w
        p = _p_value(w, one_minus_w, n)
    w = np.where(flat, np.nan, w)
    return w, np.where(flat, np.nan, p)


def _weights(n: int) -> Array:
    """The antisymmetric weights a_1 .. a_n."""
    half = n // 2
    if n == 3:
        upper = np.array([np.sqrt(0.5)])
    else:
        m = norm.ppf((np.arange(1, half + 1) - 0.375) / (n + 0.25))
        sum_squares = 2.0 * float((m**2).sum())
        root = np.sqrt(sum_squares)
        u = 1.0 / np.sqrt(n)
        first = np.polyval([-2.706056, 4.434685, -2.071190, -0.147981, 0.221157, 0.0], u) - m[0] / root
        upper = np.empty(half)
        if n > 5:
            second = np.polyval([-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, 0.0], u) - m[1] / root
            scale = np.sqrt(
                (sum_squares - 2.0 * m[0] ** 2 - 2.0 * m[1] ** 2) / (1.0 - 2.0 * first**2 - 2.0 * second**2)
            )
            upper[:2] = first, second
            upper[2:] = -m[2:] / scale
        else:
            scale = np.sqrt((sum_squares - 2.0 * m[0] ** 2) / (1.0 - 2.0 * first**2))
            upper[0] = first
            upper[1:] = -m[1:] / scale
    middle = np.zeros(n % 2)
    return np.concatenate([-upper, middle, upper[::-1]])


def _p_value(w: Array, one_minus_w: Array, n: int) -> Array:
    if n == 3:
        return np.clip(1.90985931710274 * (np.arcsin(np.sqrt(w)) - 1.04719755119660), 0.0, 1.0)
    y = np.log(one_minus_w)
    if n <= 11:
        gamma = -2.273 + 0.459 * n
        outside = y >= gamma
        y = -np.log(np.where(outside, np.nan, gamma - y))
        mean = np.polyval([-0.0006714, 0.025054, -0.39978, 0.5440], n)
        sd = np.exp(np.polyval([-0.0020322, 0.062767, -0.77857, 1.3822], n))
        return np.where(outside, 1e-99, norm.sf((y - mean) / sd))
    log_n = np.log(n)
    mean = np.polyval([0.0038915, -0.083751, -0.31082, -1.5861], log_n)
    sd = np.exp(np.polyval([0.0030302, -0.082676, -0.4803], log_n))
    return np.asarray(norm.sf((y - mean) / sd))

"""Effect sizes and the stability of a distribution: standardized mean differences, PSI."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hepacast.errors import ModelError
from hepacast.stats.design import Array


def _clean(values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=float).ravel()
    return array[~np.isnan(array)]


def ratio_of(log_ratio: ArrayLike) -> Array:
    """Odds or hazard ratios of their logarithms; infinite or 0 beyond every number, without a warning."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.exp(np.asarray(log_ratio, dtype=float)))


def smd(a: ArrayLike, b: ArrayLike) -> float:
    """Standardized mean difference, (mean(b) - mean(a)) / sqrt((var(a) + var(b)) / 2); NaN without spread.

    References
    ----------
    Austin PC. Stat Med 2009;28:3083-107.
    """
    x, y = _clean(a), _clean(b)
    if min(x.size, y.size) < 2:
        return float("nan")
    spread = np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2.0)
    return float((y.mean() - x.mean()) / spread) if spread > 0 else float("nan")


def cohen_d(a: ArrayLike, b: ArrayLike, *, hedges: bool = False) -> float:
    """Cohen's d of b against a with the pooled SD; `hedges` applies the small-sample factor 1 - 3 / (4 N - 9)."""
    x, y = _clean(a), _clean(b)
    if min(x.size, y.size) < 2:
        return float("nan")
    n = x.size + y.size
    pooled = np.sqrt(((x.size - 1) * x.var(ddof=1) + (y.size - 1) * y.var(ddof=1)) / (n - 2))
    if pooled == 0:
        return float("nan")
    return float((y.mean() - x.mean()) / pooled * (1.0 - 3.0 / (4.0 * n - 9.0) if hedges else 1.0))


def smd_categorical(counts: ArrayLike) -> float:
    """Standardized difference of a categorical variable between two groups (>= 0); NaN if it is not defined.

    Parameters
    ----------
    counts
        Levels in rows, the two groups in columns.

    Notes
    -----
    Mahalanobis distance between the two vectors of proportions (the last level left out) under their average
    multinomial covariance. For two levels it is |p1 - p2| / sqrt((p1 (1 - p1) + p2 (1 - p2)) / 2).

    References
    ----------
    Yang D, Dalton JE. SAS Global Forum 2012, paper 335.
    """
    table = np.asarray(counts, dtype=float)
    if table.ndim != 2 or table.shape[1] != 2:
        raise ModelError("The standardized difference compares two groups.", found=f"a table of shape {table.shape}")
    table = table[table.sum(axis=1) > 0]
    totals = table.sum(axis=0)
    if (totals == 0).any():
        return float("nan")
    if table.shape[0] < 2:
        return 0.0
    shares = (table / totals)[:-1]
    gap = shares[:, 1] - shares[:, 0]
    covariance = sum(np.diag(column) - np.outer(column, column) for column in shares.T) / 2.0
    if np.linalg.matrix_rank(covariance) < len(gap):
        return float("nan") if gap.any() else 0.0
    return float(np.sqrt(gap @ np.linalg.solve(covariance, gap)))


@dataclass(frozen=True)
class Psi:
    """Population stability index with its bins: edges, shares in the reference and in the new sample."""

    psi: float
    edges: Array
    expected: Array
    actual: Array


def population_stability(expected: ArrayLike, actual: ArrayLike, *, bins: int = 10) -> Psi:
    """Population stability index of a new sample against a reference sample.

    Bins are the quantiles (R's type 7) of the reference, open at both ends, closed on the right; equal quantiles are
    joined. A bin without patients in one sample counts as half a patient there, so the index stays finite.
    Below 0.1 is usually called stable, above 0.25 shifted.
    """
    reference, new = _clean(expected), _clean(actual)
    if reference.size == 0 or new.size == 0:
        return Psi(float("nan"), np.empty(0), np.empty(0), np.empty(0))
    edges = np.unique(np.quantile(reference, np.linspace(0.0, 1.0, bins + 1)))[1:-1]
    edges = np.concatenate([[-np.inf], edges, [np.inf]])

    def shares(values: Array) -> Array:
        index = np.searchsorted(edges, values, side="left") - 1
        counted = np.bincount(index, minlength=len(edges) - 1).astype(float)
        return np.where(counted == 0, 0.5, counted) / values.size

    a, b = shares(reference), shares(new)
    return Psi(float(((b - a) * np.log(b / a)).sum()), edges, a, b)

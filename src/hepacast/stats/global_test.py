"""Whether tables are related to an outcome at all: one P value by permutation, with nothing fitted or selected.

Three statistics look for three kinds of relation: the sum of the squared correlations finds many weak ones (the global
test of a linear model), the sum of their sixth powers a few strong ones, and a radial kernel those that bend (of at
most `KERNEL_ROWS` rows). Each is ranked among the same statistic of permuted outcomes, and so is the geometric mean of
the ranks, and of several tables that of their ranks; the P value is therefore exact however columns and tables depend
on one another, and whatever their number.

Sources: Goeman JJ, van de Geer SA, de Kort F, van Houwelingen HC. Bioinformatics 2004;20:93 (the test). Liu D, Lin X,
Ghosh D. Biometrics 2007;63:1079 (kernels). Pesarin F, Salmaso L. Permutation tests for complex data. Wiley 2010
(combination of dependent tests, all by the same permutations).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]

#: Rows of permuted outcomes whose correlations with all columns stand in memory at once.
_AT_ONCE = 128
#: The kernel's cost goes with the square of the rows; so many see weak linear relations well without it.
KERNEL_ROWS = 2000


def global_test(
    x: NDArray[Any] | Sequence[NDArray[Any]],
    residuals: ArrayLike,
    rng: np.random.Generator,
    permutations: int = 399,
    scores: NDArray[Any] | None = None,
) -> float:
    """P value of no relation between any column and the outcome.

    Parameters
    ----------
    x
        Shape (n, p), finite; a column that does not vary counts for nothing. Several tables of the same rows count
        alike, however many columns each has.
    residuals
        How much more happened to each row than was expected without the columns, shape (n,), mean 0: of 0 and 1 the
        difference from the rate, of a time to an event the martingale residual.
    permutations
        The smallest P is 1 / (permutations + 1).
    scores
        Shape (n, k), finite: one more table, of which only the mean counts, and only where it rises with the outcome.

    Returns
    -------
    float
        1 where no column or no residual varies.
    """
    told = np.asarray(residuals, dtype=float)
    told = told - told.mean()
    size = float(np.sqrt((told**2).sum()))
    tables = [_standardized(table) for table in (x if isinstance(x, list | tuple) else [x])]
    tables = [table for table in tables if table.shape[1]]
    rising = np.empty((len(told), 0)) if scores is None else _standardized(scores)
    if not (tables or rising.shape[1]) or size < 1e-12:
        return 1.0
    outcomes = np.array([told, *(rng.permutation(told) for _ in range(permutations))]) / size
    found = [_together(_statistics(table, outcomes)) for table in tables]
    if rising.shape[1]:
        found.append(_together([outcomes @ rising.mean(axis=1)]))
    together = _together([-item for item in found]) if len(found) > 1 else found[0]
    return float((together <= together[0]).mean())


def _standardized(table: ArrayLike) -> Array:
    """The columns that vary, mean 0 and variance 1."""
    matrix = np.asarray(table, dtype=float)
    spread = matrix.std(axis=0)
    return np.asarray((matrix - matrix.mean(axis=0))[:, spread > 1e-12] / spread[spread > 1e-12])


def _statistics(columns: Array, outcomes: Array) -> list[Array]:
    """Many weak relations, few strong ones, and those that bend: of each outcome."""
    many, few = np.empty(len(outcomes)), np.empty(len(outcomes))
    for start in range(0, len(outcomes), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        found = (outcomes[part] @ columns) ** 2
        many[part], few[part] = found.sum(axis=1), (found**3).sum(axis=1)
    if len(columns) > KERNEL_ROWS:
        return [many, few]
    squares = squared_distances(columns, columns)
    kernel = np.exp(-squares / max(float(np.median(squares[np.triu_indices(len(columns), 1)])), 1e-12))
    return [many, few, ((outcomes @ kernel) * outcomes).sum(axis=1)]


def _together(statistics: Sequence[Array]) -> Array:
    """Sum of the logarithms of each outcome's places by several statistics, the largest first."""
    # Equal up to rounding counts as equal: permuted outcomes of few distinct values repeat the true one.
    places = [rankdata(-np.round(item / np.abs(item).max(), 10), method="max") for item in statistics]
    return np.asarray(np.round(np.sum(np.log(places), axis=0), 8))


def squared_distances(a: NDArray[Any], b: NDArray[Any]) -> Array:
    """Squared Euclidean distances between the rows of two tables, shape (n, m)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.maximum(squares, 0.0)

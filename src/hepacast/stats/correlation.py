"""Spearman correlation of wide tables, and the redundancy filters built on it.

Ranks once, then matrix products block by block, so that 147 x 3748 takes a fraction of a second and the memory for the
full matrix is asked for only by who wants the full matrix.

Sources: Spearman 1904; `find_correlation` equals caret::findCorrelation (Kuhn, J Stat Softw 2008;28(5)), both variants.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from hepacast.errors import ModelError
from hepacast.stats.ranks import column_ranks

Array = NDArray[np.float64]
Bool = NDArray[np.bool_]

#: Rows of the correlation matrix that are computed at once.
_BLOCK = 512
_GREEDY_BLOCK = 16
#: Rows from which on single precision is worth its check.
_MANY_ROWS = 500


def standardized_ranks(X: ArrayLike) -> Array:
    """Average ranks of each column, centered and scaled to length 1; a constant column becomes zeros.

    Parameters
    ----------
    X
        Shape (n, p), without missing values.

    Raises
    ------
    ModelError
        A value is missing.
    """
    return standardized(column_ranks(_complete(X)))


def _complete(X: ArrayLike) -> Array:
    matrix = np.asarray(X, dtype=float)
    if matrix.ndim != 2 or np.isnan(matrix).any():
        raise ModelError(
            "Ranks need a complete table.",
            found="missing values" if matrix.ndim == 2 else f"{matrix.ndim} dimensions",
            remedy="impute the missing values first",
        )
    return matrix


def standardized(ranks: Array) -> Array:
    """Ranks of columns (`column_ranks`), centered and scaled to length 1."""
    centered = ranks - (len(ranks) + 1) / 2
    length = np.sqrt(np.einsum("ij,ij->j", centered, centered))
    centered /= np.where(length > 0, length, 1.0)
    return centered


def spearman_matrix(X: ArrayLike) -> Array:
    """Spearman's rho between all columns of a complete table, shape (p, p).

    A constant column has no correlation: its row and column are NaN, its diagonal too, as in R.
    """
    ranks = standardized_ranks(X)
    rho = ranks.T @ ranks
    np.clip(rho, -1.0, 1.0, out=rho)
    constant = ~ranks.any(axis=0)
    np.fill_diagonal(rho, 1.0)
    rho[constant, :] = np.nan
    rho[:, constant] = np.nan
    return rho


def spearman_with(X: ArrayLike, y: ArrayLike) -> Array:
    """Spearman's rho of each column with one variable, shape (p,); 0 for a constant column."""
    return np.asarray(standardized_ranks(X).T @ standardized_ranks(np.asarray(y, dtype=float)[:, None])[:, 0])


def spearman_test(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Spearman's rho and its two-sided P from Student's t with n - 2 degrees (R's ``cor.test(exact = FALSE)``)."""
    ranks = standardized_ranks(np.column_stack([np.asarray(x, float), np.asarray(y, float)]))
    rho = float(np.clip(ranks[:, 0] @ ranks[:, 1], -1.0, 1.0))
    freedom = len(ranks) - 2
    if freedom < 1 or not ranks.any(axis=0).all():
        return float("nan"), float("nan")
    if abs(rho) == 1.0:
        return rho, 0.0
    return rho, float(2 * student.sf(abs(rho) * np.sqrt(freedom / (1 - rho**2)), freedom))


def correlated_blocks(X: ArrayLike, threshold: float) -> Iterator[tuple[int, Bool]]:
    """Blocks of rows of "|rho| > threshold" (first row's number, boolean block); the diagonal is False."""
    ranks = standardized_ranks(X)
    p = ranks.shape[1]
    columns = np.ascontiguousarray(ranks.T)
    for start in range(0, p, _BLOCK):
        block = np.abs(columns[start : start + _BLOCK] @ ranks) > threshold
        inside = np.arange(len(block))
        block[inside, start + inside] = False
        yield start, block


def correlated_pairs(X: ArrayLike, threshold: float) -> Bool:
    """Whether |rho| exceeds the threshold for each pair of columns, (p, p) booleans; one byte a pair."""
    p = np.asarray(X).shape[1]
    pairs = np.zeros((p, p), dtype=bool)
    for start, block in correlated_blocks(X, threshold):
        pairs[start : start + len(block)] = block
    return pairs


def greedy_filter(pairs: Bool, order: ArrayLike | None = None) -> NDArray[np.int64]:
    """Walk through the columns in an order of preference and keep each that none of the kept ones makes redundant.

    Parameters
    ----------
    pairs
        Redundant pairs, shape (p, p), symmetric, diagonal False.
    order
        Columns from the most to the least wanted; by default as they stand (the first of each pair is kept).

    Returns
    -------
    Kept columns, in ascending order.
    """
    sequence = np.arange(len(pairs)) if order is None else np.asarray(order, dtype=np.int64)
    dropped = np.zeros(len(pairs), dtype=bool)
    for column in sequence:
        if not dropped[column]:
            dropped |= pairs[column]
    return np.flatnonzero(~dropped)


def greedy_spearman(
    X: ArrayLike, threshold: float, order: ArrayLike | None = None, *, ranks: Array | None = None
) -> NDArray[np.int64]:
    """`greedy_filter` at |rho| > threshold without the matrix of all pairs.

    Only the kept columns are ever compared, each with those that are still in question: at 147 x 3748 features
    of radiomics a tenth of the products, and memory for one block. `ranks` are the columns' (`column_ranks`) where the
    caller has them already. Of many rows the products are made in single precision, and those that lie so near to the
    threshold that their rounding could decide are made again in double precision: the same columns are kept.

    Returns
    -------
    Kept columns, in ascending order.
    """
    ranks = column_ranks(_complete(X)) if ranks is None else ranks
    waiting = np.arange(ranks.shape[1]) if order is None else np.asarray(order, dtype=np.int64)
    single = len(ranks) >= _MANY_ROWS
    columns = np.empty((len(waiting), len(ranks)), dtype=np.float32 if single else np.float64)
    for start in range(0, len(waiting), _BLOCK):
        columns[start : start + _BLOCK] = standardized(ranks[:, waiting[start : start + _BLOCK]]).T
    # Bound of the rounding of a product of two columns of length 1.
    doubt = (len(ranks) + 4) * float(np.finfo(np.float32).eps) if single else 0.0
    kept: list[int] = []
    dropped = np.zeros(len(waiting), dtype=bool)
    block = _GREEDY_BLOCK
    while not dropped.all():
        if dropped.mean() > 0.3:
            waiting, columns = waiting[~dropped], columns[~dropped]
            dropped = np.zeros(len(waiting), dtype=bool)
        candidates = np.flatnonzero(~dropped)[:block]
        products = np.abs(columns[candidates] @ columns.T)
        redundant = products > threshold + doubt
        before = len(kept)
        for row, column in enumerate(candidates):
            if not dropped[column]:
                kept.append(int(waiting[column]))
                dropped |= redundant[row]
                near = np.flatnonzero(~dropped & (products[row] > threshold - doubt)) if single else ()
                if len(near):
                    exact = standardized(ranks[:, [kept[-1], *waiting[near]]])
                    dropped[near] |= np.abs(exact[:, 0] @ exact[:, 1:]) > threshold
        dropped[candidates] = True
        # Little redundancy: large products cost less than many small ones. Much of it: most of a block is dropped.
        block = min(2 * block, _BLOCK) if len(kept) - before > block // 2 else max(block // 2, 2)
    return np.sort(np.array(kept, dtype=np.int64))


def find_correlation(correlation: ArrayLike, cutoff: float = 0.9, *, exact: bool = True) -> NDArray[np.int64]:
    """Columns to remove so that no pair exceeds the cut-off, equal to caret's ``findCorrelation``.

    Of each pair above the cut-off the column with the larger mean absolute correlation goes. With `exact` the means
    are computed again after each removal; without, they are computed once.

    Parameters
    ----------
    correlation
        Shape (p, p), symmetric, no missing values.

    Returns
    -------
    Columns to remove, in ascending order.

    Raises
    ------
    ModelError
        Missing values (a constant column), or fewer than two columns.
    """
    matrix = np.abs(np.asarray(correlation, dtype=float))
    if matrix.ndim != 2 or len(matrix) < 2 or np.isnan(matrix).any():
        raise ModelError(
            "Redundant columns cannot be found in this correlation matrix.",
            expected="two columns or more, no missing value",
            found=f"shape {matrix.shape}, {int(np.isnan(matrix).sum())} missing",
            remedy="drop constant columns first",
        )
    return np.sort(_exact_removal(matrix, cutoff) if exact else _fast_removal(matrix, cutoff))


def _exact_removal(matrix: Array, cutoff: float) -> NDArray[np.int64]:
    p = len(matrix)
    order = np.argsort(-_column_means(matrix), kind="stable")
    x = matrix[np.ix_(order, order)].copy()
    np.fill_diagonal(x, 0.0)
    alive = np.ones(p, dtype=bool)
    above = x > cutoff
    left = int(above.sum())
    # Means of what is left, kept up to date by subtraction instead of being summed for each pair anew.
    row_sums = x.sum(axis=1)
    total, count = float(x.sum()), p
    for i in range(p - 1):
        if left == 0:
            break
        for j in np.flatnonzero(above[i, i + 1 :]) + i + 1:
            if not alive[i]:
                break
            if alive[j]:
                mean_i = row_sums[i] / (count - 1)
                rest = (total - row_sums[j]) / (count * (count - 1) - (count - 1))
                gone = i if mean_i > rest else int(j)
                left -= 2 * int((above[gone] & alive).sum())
                alive[gone] = False
                total -= 2 * row_sums[gone]
                row_sums -= x[:, gone]
                count -= 1
    return np.asarray(order[~alive], dtype=np.int64)


def _fast_removal(matrix: Array, cutoff: float) -> NDArray[np.int64]:
    means = _column_means(matrix, with_diagonal=True)
    columns, rows = np.nonzero(np.triu(matrix > cutoff, k=1).T)
    # R walks through the pairs by column; of each pair the one with the larger mean is marked.
    marked = np.where(means[columns] > means[rows], columns, rows)
    return np.unique(marked).astype(np.int64)


def _column_means(matrix: Array, with_diagonal: bool = False) -> Array:
    p = len(matrix)
    if with_diagonal:
        return np.asarray(matrix.mean(axis=0))
    return np.asarray((matrix.sum(axis=0) - np.diag(matrix)) / (p - 1))

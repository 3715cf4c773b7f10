"""The same tests for every column of a wide matrix at once: thousands of features in a fraction of a second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from scipy.stats import t as student

from hepacast.errors import ModelError
from hepacast.stats.design import Array, binary_outcome
from hepacast.stats.normality import MAX_N, shapiro_columns
from hepacast.stats.ranks import column_ranks, rank_sum_exact_p


@dataclass(frozen=True)
class ColumnTests:
    """Two-group tests of p columns; every field is an array of length p.

    Attributes
    ----------
    n0, n1
        Values present in patients without and with the event.
    mean0, mean1, sd0, sd1
        Means and standard deviations of the two groups.
    t, t_p
        Welch's (or Student's) t for mean1 - mean0, and its P.
    w, mann_whitney_p
        Mann-Whitney statistic of group 1 over group 0 and its P (exact where R's `wilcox.test` would be).
    auc
        w / (n0 n1): the feature's area under the ROC curve.
    normal
        Whether Shapiro-Wilk's P exceeds `alpha` in both groups.
    p
        The chosen test's P: t where `normal`, Mann-Whitney otherwise.
    test
        Name of the chosen test.
    reason
        Why there is no P (constant, too few values); empty otherwise.
    """

    n0: Array
    n1: Array
    mean0: Array
    mean1: Array
    sd0: Array
    sd1: Array
    t: Array
    t_p: Array
    w: Array
    mann_whitney_p: Array
    auc: Array
    normal: NDArray[np.bool_]
    shapiro0_p: Array
    shapiro1_p: Array
    p: Array
    test: NDArray[np.str_]
    reason: NDArray[np.str_]

    def to_frame(self, names: ArrayLike | None = None) -> pd.DataFrame:
        """One row a column of the matrix."""
        frame = pd.DataFrame({name: getattr(self, name) for name in self.__dataclass_fields__})
        if names is not None:
            frame.index = pd.Index(np.asarray(names), name="feature")
        return frame


def univariate_tests(
    x: ArrayLike,
    y: ArrayLike,
    *,
    choose: str = "normality",
    equal_var: bool = False,
    alpha: float = 0.05,
    correct: bool = True,
) -> ColumnTests:
    """Compare two groups in every column of `x`.

    Parameters
    ----------
    x
        Matrix (n, p); missing values are dropped column by column.
    y
        0 or 1, shape (n,).
    choose
        `normality` (t test where Shapiro-Wilk's P > `alpha` in both groups, else Mann-Whitney), `t`, or
        `mann-whitney`; decides `p` and `test`. The normality test is skipped unless it is needed.
    equal_var
        Student's instead of Welch's t test.
    correct
        Continuity correction of the Mann-Whitney approximation.

    Raises
    ------
    ModelError
        The shapes do not agree, or `choose` is unknown.
    OutcomeError
        The outcome is missing, not binary, or of one class.
    """
    if choose not in ("normality", "t", "mann-whitney"):
        raise ModelError("Unknown rule for the test.", expected="normality, t or mann-whitney", found=choose)
    outcome = binary_outcome(y)
    matrix = np.asarray(x, dtype=float)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.shape[0] != outcome.size:
        raise ModelError(
            "Features and outcome differ in length.", expected=f"{outcome.size} rows", found=f"{matrix.shape[0]}"
        )
    parts = np.empty((13, matrix.shape[1]))
    normality = choose == "normality"
    # Columns with the same missing patients are done together: usually that is one group, the complete ones.
    absent = np.isnan(matrix)
    patterns, inverse = _missing_patterns(absent)
    for index, pattern in enumerate(patterns):
        columns = np.flatnonzero(inverse == index)
        kept = ~pattern
        parts[:, columns] = _block(matrix[np.ix_(kept, columns)], outcome[kept], normality, equal_var, correct)
    return _chosen(parts, choose, alpha, equal_var)


def _missing_patterns(absent: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    if not absent.any():
        return absent[:, :1].T, np.zeros(absent.shape[1], dtype=np.intp)
    packed = np.packbits(absent.T, axis=1)
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    return absent.T[first], inverse.ravel()


def _block(x: Array, y: Array, normality: bool, equal_var: bool, correct: bool) -> Array:
    out = np.full((13, x.shape[1]), np.nan)
    groups = [x[y == 0.0], x[y == 1.0]]
    n0, n1 = groups[0].shape[0], groups[1].shape[0]
    out[0], out[1] = n0, n1
    if n0 == 0 or n1 == 0:
        return out
    out[2], out[3] = groups[0].mean(axis=0), groups[1].mean(axis=0)
    if n0 > 1 and n1 > 1:
        out[4], out[5] = groups[0].std(axis=0, ddof=1), groups[1].std(axis=0, ddof=1)
        out[6], out[7] = _t_columns(out, n0, n1, equal_var)
    out[8], out[9], out[10] = _mann_whitney_columns(x, y, correct)
    if normality:
        for row, group in zip((11, 12), groups):
            if 3 <= group.shape[0] <= MAX_N:
                out[row] = shapiro_columns(group)[1]
    return out


def _t_columns(out: Array, n0: int, n1: int, equal_var: bool) -> tuple[Array, Array]:
    part0, part1 = out[4] ** 2 / n0, out[5] ** 2 / n1
    with np.errstate(invalid="ignore", divide="ignore"):
        if equal_var:
            df = np.full(out.shape[1], float(n0 + n1 - 2))
            pooled = ((n0 - 1) * out[4] ** 2 + (n1 - 1) * out[5] ** 2) / df
            se = np.sqrt(pooled * (1 / n0 + 1 / n1))
        else:
            se = np.sqrt(part0 + part1)
            df = (part0 + part1) ** 2 / (part0**2 / (n0 - 1) + part1**2 / (n1 - 1))
        # R's own threshold for data that are constant up to rounding.
        noise = 10 * np.finfo(float).eps * np.maximum(np.abs(out[2]), np.abs(out[3]))
        t = np.where((se > noise) & (se > 0), (out[3] - out[2]) / se, np.nan)
    return t, 2.0 * student.sf(np.abs(t), df)


def _mann_whitney_columns(x: Array, y: Array, correct: bool) -> tuple[Array, Array, Array]:
    n = x.shape[0]
    n1 = int(y.sum())
    n0 = n - n1
    ranks = column_ranks(x)
    w = ranks[y == 1.0].sum(axis=0) - n1 * (n1 + 1) / 2.0
    # Sum of (t^3 - t) over ties: from the spread of the ranks, whose sum of squares falls by (t^3 - t) / 12 a tie.
    ties = (n**3 - n) - 12.0 * ((ranks - (n + 1) / 2.0) ** 2).sum(axis=0)
    ties = np.where(ties < 1e-3, 0.0, ties)
    variance = n0 * n1 / 12.0 * ((n + 1) - ties / (n * (n - 1.0)))
    shift = w - n0 * n1 / 2.0
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (shift - (np.sign(shift) * 0.5 if correct else 0.0)) / np.sqrt(variance)
        p = np.where(variance > 1e-9, np.minimum(1.0, 2.0 * norm.sf(np.abs(z))), np.nan)
    if max(n0, n1) < 50:
        clean = ties == 0.0
        p[clean] = rank_sum_exact_p(w[clean], n1, n0)
    return w, p, w / (n0 * n1)


def _chosen(parts: Array, choose: str, alpha: float, equal_var: bool) -> ColumnTests:
    n0, n1, mean0, mean1, sd0, sd1, t, t_p, w, mw_p, auc, shapiro0, shapiro1 = parts
    normal = (shapiro0 > alpha) & (shapiro1 > alpha)
    use_t = normal if choose == "normality" else np.full(normal.shape, choose == "t")
    t_name = "Student t" if equal_var else "Welch t"
    p = np.where(use_t, t_p, mw_p)
    reason = np.where(
        np.isnan(p), np.where((n0 < 2) | (n1 < 2), "too few values in a group", "the values do not vary"), ""
    )
    return ColumnTests(
        n0=n0,
        n1=n1,
        mean0=mean0,
        mean1=mean1,
        sd0=sd0,
        sd1=sd1,
        t=t,
        t_p=t_p,
        w=w,
        mann_whitney_p=mw_p,
        auc=auc,
        normal=normal,
        shapiro0_p=shapiro0,
        shapiro1_p=shapiro1,
        p=p,
        test=np.where(use_t, t_name, "Mann-Whitney"),
        reason=reason,
    )

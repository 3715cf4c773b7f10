"""Ranks, and what follows from them: the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata


def auc_from_ranks(y: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve: P(score of an event > score of a non-event), ties counting one half.

    NaN where there is only one class.
    """
    events = np.asarray(y, dtype=float) == 1.0
    n_events = int(events.sum())
    n_others = events.size - n_events
    if n_events == 0 or n_others == 0:
        return float("nan")
    ranks = rankdata(np.asarray(score, dtype=float))
    return float((ranks[events].sum() - n_events * (n_events + 1) / 2.0) / (n_events * n_others))


@dataclass(frozen=True)
class Placements:
    """Placement values: for each event the share of non-events below it, for each non-event that of events above."""

    auc: float
    events: NDArray[np.float64]
    others: NDArray[np.float64]


def placements(y: NDArray[np.float64], score: NDArray[np.float64]) -> Placements:
    """Placement values of events and non-events by mid-ranks; ties count one half."""
    positive = y == 1.0
    m, n = int(positive.sum()), int((~positive).sum())
    overall = rankdata(score)
    events = (overall[positive] - rankdata(score[positive])) / n
    others = 1.0 - (overall[~positive] - rankdata(score[~positive])) / m
    return Placements(float(events.mean()), events, others)


def auc_covariance(
    y: NDArray[np.float64], scores: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUCs (k,) of several scores of the same patients, and DeLong's covariance matrix (k, k) of them.

    With fewer than two events or non-events there is no variance: the matrix is NaN. Without either all is NaN.

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-45.
    Sun X, Xu W. Fast implementation of DeLong's algorithm. IEEE Signal Process Lett 2014;21:1389-93.
    """
    nothing = np.full((len(scores),) * 2, np.nan)
    m = int((y == 1.0).sum())
    if min(m, y.size - m) < 1:
        return nothing[0], nothing
    pieces = [placements(y, score) for score in scores]
    aucs = np.array([piece.auc for piece in pieces])
    if min(m, y.size - m) < 2:
        return aucs, nothing
    events, others = (np.vstack([getattr(piece, part) for piece in pieces]) for part in ("events", "others"))
    return aucs, np.atleast_2d(np.cov(events)) / m + np.atleast_2d(np.cov(others)) / (y.size - m)


def auc_binned(y: ArrayLike, risk: ArrayLike, bins: int = 5000) -> float:
    """The C of `rms::lrm` and `rms::val.prob` (rms 6), which sort the risks into bins of 1 / 5000 before they count.

    It differs from the exact area in the fourth digit and is here to reproduce tables made with rms.
    """
    return auc_from_ranks(y, np.floor(np.asarray(risk, dtype=float) * bins))


def column_ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mid-ranks of every column of a matrix (n, p) without missing values, in one sort and one pass."""
    columns = np.ascontiguousarray(x.T)
    ranks: NDArray[np.float64] = _compiled_mid_ranks()(columns, np.argsort(columns, axis=1))
    return ranks.T


@cache
def _compiled_mid_ranks() -> Any:
    """Compiled when it is first needed: most commands that read this module rank no matrix."""
    from numba import njit

    return njit(cache=True, nogil=True)(_mid_ranks)


def _mid_ranks(rows: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mid-ranks of every row, from the order that sorts it: equal values get the mean of their places."""
    ranks = np.empty(rows.shape)
    n = rows.shape[1]
    for row in range(rows.shape[0]):
        start = 0
        while start < n:
            value, end = rows[row, order[row, start]], start + 1
            while end < n and rows[row, order[row, end]] == value:
                end += 1
            for place in range(start, end):
                ranks[row, order[row, place]] = 0.5 * (start + 1 + end)
            start = end
    return ranks


def rank_sum_exact_p(w: NDArray[np.float64], n_a: int, n_b: int) -> NDArray[np.float64]:
    """Two-sided exact P of rank-sum statistics without ties, from the coefficients of the Gaussian binomial."""
    counts = np.zeros(n_a * n_b + 1)
    counts[0] = 1.0
    for i in range(1, n_a + 1):  # multiply by (1 - q^(n_b + i)), divide by (1 - q^i)
        shifted = counts.copy()
        shifted[n_b + i :] -= counts[: counts.size - n_b - i]
        for start in range(min(i, counts.size)):
            shifted[start::i] = np.cumsum(shifted[start::i])
        counts = shifted
    below = np.cumsum(counts) / counts.sum()
    index = np.rint(w).astype(int)
    lower = below[index]
    upper = 1.0 - np.where(index > 0, below[index - 1], 0.0)
    return np.asarray(np.minimum(2.0 * np.minimum(lower, upper), 1.0))

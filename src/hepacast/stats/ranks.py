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


def halfway(below: ArrayLike, above: ArrayLike) -> NDArray[np.float64]:
    """Cut-offs between neighbors: half way, or the upper one itself where no number lies between the two.

    Who has at least the cut-off counts as above, so that it never may be the lower one.
    """
    low, high = np.asarray(below, dtype=np.float64), np.asarray(above, dtype=np.float64)
    middle = low / 2.0 + high / 2.0
    return np.where(middle > low, middle, high)


def weight_below(score: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of those with a lower score than each, with half the weight of those whose score is the same.

    Parameters
    ----------
    score, weight
        Shape (n,); each counts among those with its own score.
    """
    _, place = np.unique(score, return_inverse=True)
    total = np.bincount(place, weights=weight)
    return np.asarray((np.cumsum(total) - 0.5 * total)[place])


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
    ranks: NDArray[np.float64] = _compiled(_mid_ranks)(columns, np.argsort(columns, axis=1))
    return ranks.T


@dataclass(frozen=True)
class ColumnOrder:
    """In what order the values of every column of a table rise, from which ranks and medians of its rows follow.

    The rows of a fold or of a bootstrap sample stand in the order of the whole table, so that nothing is sorted again:
    what is found equals `column_ranks` and the median of these rows to the last bit. It is a hint and no more: values
    that do not rise in this order (the table was changed since) are sorted.

    Attributes
    ----------
    order
        Rows of each column by rising value, missing and infinite ones last, shape (p, n).
    present
        Finite values of each column, shape (p,).
    """

    order: NDArray[Any]
    present: NDArray[np.int64]

    @classmethod
    def of(cls, x: NDArray[np.float64], block: int = 128) -> ColumnOrder:
        """Sort the columns of a table (n, p), some at a time."""
        n, p = x.shape
        order = np.empty((p, n), dtype=np.uint16 if n <= np.iinfo(np.uint16).max else np.uint32)
        present = np.empty(p, dtype=np.int64)
        for start in range(0, p, block):
            columns = np.ascontiguousarray(x[:, start : start + block].T)
            finite = np.isfinite(columns)
            order[start : start + block] = np.argsort(np.where(finite, columns, np.nan), axis=1)
            present[start : start + block] = finite.sum(axis=1)
        return cls(order, present)

    def ranks(self, x: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """`column_ranks` of a complete table (n, p).

        Parameters
        ----------
        x
            Values that rise with those of the whole table, as scaled ones do; those that are missing there are filled.
        rows
            Row of the whole table that each row is, shape (n,); one may stand there several times.
        columns
            Column of the whole table that each column is, shape (p,).
        """
        values = np.ascontiguousarray(x.T)
        ranks = np.empty(values.shape)
        unsorted = _compiled(_ranks_in_order)(
            values, self.order, self.present, columns, rows, *self._members(rows), ranks
        )
        again = np.flatnonzero(unsorted)
        if again.size:
            ranks[again] = column_ranks(values[again].T).T
        return ranks.T

    def medians(
        self, x: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Median of the present values of each column of a table, shape (p,); parameters as of `ranks`.

        NaN stands for a column that does not have the order of the whole table, or no value.
        """
        values = np.ascontiguousarray(x.T)
        found: NDArray[np.float64] = _compiled(_medians_in_order)(
            values, self.order, self.present, columns, *self._members(rows)
        )
        return found

    def _members(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """How often each row of the whole table stands among `rows`, and one of its places there."""
        n = self.order.shape[1]
        one = np.zeros(n, dtype=np.int32)
        one[rows] = np.arange(len(rows))
        return np.bincount(rows, minlength=n).astype(np.int32), one


@cache
def _compiled(kernel: Any) -> Any:
    """Compiled when it is first needed: most commands that read this module rank no matrix."""
    from numba import njit

    return njit(cache=True, nogil=True)(kernel)


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


def _ranks_in_order(  # type: ignore[no-untyped-def]
    values, order, present, columns, rows, counts, one, ranks
) -> NDArray[np.bool_]:
    """Mid-ranks of every row of `values` into `ranks`; says which rows do not rise in the order of the whole table."""
    p, n = values.shape
    unsorted = np.zeros(p, dtype=np.bool_)
    members, holes = np.empty(counts.size + 1, dtype=np.int32), np.empty(counts.size + 1, dtype=np.int32)
    rank_of, rising = np.empty(counts.size), np.empty(counts.size + 1)
    for row in range(p):
        column = columns[row]
        known = filled = 0
        # Written whether it counts or not, and overwritten by the next: no branch that cannot be foreseen.
        for place in range(present[column]):
            members[known] = order[column, place]
            known += counts[order[column, place]] > 0
        for place in range(present[column], counts.size):
            holes[filled] = order[column, place]
            filled += counts[order[column, place]] > 0
        if filled:
            # All that were missing have one value now: they stand together, where it belongs.
            value, below = values[row, one[holes[0]]], known
            while below > 0 and values[row, one[members[below - 1]]] > value:
                members[below - 1 + filled] = members[below - 1]
                below -= 1
            members[below : below + filled] = holes[:filled]
        distinct, start, before = known + filled, 0, 0
        for place in range(distinct):
            rising[place] = values[row, one[members[place]]]
        while start < distinct:
            value, end, after = rising[start], start + 1, before + counts[members[start]]
            while end < distinct and rising[end] == value:
                after += counts[members[end]]
                end += 1
            if end < distinct and not rising[end] > value:
                unsorted[row] = True
                break
            for place in range(start, end):
                rank_of[members[place]] = 0.5 * (before + 1 + after)
            start, before = end, after
        for place in range(n):
            ranks[row, place] = rank_of[rows[place]]
        if distinct < n:
            other = False
            for place in range(n):
                other |= values[row, place] != values[row, one[rows[place]]]
            unsorted[row] |= other
    return unsorted


def _medians_in_order(  # type: ignore[no-untyped-def]
    values, order, present, columns, counts, one
) -> NDArray[np.float64]:
    """Median of the finite values of every row of `values`, NaN where the order of the whole table does not hold."""
    p, n = values.shape
    medians = np.full(p, np.nan)
    for row in range(p):
        column = columns[row]
        there = 0
        for place in range(present[column]):
            there += counts[order[column, place]]
        if there == 0:
            continue
        low_place, high_place = (there - 1) // 2, there // 2
        low = high = np.nan
        walked = 0
        for place in range(present[column]):
            member = order[column, place]
            before = walked
            walked += counts[member]
            if before <= low_place < walked:
                low = values[row, one[member]]
            if before <= high_place < walked:
                high = values[row, one[member]]
                break
        below_low = to_low = below_high = to_high = finite = 0
        for place in range(n):
            value = values[row, place]
            finite += np.isfinite(value)
            below_low += value < low
            to_low += value <= low
            below_high += value < high
            to_high += value <= high
        fits = below_low <= low_place < to_low and below_high <= high_place < to_high
        if finite == there and fits:
            medians[row] = low if low_place == high_place else (low + high) / 2.0
    return medians


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

"""Tests and measures for tables of counts: chi-square, McNemar, trend, Cramér's V."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom, chi2

from hepacast.errors import ModelError
from hepacast.stats.design import Array
from hepacast.stats.results import TestResult, impossible


def counts_table(table: ArrayLike, *, drop_empty: bool = True) -> Array:
    """A checked table of counts; rows and columns without any patient are dropped, as R's `table` would.

    Raises
    ------
    ModelError
        Not two-dimensional, or an entry is negative, fractional or missing.
    """
    counts = np.asarray(table, dtype=float)
    if counts.ndim != 2 or not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.rint(counts)).any():
        raise ModelError("A contingency table holds counts.", expected="whole numbers >= 0 in rows and columns")
    if drop_empty:
        counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    return counts


@dataclass(frozen=True)
class ChiSquare(TestResult):
    """A chi-square test with what decides whether it may be used.

    `expected_min` is the smallest expected count, `expected_below_5` the number of cells expected below 5,
    `likelihood_ratio` the G statistic, and `cramers_v` the strength of the association (0 to 1).
    """

    expected_min: float = float("nan")
    expected_below_5: int = 0
    cells: int = 0
    likelihood_ratio: float = float("nan")
    cramers_v: float = float("nan")


def chi_square(table: ArrayLike, *, yates: bool = False) -> ChiSquare:
    """Pearson's chi-square test; `yates` applies the continuity correction to a 2 x 2 table, as R does by default."""
    counts = counts_table(table)
    if min(counts.shape) < 2:
        return ChiSquare("chi-square", status="impossible", reason="only one row or one column has patients")
    total = counts.sum()
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    gap = np.abs(counts - expected)
    plain = float((gap**2 / expected).sum())
    corrected = yates and counts.shape == (2, 2)
    shift = min(0.5, float(gap.min())) if corrected else 0.0
    statistic = float(((gap - shift) ** 2 / expected).sum())
    df = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    positive = counts > 0
    return ChiSquare(
        "chi-square (Yates)" if corrected else "chi-square",
        statistic=statistic,
        p=float(chi2.sf(statistic, df)),
        df=float(df),
        expected_min=float(expected.min()),
        expected_below_5=int((expected < 5).sum()),
        cells=int(counts.size),
        likelihood_ratio=float(2 * (counts[positive] * np.log(counts[positive] / expected[positive])).sum()),
        cramers_v=float(np.sqrt(plain / total / (min(counts.shape) - 1))),
    )


def mcnemar(table: ArrayLike, *, correct: bool = True, exact: bool | None = None) -> TestResult:
    """McNemar's test of two paired yes/no answers, from their 2 x 2 table.

    Parameters
    ----------
    correct
        Continuity correction (R's default).
    exact
        Use the exact binomial test; None uses it never, as R's `mcnemar.test`.
    """
    counts = counts_table(table, drop_empty=False)
    if counts.shape != (2, 2):
        raise ModelError("McNemar's test needs a 2 x 2 table.", found=f"{counts.shape[0]} x {counts.shape[1]}")
    b, c = float(counts[0, 1]), float(counts[1, 0])
    if b + c == 0:
        return impossible("McNemar", "no patient was judged differently")
    if exact:
        p = min(1.0, 2.0 * float(binom.cdf(min(b, c), b + c, 0.5)))
        return TestResult("McNemar (exact)", statistic=min(b, c), p=p)
    shift = 1.0 if correct and b != c else 0.0
    statistic = (abs(b - c) - shift) ** 2 / (b + c)
    return TestResult("McNemar", statistic=statistic, p=float(chi2.sf(statistic, 1)), df=1.0)


def trend_in_proportions(events: ArrayLike, totals: ArrayLike, scores: ArrayLike | None = None) -> TestResult:
    """Chi-square test for a trend of proportions over ordered groups (R's `prop.trend.test`, Cochran-Armitage)."""
    x, n = np.asarray(events, dtype=float), np.asarray(totals, dtype=float)
    score = np.arange(1.0, x.size + 1) if scores is None else np.asarray(scores, dtype=float)
    used = n > 0
    x, n, score = x[used], n[used], score[used]
    share = x.sum() / n.sum() if n.size else 0.0
    center = float(np.average(score, weights=n)) if n.size else 0.0
    spread = float((n * (score - center) ** 2).sum()) * share * (1 - share)
    if n.size < 2 or spread <= 0:
        return impossible("trend in proportions", "needs two groups, and patients with and without the event")
    statistic = float((score - center) @ (x - n * share)) ** 2 / spread
    return TestResult("trend in proportions", statistic=statistic, p=float(chi2.sf(statistic, 1)), df=1.0)

"""Univariate tests for numbers: two groups, several groups, pairs. Equal to R's functions of the same kind.

Missing values are dropped, as R does. A test that cannot be made (a group of one patient, no spread at all) gives NaN
with a reason, never a number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats
from scipy.stats import rankdata

from hepacast.errors import ModelError
from hepacast.stats.adjust import p_adjust
from hepacast.stats.contingency import chi_square, mcnemar, trend_in_proportions
from hepacast.stats.design import Array
from hepacast.stats.fisher_exact import fisher_exact
from hepacast.stats.normality import shapiro
from hepacast.stats.ranks import rank_sum_exact_p
from hepacast.stats.results import TestResult, impossible
from hepacast.stats.tests_columns import ColumnTests, univariate_tests

__all__ = [
    "ColumnTests",
    "TestResult",
    "anova",
    "chi_square",
    "fisher_exact",
    "kolmogorov_smirnov",
    "kruskal",
    "levene",
    "mann_whitney",
    "mcnemar",
    "p_adjust",
    "paired_t_test",
    "shapiro",
    "t_test",
    "trend_in_proportions",
    "univariate_tests",
    "variance_ratio",
    "wilcoxon_signed_rank",
]


def _clean(values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=float).ravel()
    return array[~np.isnan(array)]


def t_test(a: ArrayLike, b: ArrayLike, *, equal_var: bool = False, level: float = 0.95) -> TestResult:
    """Welch's t test (or Student's with `equal_var`); estimate and limits are of mean(a) - mean(b)."""
    x, y = _clean(a), _clean(b)
    name = "Student t" if equal_var else "Welch t"
    if min(x.size, y.size) < 2:
        return impossible(name, "a group has fewer than two values")
    var_x, var_y = x.var(ddof=1), y.var(ddof=1)
    if equal_var:
        df = float(x.size + y.size - 2)
        se = np.sqrt(((x.size - 1) * var_x + (y.size - 1) * var_y) / df * (1 / x.size + 1 / y.size))
    else:
        part_x, part_y = var_x / x.size, var_y / y.size
        se = np.sqrt(part_x + part_y)
        share = part_x / (part_x + part_y) if se > 0 else np.nan  # a share, so that the unit does not overflow
        df = 1.0 / (share**2 / (x.size - 1) + (1.0 - share) ** 2 / (y.size - 1))
    difference = float(x.mean() - y.mean())
    # R's own threshold for data that are constant up to rounding.
    if se < 10 * np.finfo(float).eps * max(abs(x.mean()), abs(y.mean())) or se == 0:
        return impossible(name, "the values do not vary")
    t = difference / se
    half = stats.t.ppf(0.5 + level / 2, df) * se
    return TestResult(
        name,
        statistic=float(t),
        p=float(2 * stats.t.sf(abs(t), df)),
        df=float(df),
        estimate=difference,
        ci=(difference - float(half), difference + float(half)),
    )


def paired_t_test(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> TestResult:
    """Paired t test; pairs with a missing value are dropped."""
    difference = _paired(a, b)
    n = difference.size
    if n < 2:
        return impossible("paired t", "fewer than two complete pairs")
    se = difference.std(ddof=1) / np.sqrt(n)
    if se < 10 * np.finfo(float).eps * abs(difference.mean()) or se == 0:
        return impossible("paired t", "all differences are equal")
    t = difference.mean() / se
    half = stats.t.ppf(0.5 + level / 2, n - 1) * se
    mean = float(difference.mean())
    return TestResult(
        "paired t",
        statistic=float(t),
        p=float(2 * stats.t.sf(abs(t), n - 1)),
        df=float(n - 1),
        estimate=mean,
        ci=(mean - float(half), mean + float(half)),
    )


def _paired(a: ArrayLike, b: ArrayLike) -> Array:
    x, y = np.asarray(a, dtype=float).ravel(), np.asarray(b, dtype=float).ravel()
    if x.size != y.size:
        raise ModelError("Pairs need two columns of equal length.", expected=f"{x.size} values", found=f"{y.size}")
    difference = x - y
    return difference[~np.isnan(difference)]


def mann_whitney(a: ArrayLike, b: ArrayLike, *, exact: bool | None = None, correct: bool = True) -> TestResult:
    """Mann-Whitney (Wilcoxon rank-sum) test, as R's `wilcox.test`.

    Parameters
    ----------
    exact
        None: exact when both groups have fewer than 50 values and there are no ties, as R decides. Exact P values
        are not defined with ties; asking for them then falls back to the normal approximation and says so in `name`.
    correct
        Continuity correction of the normal approximation.

    Returns
    -------
    TestResult
        `statistic` is R's W (the number of pairs with a > b, ties one half); `estimate` is W / (n_a n_b), the
        probability that a value of a exceeds one of b.
    """
    x, y = _clean(a), _clean(b)
    if min(x.size, y.size) == 0:
        return impossible("Mann-Whitney", "a group has no values")
    both = np.concatenate([x, y])
    ranks = rankdata(both)
    w = float(ranks[: x.size].sum() - x.size * (x.size + 1) / 2)
    _, ties = np.unique(both, return_counts=True)
    tied = bool((ties > 1).any())
    use_exact = (max(x.size, y.size) < 50) if exact is None else exact
    n_pairs = x.size * y.size
    if use_exact and not tied:
        p = rank_sum_exact_p(np.array([w]), x.size, y.size)[0]
        return TestResult("Mann-Whitney (exact)", statistic=w, p=float(p), estimate=w / n_pairs)
    n = x.size + y.size
    variance = n_pairs / 12.0 * ((n + 1) - float((ties.astype(float) ** 3 - ties).sum()) / (n * (n - 1)))
    if variance <= 0:
        return impossible("Mann-Whitney", "all values are equal")
    shift = w - n_pairs / 2.0
    z = (shift - (np.sign(shift) * 0.5 if correct else 0.0)) / np.sqrt(variance)
    return TestResult("Mann-Whitney", statistic=w, p=float(min(1.0, 2 * stats.norm.sf(abs(z)))), estimate=w / n_pairs)


def wilcoxon_signed_rank(a: ArrayLike, b: ArrayLike, *, exact: bool | None = None, correct: bool = True) -> TestResult:
    """Wilcoxon signed-rank test of pairs, as R's `wilcox.test(paired = TRUE)`; zero differences are dropped."""
    difference = _paired(a, b)
    kept = difference[difference != 0]
    n = kept.size
    if n == 0:
        return impossible("Wilcoxon signed-rank", "no pair differs")
    ranks = rankdata(np.abs(kept))
    v = float(ranks[kept > 0].sum())
    tied = np.unique(np.abs(kept)).size < n or n < difference.size
    if (n < 50 if exact is None else exact) and not tied:
        counts = np.zeros(n * (n + 1) // 2 + 1)
        counts[0] = 1.0
        for rank in range(1, n + 1):
            counts[rank:] = counts[rank:] + counts[:-rank]
        below = np.cumsum(counts) / counts.sum()
        index = round(v)
        tail = min(below[index], 1.0 - (below[index - 1] if index else 0.0))
        return TestResult("Wilcoxon signed-rank (exact)", statistic=v, p=float(min(1.0, 2 * tail)))
    _, ties = np.unique(np.abs(kept), return_counts=True)
    variance = n * (n + 1) * (2 * n + 1) / 24.0 - float((ties.astype(float) ** 3 - ties).sum()) / 48.0
    shift = v - n * (n + 1) / 4.0
    z = (shift - (np.sign(shift) * 0.5 if correct else 0.0)) / np.sqrt(variance)
    return TestResult("Wilcoxon signed-rank", statistic=v, p=float(min(1.0, 2 * stats.norm.sf(abs(z)))))


def _groups(groups: Sequence[ArrayLike], name: str, least: int) -> list[Array] | TestResult:
    cleaned = [_clean(group) for group in groups]
    if len(cleaned) < 2 or min(group.size for group in cleaned) < least:
        return impossible(name, f"needs two groups and at least {least} values in each")
    return cleaned


def anova(groups: Sequence[ArrayLike], *, equal_var: bool = False) -> TestResult:
    """One-way analysis of variance: Welch's (R's `oneway.test`) or, with `equal_var`, Fisher's."""
    name = "ANOVA" if equal_var else "Welch ANOVA"
    found = _groups(groups, name, 2)
    if isinstance(found, TestResult):
        return found
    sizes = np.array([group.size for group in found], dtype=float)
    means = np.array([group.mean() for group in found])
    variances = np.array([group.var(ddof=1) for group in found])
    k = len(found)
    if equal_var:
        within = float(((sizes - 1) * variances).sum()) / (sizes.sum() - k)
        if within == 0:
            return impossible(name, "the values do not vary within the groups")
        between = float((sizes * (means - np.average(means, weights=sizes)) ** 2).sum()) / (k - 1)
        f, df2 = between / within, float(sizes.sum() - k)
    else:
        if (variances == 0).any():
            return impossible(name, "the values of a group do not vary")
        weights = sizes / variances
        share = ((1 - weights / weights.sum()) ** 2 / (sizes - 1)).sum() / (k**2 - 1)
        center = float((weights * means).sum() / weights.sum())
        f = float((weights * (means - center) ** 2).sum()) / ((k - 1) * (1 + 2 * (k - 2) * share))
        df2 = float(1 / (3 * share))
    return TestResult(name, statistic=float(f), p=float(stats.f.sf(f, k - 1, df2)), df=float(k - 1), df2=df2)


def kruskal(groups: Sequence[ArrayLike]) -> TestResult:
    """Kruskal-Wallis test with correction for ties."""
    found = _groups(groups, "Kruskal-Wallis", 1)
    if isinstance(found, TestResult):
        return found
    values = np.concatenate(found)
    if np.ptp(values) == 0:
        return impossible("Kruskal-Wallis", "all values are equal")
    h, p = stats.kruskal(*found)
    return TestResult("Kruskal-Wallis", statistic=float(h), p=float(p), df=float(len(found) - 1))


def levene(groups: Sequence[ArrayLike], *, center: str = "median") -> TestResult:
    """Levene's test of equal variances (`center="mean"`), or Brown-Forsythe's (`"median"`, R's default)."""
    found = _groups(groups, "Levene", 2)
    if isinstance(found, TestResult):
        return found
    middle = np.median if center == "median" else np.mean
    spread = [np.abs(group - middle(group)) for group in found]
    result = anova(spread, equal_var=True)
    if not result.ok:
        return impossible("Levene", "the values do not vary")
    return TestResult("Levene", statistic=result.statistic, p=result.p, df=result.df, df2=result.df2)


def variance_ratio(a: ArrayLike, b: ArrayLike) -> TestResult:
    """F test of two variances (R's `var.test`)."""
    x, y = _clean(a), _clean(b)
    if min(x.size, y.size) < 2 or x.var() == 0 or y.var() == 0:
        return impossible("F test of variances", "a group has fewer than two different values")
    f = x.var(ddof=1) / y.var(ddof=1)
    tail = float(stats.f.cdf(f, x.size - 1, y.size - 1))
    # The upper tail by its own function: 1 - cdf would lose its digits.
    upper = float(stats.f.sf(f, x.size - 1, y.size - 1))
    p = min(1.0, 2.0 * min(tail, upper))
    return TestResult("F test of variances", statistic=float(f), p=p, df=float(x.size - 1), df2=float(y.size - 1))


def kolmogorov_smirnov(a: ArrayLike, b: ArrayLike) -> TestResult:
    """Two-sample Kolmogorov-Smirnov test with the asymptotic P (R's `ks.test(exact = FALSE)`)."""
    x, y = np.sort(_clean(a)), np.sort(_clean(b))
    if min(x.size, y.size) == 0:
        return impossible("Kolmogorov-Smirnov", "a group has no values")
    both = np.concatenate([x, y])
    gap = np.searchsorted(x, both, side="right") / x.size - np.searchsorted(y, both, side="right") / y.size
    d = float(np.abs(gap).max())
    p = float(special.kolmogorov(np.sqrt(x.size * y.size / (x.size + y.size)) * d))
    return TestResult("Kolmogorov-Smirnov", statistic=d, p=p)

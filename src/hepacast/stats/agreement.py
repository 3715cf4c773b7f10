"""Agreement between readers: intraclass correlation in all forms, kappas, Kendall's W.

Sources: Shrout PE, Fleiss JL. Psychol Bull 1979;86:420. McGraw KO, Wong SP. Psychol Methods 1996;1:30.
Cohen J. Psychol Bull 1968;70:213. Fleiss JL, Cohen J, Everitt BS. Psychol Bull 1969;72:323.
R packages psych and irr are the frozen truth of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from hepacast.core.records import Record, sparse
from hepacast.errors import HepacastError

Array = npt.NDArray[np.float64]
IccForm = Literal["ICC1", "ICC2", "ICC3", "ICC1k", "ICC2k", "ICC3k"]
ICC_FORMS: dict[str, str] = {
    "ICC1": "one-way random, single rater",
    "ICC2": "two-way random, absolute agreement, single rater",
    "ICC3": "two-way mixed, consistency, single rater",
    "ICC1k": "one-way random, mean of raters",
    "ICC2k": "two-way random, absolute agreement, mean of raters",
    "ICC3k": "two-way mixed, consistency, mean of raters",
}


def _complete(ratings: npt.ArrayLike) -> Array:
    values = np.asarray(ratings, dtype=float)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 2:
        raise HepacastError(
            "Agreement needs at least two subjects and two raters.",
            expected="one row a subject, one column a rater",
            found=f"shape {values.shape}",
        )
    if not np.isfinite(values).all():
        rows = int((~np.isfinite(values)).any(axis=1).sum())
        raise HepacastError(
            "Some subjects were not rated by all raters.",
            found=f"{rows} incomplete subjects",
            remedy="leave them out, with the reason",
        )
    return values


def mean_squares(values: Array) -> tuple[Array, Array, Array, Array]:
    """Mean squares between subjects, within subjects, between raters and residual, of many features at once.

    Parameters
    ----------
    values
        Shape (n subjects, k raters, ...); the further axes are features.
    """
    n, k = values.shape[:2]
    grand = values.mean(axis=(0, 1))
    by_subject, by_rater = values.mean(axis=1), values.mean(axis=0)
    between = k * ((by_subject - grand) ** 2).sum(axis=0)
    raters = n * ((by_rater - grand) ** 2).sum(axis=0)
    within = ((values - by_subject[:, None]) ** 2).sum(axis=(0, 1))
    residual = np.maximum(within - raters, 0.0)
    return between / (n - 1), within / (n * (k - 1)), raters / (k - 1), residual / ((n - 1) * (k - 1))


def icc_values(values: npt.ArrayLike, form: IccForm = "ICC2") -> Array:
    """Point estimates of one form of the ICC for many features at once.

    Parameters
    ----------
    values
        Shape (n subjects, k raters, m features).

    Returns
    -------
    Array
        Shape (m,). NaN for a feature that has a missing value or does not vary: never 0, never 1.
    """
    array = np.asarray(values, dtype=float)
    n, k = array.shape[:2]
    msb, msw, msj, mse = mean_squares(array)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = {
            "ICC1": lambda: (msb - msw) / (msb + (k - 1) * msw),
            "ICC2": lambda: (msb - mse) / (msb + (k - 1) * mse + k * (msj - mse) / n),
            "ICC3": lambda: (msb - mse) / (msb + (k - 1) * mse),
            "ICC1k": lambda: (msb - msw) / msb,
            "ICC2k": lambda: (msb - mse) / (msb + (msj - mse) / n),
            "ICC3k": lambda: (msb - mse) / msb,
        }[form]()
    return np.where(np.isfinite(result), result, np.nan)


def icc(ratings: npt.ArrayLike, *, level: float = 0.95) -> pd.DataFrame:
    """All forms of the intraclass correlation with interval and F test, as ``psych::ICC``.

    Parameters
    ----------
    ratings
        Shape (n subjects, k raters), complete.

    Returns
    -------
    DataFrame
        One row a form: icc, F, df1, df2, p, lower, upper, meaning.

    Raises
    ------
    HepacastError
        Fewer than two subjects or raters, a missing rating, or ratings that are all equal.
    """
    values = _complete(ratings)
    n, k = values.shape
    msb, msw, msj, mse = (float(v) for v in mean_squares(values))
    if msb == 0 and msw == 0:
        raise HepacastError("All ratings are equal: agreement cannot be judged.", found="no variation")
    tail = 0.5 + level / 2
    rows = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, residual, df2 in (("ICC1", msw, n * (k - 1)), ("ICC3", mse, (n - 1) * (k - 1))):
            f = np.float64(msb) / residual
            low, high = f / stats.f.ppf(tail, n - 1, df2), f * stats.f.ppf(tail, df2, n - 1)
            p = float(stats.f.sf(f, n - 1, df2))
            rows[name] = (f, df2, p, (low - 1) / (low + k - 1), (high - 1) / (high + k - 1))
            rows[f"{name}k"] = (f, df2, p, 1 - 1 / low, 1 - 1 / high)
    low, high = _agreement_limits(n, k, msb, msj, mse, tail)
    f, df2, p = rows["ICC3"][:3]
    rows["ICC2"] = (f, df2, p, low, high)
    rows["ICC2k"] = (f, df2, p, low * k / (1 + low * (k - 1)), high * k / (1 + high * (k - 1)))
    table = [
        (name, float(icc_values(values[:, :, None], name)[0]), rows[name][0], n - 1, *rows[name][1:], meaning)  # type: ignore[arg-type]
        for name, meaning in ICC_FORMS.items()
    ]
    columns = ["form", "icc", "F", "df1", "df2", "p", "lower", "upper", "meaning"]
    return pd.DataFrame(table, columns=columns).set_index("form")


def _agreement_limits(n: int, k: int, msb: float, msj: float, mse: float, tail: float) -> tuple[float, float]:
    spread = msb + (k - 1) * mse + k * (msj - mse) / n
    if abs(spread) <= 1e-12 * (msb + msj + mse):  # raters in opposite directions: between subjects nothing is left
        return float("nan"), float("nan")
    value = (msb - mse) / spread
    ratio = np.float64(msj) / mse if mse > 0 else np.inf
    if not np.isfinite(ratio):
        return float("nan"), float("nan")
    a, b = k * value * ratio, n * (1 + (k - 1) * value) - k * value
    if abs(a + b) <= 1e-12 * (abs(a) + abs(b)):  # raters in opposite directions leave no degrees of freedom
        return float("nan"), float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.float64((k - 1) * (n - 1) * (a + b) ** 2) / ((n - 1) * a**2 + b**2)
        upper_f, lower_f = stats.f.ppf(tail, n - 1, df), stats.f.ppf(tail, df, n - 1)
        rest = k * msj + (k * n - k - n) * mse
        low = n * (msb - upper_f * mse) / (upper_f * rest + n * msb)
        high = n * (lower_f * msb - mse) / (rest + n * lower_f * msb)
    return float(low), float(high)


@dataclass(frozen=True)
class Kappa(Record):
    """A kappa statistic with its limits and the test against 0 (chance agreement).

    `se` and the limits are those of the kappa that was found, `z` and `p` of no agreement beyond chance: they have
    different variances. Limits are cut at -1 and 1, and NaN where there is no variance.
    """

    kappa: float
    z: float
    p: float
    n: int
    se: float = float("nan")
    lower: float = float("nan")
    upper: float = float("nan")
    reason: str = sparse("")


def _kappa(value: float, null_variance: float, variance: float, n: int, quantile: float) -> Kappa:
    with np.errstate(divide="ignore", invalid="ignore"):
        z = float(value / np.sqrt(null_variance))
    # Raters who agree in everything leave no variance, and no interval.
    se = float(np.sqrt(variance)) if variance > 1e-15 else float("nan")
    lower, upper = np.clip([value - quantile * se, value + quantile * se], -1.0, 1.0)
    reason = "" if np.isfinite(se) else "raters who agree in everything leave no variance, and no limits"
    return Kappa(float(value), z, float(2 * stats.norm.sf(abs(z))), n, se, float(lower), float(upper), reason)


def cohen_kappa(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    weights: Literal["none", "linear", "quadratic"] = "none",
    levels: Sequence[Any] | None = None,
    level: float = 0.95,
) -> Kappa:
    """Cohen's kappa of two raters; weighted for ordered categories.

    Parameters
    ----------
    levels
        All categories in their order, also those that nobody chose: a grade between two others keeps them apart.
        By default the sorted ones that occur.
    level
        Of the limits, by the large-sample variance of Fleiss, Cohen and Everitt (1969), as ``psych::cohen.kappa``.

    Raises
    ------
    HepacastError
        Lengths differ, a value is missing or not a level, or only one category occurs.
    """
    a, b = pd.Series(np.asarray(first)), pd.Series(np.asarray(second))
    if len(a) != len(b) or len(a) < 2 or a.isna().any() or b.isna().any():
        raise HepacastError("Two complete lists of one length are needed.", found=f"{len(a)} and {len(b)} values")
    occurring = sorted(set(a) | set(b))
    if len(occurring) < 2:
        raise HepacastError("Kappa needs at least two categories.", found=f"{occurring}")
    known = list(occurring if levels is None else levels)
    index = {item: i for i, item in enumerate(known)}
    if not set(occurring) <= set(index):
        raise HepacastError("A rating is not among the levels.", expected=f"{known}", found=f"{occurring}")
    table = np.zeros((len(known), len(known)))
    np.add.at(table, (a.map(index).to_numpy(), b.map(index).to_numpy()), 1)
    n = len(a)
    share = table / n
    distance = np.abs(np.subtract.outer(np.arange(len(known)), np.arange(len(known)))) / (len(known) - 1)
    w = {"none": np.eye(len(known)), "linear": 1 - distance, "quadratic": 1 - distance**2}[weights]
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    expected = np.outer(rows, columns)
    chance, agreed = float((expected * w).sum()), float((share * w).sum())
    value = (agreed - chance) / (1 - chance)
    mean = np.add.outer(w @ columns, rows @ w)
    null = (float((expected * (w - mean) ** 2).sum()) - chance**2) / (n * (1 - chance) ** 2)
    spread = float((share * (w * (1 - chance) - mean * (1 - agreed)) ** 2).sum())
    variance = (spread - (agreed * chance - 2 * chance + agreed) ** 2) / (n * (1 - chance) ** 4)
    return _kappa(value, null, variance, n, float(stats.norm.ppf(0.5 + level / 2)))


def fleiss_kappa(ratings: npt.ArrayLike, *, level: float = 0.95) -> Kappa:
    """Fleiss' kappa of several raters, shape (n subjects, k raters).

    The test against 0 has the variance of Fleiss, Nee and Landis (Psychol Bull 1979;86:974), the limits the
    large-sample variance of Gwet (Educ Psychol Meas 2021;81:781), with Student's t of n - 1 degrees of freedom.
    """
    values = _complete(ratings)
    n, k = values.shape
    levels = np.unique(values)
    counts = (values[:, :, None] == levels).sum(axis=1)
    share = counts.sum(axis=0) / (n * k)
    by_subject = ((counts**2).sum(axis=1) - k) / (k * (k - 1))
    observed = float(by_subject.mean())
    chance = float((share**2).sum())
    if chance == 1:
        raise HepacastError("Kappa needs at least two categories.", found=f"{levels.tolist()}")
    value = (observed - chance) / (1 - chance)
    pq = share * (1 - share)
    total = pq.sum()
    null = 2 / (total**2 * n * k * (k - 1)) * (total**2 - (pq * (1 - 2 * share)).sum())
    expected = counts @ share / k
    influence = (by_subject - chance) / (1 - chance) - 2 * (1 - value) * (expected - chance) / (1 - chance)
    variance = float(((influence - value) ** 2).sum()) / (n * (n - 1))
    return _kappa(value, float(null), variance, n, float(stats.t.ppf(0.5 + level / 2, n - 1)))


def kendall_w(ratings: npt.ArrayLike) -> float:
    """Kendall's coefficient of concordance W, corrected for ties; shape (n subjects, k raters)."""
    values = _complete(ratings)
    n, k = values.shape
    ranks = np.apply_along_axis(stats.rankdata, 0, values)
    ties = sum(float((c**3 - c).sum()) for c in (np.unique(column, return_counts=True)[1] for column in values.T))
    spread = float(((ranks.sum(axis=1) - k * (n + 1) / 2) ** 2).sum())
    scale = k**2 * (n**3 - n) - k * ties
    # Every rater gives every subject the same: there is no order to agree on.
    return 12 * spread / scale if scale > 0 else float("nan")

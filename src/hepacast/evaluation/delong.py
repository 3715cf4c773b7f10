"""DeLong's variance of the area under the ROC curve, in O(n log n), and the tests that rest on it.

References
----------
DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-45.
Sun X, Xu W. Fast implementation of DeLong's algorithm. IEEE Signal Process Lett 2014;21:1389-93.
Obuchowski NA, McClish DK. Stat Med 1997;16:1529-42 (unpaired comparison; degrees of freedom as in pROC).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from scipy.stats import t as student

from hepacast.core.records import Record
from hepacast.errors import ModelError
from hepacast.evaluation.predictions import Array, checked
from hepacast.stats.ranks import auc_covariance


def delong_covariance(y: ArrayLike, scores: list[ArrayLike]) -> tuple[Array, Array]:
    """As `auc_covariance`, of an outcome and scores that are checked first."""
    pairs = [checked(y, score) for score in scores]
    return auc_covariance(pairs[0][0], [values for _, values in pairs])


@dataclass(frozen=True)
class DeLong(Record):
    """A comparison of two areas under the ROC curve.

    Attributes
    ----------
    auc1, auc2, difference, ci
        The areas, auc1 - auc2 and its confidence limits.
    statistic, df, p
        Z (df infinite) for paired curves, t for unpaired ones; two-sided P.
    status, reason
        `ok`, `identical` (the two scores rank all patients alike: difference 0, P 1) or `impossible`.
    """

    auc1: float
    auc2: float
    difference: float
    ci: tuple[float, float]
    statistic: float
    df: float
    p: float
    status: str = "ok"
    reason: str = ""


def delong_test(y: ArrayLike, score1: ArrayLike, score2: ArrayLike, *, level: float = 0.95) -> DeLong:
    """Compare the AUCs of two scores of the same patients (pROC's `roc.test(paired = TRUE)`).

    Raises
    ------
    OutcomeError, ModelError
        The outcome or a score cannot be used.
    """
    aucs, covariance = delong_covariance(y, [score1, score2])
    difference = float(aucs[0] - aucs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
    if np.isnan(variance):
        return _none(aucs, "fewer than two patients with or without the event")
    # Rounding leaves about 1e-17 where the curves are the same one.
    if variance < 1e-15:
        if abs(difference) < 1e-12:
            auc = float(aucs[0])
            return DeLong(auc, auc, 0.0, (0.0, 0.0), 0.0, np.inf, 1.0, "identical", "the same curve")
        return _none(aucs, "the difference has no variance in these data")
    z = difference / np.sqrt(variance)
    half = float(norm.ppf(0.5 + level / 2.0) * np.sqrt(variance))
    interval = (difference - half, difference + half)
    p = float(2.0 * norm.sf(abs(z)))
    return DeLong(float(aucs[0]), float(aucs[1]), difference, interval, float(z), np.inf, p)


def delong_test_unpaired(
    y1: ArrayLike, score1: ArrayLike, y2: ArrayLike, score2: ArrayLike, *, level: float = 0.95
) -> DeLong:
    """Compare AUCs in two different groups of patients (pROC's `roc.test(paired = FALSE)`): a t test.

    Raises
    ------
    OutcomeError, ModelError
        An outcome or a score cannot be used.
    """
    (auc1,), covariance1 = delong_covariance(y1, [score1])
    (auc2,), covariance2 = delong_covariance(y2, [score2])
    v1, v2 = float(covariance1[0, 0]), float(covariance2[0, 0])
    aucs = np.array([auc1, auc2])
    if np.isnan(v1 + v2):
        return _none(aucs, "a group has fewer than two patients with or without the event")
    if v1 + v2 < 1e-15:
        return _none(aucs, "both curves are perfect or constant: no variance")
    n1, n2 = int(np.asarray(y1).size), int(np.asarray(y2).size)
    df = (v1 + v2) ** 2 / (v1**2 / (n1 - 1) + v2**2 / (n2 - 1))
    difference = float(auc1 - auc2)
    statistic = difference / np.sqrt(v1 + v2)
    half = float(student.ppf(0.5 + level / 2.0, df) * np.sqrt(v1 + v2))
    p = float(2.0 * student.sf(abs(statistic), df))
    interval = (difference - half, difference + half)
    return DeLong(float(auc1), float(auc2), difference, interval, float(statistic), float(df), p)


def _none(aucs: Array, reason: str) -> DeLong:
    nan, auc1, auc2 = float("nan"), float(aucs[0]), float(aucs[1])
    return DeLong(auc1, auc2, auc1 - auc2, (nan, nan), nan, nan, nan, "impossible", reason)


def check_level(level: float) -> float:
    """A confidence level between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise ModelError("A confidence level lies between 0 and 1.", found=f"{level:g}")
    return float(level)

"""Estimates and limits from repeated fits: cross-validation folds, bootstrap samples.

References
----------
Nadeau C, Bengio Y. Inference for the generalization error. Machine Learning 2003;52:239-81.
Efron B, Tibshirani R. Improvements on cross-validation: the .632+ bootstrap method. JASA 1997;92:548-60.
Harrell FE, Lee KL, Mark DB. Stat Med 1996;15:361-87.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from hepacast.errors import ModelError
from hepacast.stats.results import TestResult, impossible


@dataclass(frozen=True)
class ResampledMean:
    """A mean over folds or samples with limits of a confidence `level`; `n` values were there, `missing` were not."""

    estimate: float
    se: float
    low: float
    high: float
    n: int
    missing: int
    level: float = 0.95


def nadeau_bengio(scores: ArrayLike, test_to_train: float, *, level: float = 0.95) -> ResampledMean:
    """Mean of a score over the folds of (repeated) cross-validation, with corrected limits.

    Training sets of the folds overlap, so the plain variance is too small: it is multiplied by
    1/J + n_test/n_train instead of 1/J, with J folds in all and Student's t with J - 1 degrees of freedom.

    Parameters
    ----------
    scores
        One value a fold (all repeats); NaN where a fold had none.
    test_to_train
        n_test / n_train of a fold: 1 / (k - 1) for k folds.
    """
    values = np.asarray(scores, dtype=float).ravel()
    kept = values[~np.isnan(values)]
    missing = int(values.size - kept.size)
    nan = float("nan")
    if not test_to_train > 0:
        raise ModelError("The share of test to training patients is positive.", found=f"{test_to_train:g}")
    if kept.size == 0:
        return ResampledMean(nan, nan, nan, nan, 0, missing, level)
    mean = float(kept.mean())
    if kept.size == 1:
        return ResampledMean(mean, nan, nan, nan, 1, missing, level)
    se = float(np.sqrt(kept.var(ddof=1) * (1.0 / kept.size + test_to_train)))
    half = float(student.ppf(0.5 + level / 2.0, kept.size - 1)) * se
    return ResampledMean(mean, se, mean - half, mean + half, int(kept.size), missing, level)


def corrected_resampled_t(scores1: ArrayLike, scores2: ArrayLike, test_to_train: float) -> TestResult:
    """Compare two models over the same folds with Nadeau and Bengio's variance; estimate is the mean difference."""
    first, second = np.asarray(scores1, dtype=float).ravel(), np.asarray(scores2, dtype=float).ravel()
    if first.size != second.size:
        raise ModelError("The two models were not scored on the same folds.", found=f"{first.size} and {second.size}")
    found = nadeau_bengio(first - second, test_to_train)
    name = "corrected resampled t"
    if found.n < 2:
        return impossible(name, "fewer than two folds with both scores")
    if found.se == 0.0:
        return impossible(name, "the difference is the same in all folds")
    statistic = found.estimate / found.se
    p = float(2.0 * student.sf(abs(statistic), found.n - 1))
    limits = (found.low, found.high)
    return TestResult(name, statistic=statistic, p=p, df=float(found.n - 1), estimate=found.estimate, ci=limits)


def plus_632(apparent: float, outside: float, no_information: float, *, larger_is_better: bool = True) -> float:
    """Efron and Tibshirani's .632+ estimate of a performance measure.

    Parameters
    ----------
    apparent
        In the patients of the fit.
    outside
        Mean over bootstrap samples, in the patients not drawn.
    no_information
        What a model gets when predictors and outcome are unrelated: 0.5 for the AUC; see `no_information_brier`.
    larger_is_better
        False for errors such as the Brier score.
    """
    sign = 1.0 if larger_is_better else -1.0
    a, b, g = sign * apparent, sign * outside, sign * no_information
    if np.isnan(a) or np.isnan(b):
        return float("nan")
    b = max(b, g)
    overfit = (a - b) / (a - g) if a > b and a > g else 0.0
    weight = 0.632 / (1.0 - 0.368 * overfit)
    return float(sign * ((1.0 - weight) * a + weight * b))


def no_information_brier(y: ArrayLike, risk: ArrayLike) -> float:
    """Brier score of the risks dealt out to patients at random: the mean over all pairs of outcome and risk."""
    outcome, p = np.asarray(y, dtype=float), np.asarray(risk, dtype=float)
    share = float(outcome.mean())
    return float(share * np.mean((1.0 - p) ** 2) + (1.0 - share) * np.mean(p**2))


@dataclass(frozen=True)
class Optimism:
    """Harrell's correction: apparent value, optimism (mean of training - test over the samples), corrected value."""

    apparent: float
    optimism: float
    corrected: float
    n: int
    missing: int
    level: float = 0.95


def optimism(apparent: float, training: ArrayLike, test: ArrayLike) -> Optimism:
    """Correct an apparent performance for optimism.

    Parameters
    ----------
    training, test
        Performance of each refit in its own bootstrap sample and in all patients; NaN where a refit failed.
    """
    gap = np.asarray(training, dtype=float) - np.asarray(test, dtype=float)
    kept = gap[~np.isnan(gap)]
    mean = float(kept.mean()) if kept.size else float("nan")
    return Optimism(apparent, mean, apparent - mean, int(kept.size), int(gap.size - kept.size))

"""Limits from repeated fits: worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from hepacast.errors import ModelError
from hepacast.stats.resampling import (
    corrected_resampled_t,
    location_shifted,
    nadeau_bengio,
    no_information_brier,
    optimism,
    plus_632,
    repeated_folds,
)


def test_nadeau_bengio_by_hand():
    found = nadeau_bengio([0.6, 0.7, 0.8, np.nan, 0.7], 1 / 9)
    variance = (0.01 + 0.01) / 3 * (1 / 4 + 1 / 9)
    assert_allclose([found.estimate, found.se], [0.7, math.sqrt(variance)])
    assert_allclose(found.high - 0.7, 3.182446305284263 * math.sqrt(variance))
    assert (found.n, found.missing) == (4, 1)
    assert math.isnan(nadeau_bengio([0.7], 0.1).low) and math.isnan(nadeau_bengio([], 0.1).estimate)
    with pytest.raises(ModelError):
        nadeau_bengio([0.5, 0.6], 0)


def test_limits_cover_where_the_plain_t_does_not():
    # The known truth: mean of normals by repeated 10-fold "training" means, compared with the new-sample mean.
    rng = np.random.default_rng(0)
    corrected = plain = 0
    for _ in range(120):
        x = rng.normal(size=60)
        losses = []
        for _ in range(5):
            for test in np.array_split(rng.permutation(60), 10):
                train = np.setdiff1d(np.arange(60), test)
                losses.append(float(np.mean((x[test] - x[train].mean()) ** 2)))
        truth = 1 + 1 / 54
        found = nadeau_bengio(losses, 1 / 9)
        corrected += found.low <= truth <= found.high
        half = stats.t.ppf(0.975, 49) * np.std(losses, ddof=1) / math.sqrt(50)
        plain += abs(np.mean(losses) - truth) <= half
    assert plain / 120 < 0.75 < 0.88 < corrected / 120


def test_comparison_of_two_models():
    a, b = np.array([0.8, 0.7, 0.75, 0.72]), np.array([0.7, 0.65, 0.72, 0.7])
    found = corrected_resampled_t(a, b, 1 / 3)
    d = a - b
    t = d.mean() / math.sqrt(d.var(ddof=1) * (1 / 4 + 1 / 3))
    assert_allclose([found.statistic, found.p], [t, 2 * stats.t.sf(t, 3)])
    assert corrected_resampled_t(a, a, 1 / 3).status == "impossible"


def test_plus_632_limits():
    # No overfitting: the plain .632; complete overfitting: only what is left outside counts.
    assert_allclose(plus_632(0.8, 0.8, 0.5), 0.8)
    assert_allclose(plus_632(1.0, 0.5, 0.5), 0.5)
    r = (0.9 - 0.7) / (0.9 - 0.5)
    w = 0.632 / (1 - 0.368 * r)
    assert_allclose(plus_632(0.9, 0.7, 0.5), (1 - w) * 0.9 + w * 0.7)
    assert_allclose(plus_632(0.1, 0.3, 0.25, larger_is_better=False), 0.25)
    assert math.isnan(plus_632(0.9, math.nan, 0.5))


def test_no_information_brier_is_the_mean_over_all_pairs():
    y, p = np.array([0, 1, 1, 0, 0]), np.array([0.1, 0.7, 0.4, 0.3, 0.9])
    assert_allclose(no_information_brier(y, p), np.mean((y[:, None] - p) ** 2))


def test_optimism():
    found = optimism(0.85, [0.9, 0.88, np.nan], [0.8, 0.82, 0.7])
    assert_allclose([found.optimism, found.corrected], [0.08, 0.77])
    assert (found.n, found.missing) == (2, 1)


def test_repeated_folds_by_hand():
    """Two repeats of two folds: DeLong's variance within, halved, plus the variance of the repeats' means."""
    found = repeated_folds([[0.8, 0.6], [0.9, 0.7]], [[0.01, 0.02], [0.01, np.nan]])
    within = ((0.01 + 0.02) / 2 / 2 + 0.01 / 2) / 2
    assert_allclose([found.estimate, found.se], [0.75, math.sqrt(within + 0.005)])
    assert_allclose(found.high - found.estimate, 1.959964 * found.se, rtol=1e-6)
    one = repeated_folds([[0.8, np.nan, 0.6]], [[0.01, np.nan, 0.02]])
    assert_allclose([one.estimate, one.se, one.missing], [0.7, math.sqrt(0.015 / 2), 1])


def test_without_a_variance_there_are_no_limits():
    for variances in ([[0.0, 0.0]], [[np.nan, np.nan]]):
        found = repeated_folds([[1.0, 1.0]], variances)
        assert found.estimate == 1.0 and math.isnan(found.low) and math.isnan(found.high)
    assert math.isnan(repeated_folds([[np.nan]], [[np.nan]]).estimate)


def test_limits_of_repeated_folds_cover_the_auc_of_new_patients():
    """Nearest-mean classifier of 5 noisy columns, 5 x 5-fold; truth: AUC of the very fits in the population."""
    from hepacast.stats.ranks import auc_covariance

    rng, inside = np.random.default_rng(2), 0
    for _ in range(120):
        y = (np.arange(80) % 5 < 2).astype(float)
        x = rng.normal(size=(80, 5)) + 0.45 * y[:, None] * (np.arange(5) < 2)
        values, variances, truths = np.empty((5, 5)), np.empty((5, 5)), []
        for repeat in range(5):
            fold = np.empty(80, dtype=int)
            for label in (0, 1):
                rows = rng.permutation(np.flatnonzero(y == label))
                fold[rows] = np.arange(len(rows)) % 5
            for k in range(5):
                fit = fold != k
                w = x[fit & (y == 1)].mean(axis=0) - x[fit & (y == 0)].mean(axis=0)
                aucs, covariance = auc_covariance(y[~fit], [x[~fit] @ w])
                values[repeat, k], variances[repeat, k] = aucs[0], covariance[0, 0]
                truths.append(stats.norm.cdf(0.45 * w[:2].sum() / math.sqrt(2 * (w @ w))))
        found = repeated_folds(values, variances)
        inside += found.low <= np.mean(truths) <= found.high
    assert 0.88 < inside / 120 <= 0.99


def test_shifted_interval_holds_its_estimate():
    rng = np.random.default_rng(1)
    training = rng.beta(40, 8, 200)
    low, high, reason = location_shifted(training, 0.70)
    assert low < 0.70 < high and not reason
    spread = np.quantile(training, [0.025, 0.975])
    assert_allclose(high - low, spread[1] - spread[0])
    narrow = location_shifted(training, 0.70, level=0.8)
    assert low < narrow[0] < 0.70 < narrow[1] < high
    few = location_shifted(training[:15], 0.70)
    assert few[0] < 0.70 < few[1]


@pytest.mark.parametrize(
    ("training", "corrected", "said"),
    [
        (np.r_[np.ones(40), np.full(10, 0.5)], 0.94, "without a fault"),
        (np.full(60, 0.8), 0.7, "outside"),
        (np.array([0.7, 0.8, np.nan]), 0.7, "samples"),
        (np.linspace(0.7, 0.9, 50), math.nan, "samples"),
    ],
)
def test_no_interval_has_a_reason(training, corrected, said):
    low, high, reason = location_shifted(training, corrected)
    assert math.isnan(low) and math.isnan(high) and said in reason

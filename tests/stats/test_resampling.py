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
    nadeau_bengio,
    no_information_brier,
    optimism,
    plus_632,
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

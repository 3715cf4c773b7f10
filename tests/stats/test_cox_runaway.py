"""Separated data: the status tells that a coefficient runs away; no warning of arithmetic, no missing number."""

import warnings

import numpy as np
import pytest

from hepacast.stats.cox import fit_cox


@pytest.mark.parametrize("far", [5.0, 50.0, 500.0, 5000.0])
def test_a_runaway_fit_says_so_and_nothing_else(far):
    n = 30
    time, event = np.arange(1.0, n + 1), np.ones(n, dtype=int)
    x = np.column_stack([-time, 0.01 * np.random.default_rng(7).normal(size=n)])
    x[0, 0] += far
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_cox(x, time, event)
    assert fit.status == "diverging"
    assert np.isfinite(fit.coef).all()
    assert not np.isnan(fit.baseline_hazard).any()


def test_the_baseline_does_not_depend_on_where_the_covariate_is_zero():
    rng = np.random.default_rng(3)
    x = rng.normal(size=80)
    time, event = rng.exponential(np.exp(-0.7 * x)), (rng.random(80) < 0.7).astype(int)
    near, far = fit_cox(x, time, event), fit_cox(x + 300.0, time, event)
    np.testing.assert_allclose(far.coef, near.coef, rtol=1e-8)
    shifted = far.baseline_hazard * np.exp(300.0 * far.coef[0])
    np.testing.assert_allclose(shifted, near.baseline_hazard, rtol=1e-6)


def test_survival_of_a_predictor_very_far_from_zero_is_that_of_the_centered_one():
    """The hazard of a patient with zeros lies beyond every number; that of a patient of the cohort does not."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=80)
    time, event = rng.exponential(np.exp(-0.7 * x)), (rng.random(80) < 0.7).astype(int)
    near, far = fit_cox(x, time, event), fit_cox(x + 50_000.0, time, event)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = far.survival(x[:5, None] + 50_000.0, [0.2, 0.5])
    np.testing.assert_allclose(found, near.survival(x[:5, None], [0.2, 0.5]), rtol=1e-6)

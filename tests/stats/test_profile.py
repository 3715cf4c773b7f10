"""Profile limits see neither origin nor unit of a predictor, and never come from a fit that stopped on its way."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.profile import RestrictedPath, root_outwards


def sample() -> tuple[np.ndarray, np.ndarray]:
    """120 patients whose risk rises with the first of two related predictors."""
    rng = np.random.default_rng(11)
    first = rng.normal(size=120)
    x = np.column_stack([first, 0.6 * first + rng.normal(size=120)])
    return x, (rng.random(120) < 1 / (1 + np.exp(0.5 - 0.9 * first))).astype(float)


@pytest.mark.parametrize("fit", [fit_logistic, fit_firth])
@pytest.mark.parametrize(("origin", "unit"), [(2014, 3.7), (310.0, 0.9), (1.02, 0.006), (738_000, 400.0), (-5e5, 1.0)])
@pytest.mark.parametrize("method", ["exact", "profile"])
def test_limits_do_not_depend_on_origin_and_unit(fit, origin, unit, method):
    x, y = sample()
    plain, moved = fit(x, y), fit(origin + unit * x, y)
    assert moved.ok
    assert_allclose(moved.ci(method=method)[1:] * unit, plain.ci(method=method)[1:], rtol=1e-6)
    assert_allclose(moved.p_values[1:], plain.p_values[1:], rtol=1e-6)
    criteria = [[f.aic, f.bic, f.nagelkerke_r2, f.lrt[0]] for f in (plain, moved)]
    assert_allclose(criteria[1], criteria[0], rtol=1e-7)


@pytest.mark.parametrize("fit", [fit_logistic, fit_firth])
def test_the_intercept_has_limits_far_from_zero_too(fit):
    """For one predictor the profile of the intercept at origin c is that of the logit at -c."""
    x, y = sample()
    moved = fit(50.0 + x[:, [0]], y)
    low, high = moved.ci(method="exact")[0]
    assert low < moved.intercept < high
    half = (high - low) / 2
    assert half == pytest.approx(1.96 * moved.se[0], rel=0.1)
    assert 0 < moved.p_values[0] < 0.001


def test_limits_of_calendar_years_are_those_of_r():
    """R 4.2.2: exp(confint(glm(y ~ year, family = binomial))) of these rows."""
    i = np.arange(160)
    year = 2008 + (i * 7) % 13
    y = ((i * 61 + 17) % 160 + 0.5) / 160 < 1 / (1 + np.exp(0.4 - 0.09 * (year - 2014)))
    limits = np.exp(fit_logistic(year, y).ci(method="profile")[1])
    assert_allclose(limits, [1.06753036, 1.28079766], rtol=1e-6)


class _Broken(RestrictedPath):
    """No restricted fit beyond half a standard error converges."""

    def restricted(self, value, start):
        return -1.0, start, abs(value - self.estimate) < 0.5 * self.se


def test_an_unconverged_fit_gives_no_limit():
    x, y = sample()
    path = _Broken(fit_logistic(x, y), 1)
    assert np.isnan(path(path.estimate + path.se))
    assert np.isnan(root_outwards(path, 1.0, 1.96))


def test_firth_criteria_are_those_of_the_fitted_risks():
    x, y = sample()
    fit = fit_firth(x, y)
    loglik = float(np.sum(np.log(np.where(y == 1, fit.fitted, 1 - fit.fitted))))
    assert fit.aic == pytest.approx(-2 * loglik + 6, abs=1e-9)
    assert fit.bic == pytest.approx(-2 * loglik + 3 * np.log(len(y)), abs=1e-9)
    assert 0 < fit.nagelkerke_r2 < fit_logistic(x, y).nagelkerke_r2
    noise = fit_firth(np.random.default_rng(2).normal(size=(30, 1)), np.tile([0, 1, 1], 10))
    assert 0 <= noise.nagelkerke_r2 < 1
    assert (
        fit.summary().to_json()["loglik"] == pytest.approx(loglik)
        and fit.summary().to_json()["penalized_loglik"] == fit.loglik
    )


def test_the_test_of_a_whole_predictor_keeps_the_penalty_of_the_whole_design():
    """Penalized likelihoods of two designs differ by their units: the test restricts the coefficients instead."""
    x, y = sample()
    fits = [fit_firth(x * unit, y) for unit in (1.0, 1000.0)]
    assert fits[0].term_p([0, 1]) == pytest.approx(fits[0].lrt[2], rel=1e-9)
    assert fits[1].term_p([0, 1]) == pytest.approx(fits[0].term_p([0, 1]), rel=1e-7)

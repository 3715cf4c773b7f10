"""Firth's fit against closed forms: for one binary predictor it adds one half to every cell of the 2 x 2 table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic


def two_by_two(a, b, c, d):
    """Events and non-events without (a, b) and with (c, d) the factor."""
    x = np.repeat([0.0, 0.0, 1.0, 1.0], [a, b, c, d])
    y = np.repeat([1.0, 0.0, 1.0, 0.0], [a, b, c, d])
    return x, y


@settings(max_examples=40, deadline=None)
@example(1, 0, 0, 1)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_two_by_two_table_has_the_closed_form(a, b, c, d):
    if a + b == 0 or c + d == 0 or a + c == 0 or b + d == 0:
        return
    fit = fit_firth(*two_by_two(a, b, c, d))
    odds = (a + 0.5) / (b + 0.5)
    assert_allclose(fit.intercept, np.log(odds), atol=1e-9)
    assert_allclose(fit.coef[0], np.log((c + 0.5) / (d + 0.5) / odds), atol=1e-9)


@pytest.mark.parametrize("cells", [(10, 12, 3, 0), (5, 20, 8, 4), (0, 9, 6, 7)])
def test_limits_and_p_are_those_of_the_table_with_halves_added(cells):
    firth = fit_firth(*two_by_two(*cells))
    halves = fit_logistic([0, 0, 1, 1], [1, 0, 1, 0], weights=np.array(cells) + 0.5)
    assert_allclose(firth.ci(), halves.ci(method="exact"), atol=1e-8)
    assert_allclose(firth.p_values[1], halves.lrt[2], rtol=1e-8)
    assert_allclose(firth.lrt[0], halves.lrt[0], rtol=1e-8)


def test_intercept_only():
    y = np.repeat([1.0, 0.0], [3, 14])
    assert_allclose(fit_firth(np.empty((17, 0)), y).intercept, np.log(3.5 / 14.5), atol=1e-10)


def test_separated_data_get_a_finite_estimate(golden):
    _, data = golden("a1_logistic_pima")
    frame = data[data.split == "train"][["glu", "age"]].assign(marker=0.0)
    y = data[data.split == "train"].type.to_numpy()
    frame.loc[frame.index[y == 1][:9], "marker"] = 1.0
    assert fit_logistic(frame, y).status == "separated"
    fit = fit_firth(frame, y)
    assert fit.ok and 0 < fit.coef[2] < 10
    limits = fit.ci()
    assert limits[3, 0] > 0 and np.isfinite(limits[3, 0])
    assert fit.p_values[3] < 0.01
    assert fit.summary().to_json()["interval"] == "profile"


def test_estimates_follow_the_scale(golden):
    _, data = golden("a1_logistic_pima")
    train = data[data.split == "train"]
    x = train[["glu", "ped"]].to_numpy()
    plain, scaled = fit_firth(x, train.type), fit_firth(x * [1e-3, 1e4], train.type)
    assert_allclose(scaled.coef * [1e-3, 1e4], plain.coef, rtol=1e-8)
    assert_allclose(scaled.p_values, plain.p_values, rtol=1e-6)


def test_bias_goes_away_in_large_samples(golden):
    _, data = golden("a1_logistic_pima")
    big = np.tile(data[["glu"]].to_numpy(), (40, 1))
    y = np.tile(data.type.to_numpy(), 40)
    assert_allclose(fit_firth(big, y).beta, fit_logistic(big, y).beta, rtol=1e-3)


def test_singular_is_a_status():
    fit = fit_firth(np.ones((6, 1)), [0, 1, 0, 1, 0, 1], ["same"])
    assert fit.status == "singular" and "same" in fit.reason
    assert np.isnan(fit.p_values).all()

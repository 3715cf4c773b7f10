"""ICC, kappas and Kendall's W against R's psych and irr."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.errors import HepacastError
from hepacast.stats.agreement import cohen_kappa, fleiss_kappa, icc, icc_values, kendall_w


def _ratings(frame, name, k):
    part = frame[frame["set"] == name]
    return part[[f"r{j + 1}" for j in range(k)]].to_numpy(float)


@pytest.mark.parametrize(
    ("case", "name", "k"),
    [("expsy", "expsy", 3), ("shrout_fleiss", "shrout_fleiss", 4), ("expsy_two_readers", "expsy", 2)],
)
def test_icc_equals_psych(golden, case, name, k):
    reference, frame = golden("g_icc")
    table = icc(_ratings(frame, name, k))
    for form, expected in reference[case]["psych"].items():
        got = table.loc[form, list(expected)].to_numpy(float)
        np.testing.assert_allclose(got, list(expected.values()), rtol=1e-9, err_msg=form)


def test_kappas_and_w(golden):
    reference, frame = golden("g_icc")
    ratings = _ratings(frame, "expsy", 3)
    for weights, key in (("none", "r1_r2"), ("linear", "r1_r2_linear"), ("quadratic", "r1_r2_quadratic")):
        result, expected = cohen_kappa(ratings[:, 0], ratings[:, 1], weights=weights), reference["kappa"][key]
        np.testing.assert_allclose([result.kappa, result.z, result.p], list(expected.values()), rtol=1e-9)
    fleiss = fleiss_kappa(ratings)
    np.testing.assert_allclose(fleiss.kappa, reference["fleiss_kappa"]["kappa"], rtol=1e-12)
    # R computes 2 * (1 - pnorm(z)), which keeps two digits here.
    np.testing.assert_allclose(fleiss.p, reference["fleiss_kappa"]["p"], atol=5e-16)
    np.testing.assert_allclose(kendall_w(ratings), reference["kendall_w"], rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 12), st.integers(2, 4))
def test_many_features_at_once_equal_one_by_one(seed, n, k):
    values = np.random.default_rng(seed).normal(size=(n, k, 5)) + np.arange(n)[:, None, None]
    for form in ("ICC1", "ICC2", "ICC3k"):
        np.testing.assert_allclose(
            icc_values(values, form), [icc(values[:, :, j]).loc[form, "icc"] for j in range(5)], rtol=1e-9
        )


def test_what_cannot_be_judged_is_nan_or_refused():
    values = np.random.default_rng(0).normal(size=(6, 2, 3))
    values[:, :, 1] = 4.0
    values[0, 0, 2] = np.nan
    got = icc_values(values)
    assert np.isfinite(got[0])
    assert np.isnan(got[1:]).all()
    with pytest.raises(HepacastError, match="all raters"):
        icc(values[:, :, 2])
    with pytest.raises(HepacastError, match="equal"):
        icc(values[:, :, 1])
    with pytest.raises(HepacastError, match="two subjects"):
        icc([[1.0, 2.0]])
    with pytest.raises(HepacastError, match="two categories"):
        cohen_kappa([1, 1], [1, 1])

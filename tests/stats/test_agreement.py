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


def test_kappa_limits_are_those_of_fleiss_cohen_and_everitt():
    """psych 2.2.9 (R 4.2.2), cohen.kappa: unweighted 0.6213 (0.4348 to 0.8078), quadratic 0.7908.

    Limits of the weighted kappas are checked by the jackknife: psych weights the rows by their own margin there.
    """
    i = np.arange(48)
    a = np.minimum((i * 7) % 11 // 4, 2)
    b = np.array([x if k % 4 else (1, 2 if k % 8 == 0 else 0, 1)[x] for k, x in enumerate(a)])
    b[[k for k in (9, 21) if b[k] == 0]] = 2
    plain = cohen_kappa(a, b)
    np.testing.assert_allclose([plain.kappa, plain.lower, plain.upper], (0.6213, 0.4348, 0.8078), atol=6e-5)
    assert cohen_kappa(a, b, weights="quadratic").kappa == pytest.approx(0.7908, abs=6e-5)
    for weights in ("none", "linear", "quadratic"):
        wide, narrow = (cohen_kappa(a, b, weights=weights, level=level) for level in (0.95, 0.8))
        assert wide.lower < narrow.lower < wide.kappa < narrow.upper < wide.upper
        jackknife = _jackknife(lambda rows, w=weights: cohen_kappa(a[rows], b[rows], weights=w))
        np.testing.assert_allclose(wide.se, jackknife, rtol=0.03)


def _jackknife(kappa):
    values = np.array([kappa(np.delete(np.arange(48), k)).kappa for k in range(48)])
    return np.sqrt(47 / 48 * ((values - values.mean()) ** 2).sum())


def test_limits_of_fleiss_kappa_are_those_of_the_jackknife():
    rng = np.random.default_rng(3)
    true = rng.integers(0, 3, 48)
    ratings = np.where(rng.random((48, 4)) < 0.7, true[:, None], rng.integers(0, 3, (48, 4)))
    found = fleiss_kappa(ratings)
    np.testing.assert_allclose(found.se, _jackknife(lambda rows: fleiss_kappa(ratings[rows])), rtol=0.03)
    np.testing.assert_allclose((found.upper - found.lower) / 2, 2.0117 * found.se, rtol=1e-4)  # t of 47 df


def test_a_level_that_nobody_chose_keeps_its_neighbors_apart():
    a, b = [0, 0, 2, 2, 3, 3, 0, 2], [0, 2, 2, 3, 3, 2, 0, 3]
    told = cohen_kappa(a, b, weights="linear", levels=[0, 1, 2, 3]).kappa
    silent = cohen_kappa(a, b, weights="linear").kappa
    assert told != pytest.approx(silent)
    # By hand: disagreements cost 1 a grade; 1 - observed / expected cost.
    cost = np.abs(np.subtract(a, b)).mean()
    expected = np.abs(np.subtract.outer(a, b)).mean()
    assert told == pytest.approx(1 - cost / expected)
    with pytest.raises(HepacastError, match="not among the levels"):
        cohen_kappa(a, b, levels=[0, 1, 2])


def test_perfect_agreement_has_no_limits():
    found = cohen_kappa([0, 1, 2, 0, 1], [0, 1, 2, 0, 1])
    assert found.kappa == 1.0 and np.isnan(found.lower) and np.isnan(found.upper)


@pytest.mark.filterwarnings("error")
def test_opposite_raters_give_no_warning():
    up = np.arange(15.0)
    table = icc(np.column_stack([up, 30 - up]))
    assert table.loc["ICC3", "icc"] == pytest.approx(-1)
    assert np.isnan(table.loc["ICC2", "lower"])

"""Accuracy, calibration and net benefit at a horizon: equal to what R's values froze, sound with competing events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import trapezoid

from hepacast.errors import OutcomeError
from hepacast.evaluation.calibration import calibration
from hepacast.evaluation.conformal import conformal
from hepacast.evaluation.decision import decision_curves
from hepacast.evaluation.event_by import (
    EventBy,
    event,
    event_by,
    event_rates,
    observed_risk,
    pseudo_values,
    state_weights,
)
from hepacast.evaluation.risk_groups import risk_groups
from hepacast.evaluation.thresholds import MEASURES, at_threshold
from hepacast.evaluation.time_dependent import _auc, _brier, _jackknifed, auc_at, brier_at, integrated_brier, roc_at
from hepacast.stats.competing_risks import cumulative_incidence
from hepacast.stats.kaplan_meier import kaplan_meier


def cohort(seed=0, n=160):
    """Times with ties, events, a score, and the true risk by 15."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    event_time = np.ceil(rng.exponential(np.exp(-0.7 * x)) * 20)
    censored = np.ceil(rng.exponential(40, n))
    times, codes = np.minimum(event_time, censored), (event_time <= censored).astype(float)
    return times, codes, x, -np.expm1(-0.05 * 15 * np.exp(0.7 * x))


def with_competing(codes):
    """Every third event is a competing one."""
    order = np.cumsum(codes == 1)
    return np.where((codes == 1) & (order % 3 == 0), 2.0, codes)


def test_without_competing_events_nothing_changes():
    times, codes, x, risk = cohort()
    weights = state_weights(times, codes, 15.0)
    np.testing.assert_allclose(_auc(weights, x, len(x)), auc_at(times, codes, x, 15.0).value, atol=1e-12)
    np.testing.assert_allclose(_brier(weights, risk, len(risk)), brier_at(times, codes, risk, 15.0).value, atol=1e-12)
    assert integrated_brier(times, codes, np.repeat(risk[:, None], 2, axis=1), [1.0, 9.0], 15.0) > 0


def test_jackknife_error_is_that_of_the_closed_form():
    times, codes, x, _ = cohort()
    closed, resampled = auc_at(times, codes, x, 15.0), _jackknifed(times, codes, x, 15.0, _auc)
    np.testing.assert_allclose(resampled.se, closed.se, rtol=0.03)


def test_a_random_score_has_no_auc_with_competing_events():
    times, codes, x, _ = cohort(n=300)
    found = auc_at(times, with_competing(codes), np.random.default_rng(5).normal(size=len(x)), 15.0)
    low, high = found.interval()
    assert low < 0.5 < high
    better = auc_at(times, with_competing(codes), x, 15.0)
    assert better.value > 0.6
    assert better.se > 0


def test_roc_curve_encloses_the_auc():
    times, codes, x, _ = cohort()
    fpr, tpr = roc_at(times, codes, x, 15.0)
    np.testing.assert_allclose(trapezoid(tpr, fpr), auc_at(times, codes, x, 15.0).value, atol=1e-12)
    assert (np.diff(fpr) >= 0).all()
    assert (fpr[0], tpr[0], round(fpr[-1], 12), round(tpr[-1], 12)) == (0.0, 0.0, 1.0, 1.0)


@given(st.integers(0, 10_000), st.booleans())
def test_pseudo_values_are_the_leave_one_out_differences(seed, competing):
    times, codes, _, _ = cohort(seed, n=25)
    codes = with_competing(codes) if competing else codes
    found, whole = pseudo_values(times, codes, 12.0), cumulative_incidence(times, codes).at([12.0])[0]
    for i in (0, 7, 24):
        keep = np.arange(25) != i
        without = cumulative_incidence(times[keep], codes[keep]).at([12.0])[0]
        np.testing.assert_allclose(found[i], 25 * whole - 24 * without, atol=1e-10)


def test_pseudo_values_of_complete_follow_up_are_the_states():
    times, codes, _, _ = cohort()
    seen = np.ones_like(codes)
    np.testing.assert_allclose(pseudo_values(times, seen, 15.0), (times <= 15).astype(float), atol=1e-9)


def test_true_risks_are_calibrated_and_halved_ones_are_not():
    times, codes, _, risk = cohort(n=600)
    right, low = (calibration(event_by(times, codes, 15.0), p) for p in (risk, risk / 2))
    assert right.observed_expected.low < 1 < right.observed_expected.high
    assert right.slope.low < 1 < right.slope.high
    assert right.ici.value < 0.05 < low.ici.value
    np.testing.assert_allclose(low.observed_expected.value, 2 * right.observed_expected.value)
    assert low.observed_expected.low > 1


def test_calibration_of_equal_risks_says_that_there_is_no_slope():
    times, codes, _, _ = cohort()
    found = calibration(event_by(times, codes, 15.0), np.full(len(times), 0.4))
    assert np.isnan(found.slope.value)
    assert "same risk" in found.notes[0]
    assert found.curve is None
    assert len(found.groups) == 1


def test_a_horizon_beyond_follow_up_is_refused_and_never_a_number():
    times, codes = np.array([1.0, 2, 3, 4, 5, 6]), np.array([1.0, 0, 1, 0, 0, 0])
    with pytest.raises(OutcomeError, match="nobody is followed"):
        calibration(event_by(times, codes, 10.0), np.full(6, 0.5))
    with pytest.raises(OutcomeError, match="Nothing can be estimated"):
        auc_at(times, codes, np.arange(6.0), 10.0)
    assert not observed_risk(times, codes, 10.0).known


def test_everybody_censored_before_the_horizon_is_refused():
    times, codes = np.arange(1.0, 9.0), np.zeros(8)
    for work in (
        lambda: auc_at(times, codes, np.arange(8.0), 5.0),
        lambda: brier_at(times, codes, np.full(8, 0.5), 5.0),
    ):
        with pytest.raises(OutcomeError, match="Nothing can be estimated"):
            work()


def test_event_rates_of_subsets_are_their_kaplan_meier():
    times, codes, x, _ = cohort()
    members = np.array([x > 0, x > 1, np.ones_like(x, dtype=bool), x > 99])
    found = event_rates(times, codes, members, 15.0)
    for rows, value in zip(members[:3], found, strict=False):
        np.testing.assert_allclose(value, 1 - kaplan_meier(times[rows], codes[rows]).at([15.0])[0], atol=1e-12)
    assert np.isnan(found[3])


def test_bands_hold_the_curve():
    times, codes, _, risk = cohort()
    rng = np.random.default_rng(2)
    rows = [rng.integers(0, len(times), len(times)) for _ in range(60)]
    grid = np.arange(0.1, 0.9, 0.1)
    found = decision_curves(event_by(times, codes, 15.0), {"a": risk}, grid, indices=rows)
    curve = found.models["a"]
    known = np.isfinite(curve.low) & np.isfinite(curve.net_benefit)
    assert known.any()
    assert ((curve.low <= curve.net_benefit + 1e-9) & (curve.net_benefit <= curve.high + 1e-9))[known].all()
    assert curve.useful_range


def test_groups_with_competing_events_are_incidences():
    times, codes, _, risk = cohort()
    found = risk_groups(times, with_competing(codes), risk, float(np.median(risk)))
    assert found.kind == "incidence"
    assert found.test == "Fine-Gray"
    assert found.hazard_ratio.value > 1
    assert all(group.survival[0] == 0 for group in found.groups)
    plain = risk_groups(times, codes, risk, float(np.median(risk)))
    assert plain.kind == "survival"
    assert plain.groups[0].survival[0] == 1
    with pytest.raises(OutcomeError, match="one risk group"):
        risk_groups(times, with_competing(codes), risk, 2.0)


@given(st.integers(0, 10_000))
def test_without_censoring_everything_at_a_horizon_is_the_formula_without_time(seed):
    """Times that are all known to their event: the weighted formulas with weight 1 give the plain digits."""
    rng = np.random.default_rng(seed)
    times, risk = rng.exponential(10, 60), rng.uniform(0.01, 0.99, 60)
    y = (times <= 8).astype(float)
    if min(y.sum(), 60 - y.sum()) < 2:
        return
    late, plain = event_by(times, np.ones(60), 8.0), event(y)
    np.testing.assert_allclose(late.states, y, atol=1e-9)
    np.testing.assert_allclose([late.weights.case, late.weights.control], [y, 1 - y], atol=1e-12)
    members = np.array([risk > 0.3, risk > 0.6])
    np.testing.assert_allclose(late.rates(members), plain.rates(members), atol=1e-12)
    one, two = calibration(late, risk), calibration(plain, risk)
    for name in ("observed_expected", "brier", "ici"):
        np.testing.assert_allclose(getattr(one, name).value, getattr(two, name).value, atol=1e-9)
    np.testing.assert_allclose([one.brier_scaled, one.e50, one.e90], [two.brier_scaled, two.e50, two.e90], atol=1e-9)
    first, second = (decision_curves(known, {"m": risk}).models["m"] for known in (late, plain))
    np.testing.assert_allclose(first.net_benefit, second.net_benefit, atol=1e-12)
    rows = [at_threshold(known, risk, 0.4) for known in (late, plain)]
    for measure in MEASURES:
        a, b = (getattr(row, measure) for row in rows)
        np.testing.assert_allclose([a.value, *a.ci], [b.value, *b.ci], atol=1e-9)
    np.testing.assert_allclose(conformal(late, risk).p_values(risk), conformal(plain, risk).p_values(risk), atol=1e-12)
    assert EventBy(y).complete and not late.complete

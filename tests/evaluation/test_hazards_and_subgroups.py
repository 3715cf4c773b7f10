"""Recalibration, subgroups and conformal sets of survival models: identities, known drifts, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.errors import ModelError, OutcomeError
from hepacast.evaluation.calibration import cloglog_slope
from hepacast.evaluation.conformal import Conformal, ConformalRule, conformal
from hepacast.evaluation.event_by import event_by
from hepacast.evaluation.recalibration import HAZARD_METHODS, recalibrate_hazard
from hepacast.evaluation.subgroups import performance, subgroup_performance
from hepacast.stats.cox import fit_cox
from hepacast.stats.cox_checks import concordance
from hepacast.stats.poisson import poisson_fit


def drawn(n=400, seed=0, rate=0.05, slope=1.0, competing=False):
    """Times, codes and linear predictor of a model whose cumulative hazard is 0.05 t exp(lp)."""
    rng = np.random.default_rng(seed)
    lp = rng.normal(size=n)
    event = rng.exponential(1 / (rate * np.exp(slope * lp)))
    censored = rng.uniform(5, 60, n)
    codes = (event <= censored).astype(float)
    if competing:
        codes = np.where((codes == 1) & (rng.uniform(size=n) < 0.3), 2.0, codes)
    return np.minimum(event, censored), codes, lp


def hazard(times):
    return 0.05 * np.asarray(times, dtype=float)


def of(found, method):
    return next(item for item in found.methods if item.method == method)


def test_a_model_that_holds_is_left_as_it_is():
    times, codes, lp = drawn()
    found = recalibrate_hazard(event_by(times, codes, 12.0), lp, hazard)
    assert found.chosen == "none"
    assert found.ratio == pytest.approx(1, abs=0.2)
    assert of(found, "none").mean_risk == pytest.approx(found.observed.value, abs=0.05)
    np.testing.assert_allclose(of(found, "none").risk, 1 - np.exp(-0.05 * 12 * np.exp(lp)))


@pytest.mark.parametrize(("rate", "slope", "chosen"), [(0.02, 1.0, "intercept"), (0.05, 0.3, "slope")])
def test_the_drift_that_was_planted_is_found(rate, slope, chosen):
    times, codes, lp = drawn(600, 3, rate, slope)
    found = recalibrate_hazard(event_by(times, codes, 12.0), lp, hazard)
    assert found.chosen == chosen
    update = of(found, chosen)
    assert update.shift == pytest.approx(np.log(rate / 0.05), abs=0.35)
    assert update.slope == pytest.approx(slope, abs=0.2)
    assert update.brier < of(found, "none").brier
    assert update.mean_risk == pytest.approx(found.observed.value, abs=0.04)
    # The new baseline of Breslow, without the old shape, says nearly the same where the shape is right.
    assert of(found, "baseline").mean_risk == pytest.approx(update.mean_risk, abs=0.04)


def test_the_shift_is_the_log_of_observed_over_expected_events():
    times, codes, lp = drawn(300, 5, 0.03)
    found = recalibrate_hazard(event_by(times, codes, 12.0), lp, hazard)
    inside = (codes == 1) & (times <= 12)
    ratio = inside.sum() / (0.05 * np.minimum(times, 12) * np.exp(lp)).sum()
    assert found.ratio == pytest.approx(ratio)
    assert of(found, "intercept").shift == pytest.approx(np.log(ratio), abs=1e-9)


def test_new_coefficients_are_those_of_cox_with_breslows_baseline():
    rng = np.random.default_rng(8)
    design = rng.normal(size=(500, 2))
    truth = design @ np.array([1.0, -1.0])
    event, censored = rng.exponential(20 * np.exp(-truth)), rng.uniform(5, 60, 500)
    times, codes = np.minimum(event, censored), (event <= censored).astype(float)
    # The frozen model has the sign of the second term wrong: only the refit can put it right.
    found = recalibrate_hazard(event_by(times, codes, 12.0), design @ np.array([1.0, 1.0]), hazard, design)
    assert [item.method for item in found.methods] == list(HAZARD_METHODS)
    assert found.chosen == "refit"
    inside = np.where(times <= 12, codes, 0.0)
    fit = fit_cox(design, np.minimum(times, 12), inside)
    expected = 1 - fit.survival(design, [12.0])[:, 0]
    np.testing.assert_allclose(of(found, "refit").risk, expected, atol=2e-3)
    assert np.isnan(of(found, "refit").shift)
    single = recalibrate_hazard(event_by(times, codes, 12.0), design[:, 0], hazard, design[:, :1])
    assert "refit" not in [item.method for item in single.methods]


def test_competing_events_leave_slope_and_baseline_without_a_test():
    times, codes, lp = drawn(400, 2, competing=True)
    found = recalibrate_hazard(event_by(times, codes, 12.0), lp, hazard)
    assert found.chosen is None and np.isnan(found.ratio)
    assert [item.method for item in found.methods] == ["none", "baseline"]
    assert of(found, "baseline").mean_risk == pytest.approx(found.observed.value, abs=0.04)


def test_too_little_to_recalibrate_is_said():
    times, codes, lp = drawn(40)
    assert "fewer than 5" in recalibrate_hazard(event_by(times, codes * (lp > 1.8), 12.0), lp, hazard).reason
    assert "same risk" in recalibrate_hazard(event_by(times, codes, 12.0), np.zeros(40), hazard).reason
    with pytest.raises(ModelError, match="no linear predictor"):
        recalibrate_hazard(event_by(times, codes, 12.0), np.full(40, np.nan), hazard)


def test_poisson_fit_equals_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(200), rng.normal(size=(200, 2))])
    exposure = rng.uniform(0.1, 3, 200)
    events = rng.poisson(exposure * np.exp(x @ [-1, 0.5, -0.3])).astype(float)
    expected = sm.GLM(events, x, sm.families.Poisson(), offset=np.log(exposure)).fit(tol=1e-12).params
    np.testing.assert_allclose(poisson_fit(x, events, exposure), expected, atol=1e-7)
    with pytest.raises(ModelError, match="no finite estimate"):
        poisson_fit(
            np.column_stack([np.ones(200), np.arange(200) < 100]), np.where(np.arange(200) < 100, 0.0, 1.0), exposure
        )
    with pytest.raises(ModelError, match="needs events"):
        poisson_fit(x, np.zeros(200), exposure)


def test_subgroups_hold_everybody_and_equal_their_own_estimates():
    times, codes, lp = drawn()
    risk = 1 - np.exp(-hazard(12.0) * np.exp(lp))
    sex = np.where(np.arange(400) % 3 == 0, "f", "m").astype(object)
    sex[:4] = None
    known = event_by(times, codes, 12.0)
    table = subgroup_performance(known, risk, {"Sex": sex}, lp)
    assert [row.level for row in table] == ["", "(missing)", "f", "m"]
    assert sum(row.n for row in table[1:]) == table[0].n == 400
    assert table[0].measure == "C" and table[0].discrimination.value == concordance(times, codes, lp).c
    women = sex == "f"
    alone, row = performance(known.select(women), risk[women], lp[women]), table[2]
    assert row.discrimination == alone.discrimination and row.slope == alone.slope
    assert row.slope == cloglog_slope(times[women], codes[women], risk[women])
    ratio = row.observed_expected
    assert ratio.low < ratio.value < ratio.high
    assert table[1].reason == "fewer than 10 events"
    assert not table[1].discrimination.known
    assert 0 <= table[1].p_equal <= 1
    with pytest.raises(ModelError, match="does not fit"):
        subgroup_performance(known, risk, {"Sex": sex[:5]}, lp)


def test_conformal_sets_at_a_horizon_without_censoring_are_the_plain_ones():
    rng = np.random.default_rng(4)
    times, risk = rng.exponential(10, 300), rng.uniform(size=300)
    at, plain = conformal(event_by(times, np.ones(300), 8.0), risk), conformal(times <= 8, risk)
    for new in (0.0, 0.2, 0.5, 0.93):
        a, b = at.predict(new), plain.predict(new)
        assert (a.p_event, a.p_no_event) == pytest.approx((b.p_event, b.p_no_event))
    again = Conformal.from_json(at.to_json())
    assert again.predict(0.4) == at.predict(0.4)
    assert Conformal.from_json(plain.to_json()).predict(0.4) == plain.predict(0.4)


def test_conformal_sets_hold_the_truth_although_many_are_censored():
    held = {0: [], 1: []}
    for seed in range(30):
        times, codes, lp = drawn(400, seed)
        risk = 1 - np.exp(-hazard(12.0) * np.exp(lp))
        fitted = conformal(event_by(times, codes, 12.0), risk)
        rng = np.random.default_rng(1000 + seed)
        new = rng.normal(size=300)
        event = rng.exponential(1 / (0.05 * np.exp(new))) <= 12
        for item, truth in zip(fitted.predict_all(1 - np.exp(-hazard(12.0) * np.exp(new)), level=0.8), event):
            held[int(truth)].append(item.event_possible if truth else item.no_event_possible)
    assert np.mean(held[1]) > 0.78 and np.mean(held[0]) > 0.78


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_more_risk_never_makes_the_event_less_possible(first, second):
    times, codes, lp = drawn(120, 9)
    fitted = conformal(event_by(times, codes, 12.0), 1 - np.exp(-hazard(12.0) * np.exp(lp)))
    low, high = sorted((first, second))
    a, b = fitted.predict(low), fitted.predict(high)
    assert a.p_event <= b.p_event and a.p_no_event >= b.p_no_event
    assert 0 < a.p_event <= 1 and 0 < b.p_no_event <= 1


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(OutcomeError, match="Nothing can be estimated"):
        conformal(event_by([1.0, 2.0, 3.0], [0, 0, 0], 2.5), [0.1, 0.2, 0.3])
    few = conformal(event_by(np.arange(1.0, 11.0), np.ones(10), 5.5), np.linspace(0, 1, 10))
    with pytest.raises(ModelError, match="Too few calibration patients"):
        few.predict(0.5, level=0.95)


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_of_two_risks_gives_the_same_sets(seed):
    times, codes, lp = drawn(150, seed)
    risk = 1 - np.exp(-hazard(12.0) * np.exp(lp))
    for fitted in (conformal(event_by(times, codes, 12.0), risk), conformal(codes, risk)):
        rule = ConformalRule.of(fitted, 0.8)
        new = np.concatenate([np.linspace(0, 1, 201), risk])
        expected = [item.label for item in fitted.predict_all(new, level=0.8)]
        assert [rule.predict(value).label for value in new] == expected
    with pytest.raises(ModelError, match="Too few"):
        ConformalRule.of(conformal(np.arange(8) % 2, np.linspace(0, 1, 8)), 0.9)


def test_the_sentence_says_what_remains_possible():
    rule = ConformalRule(0.9, 0.1, 0.6)
    assert rule.predict(0.05).label == "no event" and "and not the event" in rule.predict(0.05).sentence
    assert rule.predict(0.3).label == "either" and "cannot tell" in rule.predict(0.3).sentence
    late = rule.predict(0.7, by="by 365 days")
    assert late.label == "event" and late.sentence == "holds the event by 365 days and not its absence"
    assert ConformalRule(0.6, 0.7, 0.2).predict(0.5).label == "neither"

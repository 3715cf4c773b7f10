"""What is computed by cumulative sums equals the sum over all pairs, and stays quick and small for 20,000 patients."""

import time

import numpy as np
import pytest

from hepacast.errors import OutcomeError
from hepacast.evaluation.calibration import calibration
from hepacast.evaluation.event_by import event_by, pseudo_values, state_weights, weights_without_each
from hepacast.evaluation.time_dependent import auc_at, brier_at, roc_at
from hepacast.stats.censoring import censoring_model, martingale_sums
from hepacast.stats.competing_risks import Subdistribution, baseline_hazard, fit_fine_gray
from hepacast.stats.kaplan_meier import log_rank
from hepacast.stats.ranks import weight_below


def cohort(seed, n, decimals=0, competing=False):
    """Times (with ties when rounded to few decimals), codes and a score (with ties)."""
    r = np.random.default_rng(seed)
    score = np.round(r.normal(size=n), 1)
    came, left = r.exponential(20 * np.exp(-score / 2)), r.uniform(5, 60, n)
    codes = (came <= left).astype(float)
    codes[(codes == 1) & (r.uniform(size=n) < 0.3)] = 2.0 if competing else 1.0
    return np.round(np.minimum(came, left), decimals) + 0.5, codes, score


@pytest.mark.parametrize(("seed", "decimals"), [(0, 0), (1, 1), (2, 6)])
def test_influence_on_the_weights_is_the_integral_over_each_patient(seed, decimals):
    times, codes, _ = cohort(seed, 60, decimals)
    model = censoring_model(times, codes)
    weights = np.random.default_rng(9).normal(size=len(model.time))
    expected = np.zeros(60)
    for k in range(60):
        for until, weight in zip(model.time, weights):
            for s, hazard, at_risk in zip(model.time, model.hazard, model.at_risk):
                if s >= until or not at_risk:
                    continue
                there = times[k] > s or (times[k] == s and codes[k] == 0)
                jump = float(times[k] == s and codes[k] == 0)
                expected[k] += weight * (jump - there * hazard) * 60 / at_risk
    np.testing.assert_allclose(martingale_sums(model, times, codes, weights), expected, rtol=0, atol=1e-11)


def test_weight_below_counts_ties_half():
    _, _, score = cohort(3, 80)
    weight = np.random.default_rng(1).uniform(size=80)
    wins = (score[:, None] > score[None, :]) + 0.5 * (score[:, None] == score[None, :])
    np.testing.assert_allclose(weight_below(score, weight), wins @ weight, rtol=1e-12)


def test_weights_without_a_patient_are_those_of_the_others():
    times, codes, _ = cohort(4, 40, competing=True)
    for i, found in enumerate(weights_without_each(times, codes, 15.5)):
        keep = np.arange(40) != i
        expected = state_weights(times[keep], codes[keep], 15.5)
        np.testing.assert_array_equal(found.case[keep], expected.case)
        np.testing.assert_array_equal(found.control[keep], expected.control)
        assert found.case[i] == found.control[i] == 0


def test_without_the_only_event_there_is_nothing_to_estimate():
    times, codes = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 0.0, 0.0, 0.0])
    found = list(weights_without_each(times, codes, 2.5))
    assert [item is None for item in found] == [True, False, False, False]
    with pytest.raises(OutcomeError, match="0 events"):
        state_weights(times[1:], codes[1:], 2.5)


@pytest.mark.parametrize("decimals", [0, 6])
def test_sums_at_risk_are_those_of_every_patient_at_every_event(decimals):
    times, codes, score = cohort(5, 70, decimals, competing=True)
    x = np.column_stack([score, np.random.default_rng(2).normal(size=70)])
    beta = np.array([0.4, -0.3])
    model = censoring_model(times, (codes > 0).astype(float))
    value, gradient, information, jumps = 0.0, np.zeros(2), np.zeros((2, 2)), []
    for s in np.unique(times[codes == 1]):
        gone = np.where((codes == 2) & (times < s), model.before(s) / model.before(times), 0.0)
        weight = np.where(times >= s, 1.0, gone) * np.exp(x @ beta)
        mean, here = weight @ x / weight.sum(), (times == s) & (codes == 1)
        value += (x[here] @ beta).sum() - here.sum() * np.log(weight.sum())
        gradient += (x[here] - mean).sum(axis=0)
        information += here.sum() * ((x * weight[:, None]).T @ x / weight.sum() - np.outer(mean, mean))
        jumps.append(here.sum() / weight.sum())
    found = Subdistribution(x, times, codes)
    for one, other in zip(found.likelihood(beta), (value, gradient, information)):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(found.jumps(beta), jumps, rtol=1e-12)
    np.testing.assert_allclose(found.score_residuals(beta).sum(axis=0), gradient, atol=1e-10)


def test_20000_patients_take_seconds_and_no_table_of_pairs():
    """Formerly 3 GB and minutes: one float for each pair of patients is 3.2 GB."""
    n = 20_000
    times, codes, score = cohort(6, n, 8)
    competing = cohort(6, n, 8, competing=True)[1]
    risk, group = 1 / (1 + np.exp(-score)), np.arange(n) % 3
    start = time.process_time()
    auc_at(times, codes, score, 24.0)
    brier_at(times, codes, risk, 24.0)
    roc_at(times, codes, score + np.arange(n) * 1e-9, 24.0)
    pseudo_values(times, competing, 24.0)
    log_rank(times, codes, group)
    calibration(event_by(times, codes, 24.0), risk)
    baseline_hazard(score, times, competing)
    fit_fine_gray(score, times, competing)
    assert time.process_time() - start < 10

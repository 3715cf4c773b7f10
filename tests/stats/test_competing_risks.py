"""Aalen-Johansen, Fine-Gray and Firth's Cox model: identities that hold exactly, and edges."""

import numpy as np
import pytest
from scipy.optimize import brentq

from hepacast.errors import ModelError, OutcomeError
from hepacast.stats.competing_risks import (
    baseline_hazard,
    check_codes,
    cumulative_incidence,
    fit_fine_gray,
    never_after_competing,
)
from hepacast.stats.cox import fit_cox
from hepacast.stats.cox_checks import compare_concordance, concordance
from hepacast.stats.cox_firth import fit_cox_firth
from hepacast.stats.kaplan_meier import kaplan_meier


@pytest.fixture
def drawn():
    """Follow-up with ties: matrix, times to the event, observed times and codes (0, 1)."""
    rng = np.random.default_rng(0)
    n = 150
    x = rng.normal(size=(n, 2))
    event_time = np.ceil(rng.exponential(np.exp(-0.7 * x[:, 0])) * 20)
    censored = np.ceil(rng.exponential(30, n))
    return x, event_time, np.minimum(event_time, censored), (event_time <= censored).astype(float)


def test_without_competing_events_incidence_is_one_minus_kaplan_meier(drawn):
    _, _, times, events = drawn
    incidence, curve = cumulative_incidence(times, events), kaplan_meier(times, events)
    np.testing.assert_allclose(1 - incidence.incidence, curve.survival, atol=1e-14)
    known = np.isfinite(curve.std_error)
    np.testing.assert_allclose(incidence.std_error[known], (curve.survival * curve.std_error)[known], atol=1e-12)


def test_incidences_and_survival_add_up_to_one(drawn):
    _, _, times, events = drawn
    codes = np.where((events == 1) & (np.arange(len(events)) % 3 == 0), 2, events)
    found = cumulative_incidence(times, codes)
    free = kaplan_meier(times, (codes > 0).astype(float))
    np.testing.assert_allclose(found.incidence + found.competing + free.survival, 1, atol=1e-12)
    assert ((found.lower <= found.incidence) & (found.incidence <= found.upper)).all()
    assert found.at([0.0])[0] == 0
    assert found.n_competing == int((codes == 2).sum())


def test_standard_error_of_incidence_is_that_of_resampling(drawn):
    _, _, times, events = drawn
    codes = np.where((events == 1) & (np.arange(len(events)) % 3 == 0), 2, events)
    found, rng = cumulative_incidence(times, codes), np.random.default_rng(1)
    rows = (rng.integers(0, len(times), len(times)) for _ in range(400))
    spread = np.std([cumulative_incidence(times[i], codes[i]).at([20.0])[0] for i in rows])
    at = int(np.searchsorted(found.time, 20.0, side="right")) - 1
    np.testing.assert_allclose(found.std_error[at], spread, rtol=0.12)


def test_fine_gray_without_competing_events_is_cox(drawn):
    x, _, times, events = drawn
    fine_gray, cox = fit_fine_gray(x, times, events), fit_cox(x, times, events, ties="breslow")
    np.testing.assert_allclose(fine_gray.coef, cox.coef, atol=1e-10)
    np.testing.assert_allclose(fine_gray.baseline_hazard, cox.baseline_hazard, rtol=1e-9)


def test_fine_gray_without_censoring_keeps_competing_patients_at_risk_for_ever(drawn):
    x, event_time, _, _ = drawn
    codes = np.where(np.arange(len(event_time)) % 3 == 0, 2, 1)
    for_ever = np.where(codes == 2, event_time.max() + 1, event_time)
    cox = fit_cox(x, for_ever, (codes == 1).astype(float), ties="breslow")
    np.testing.assert_allclose(fit_fine_gray(x, event_time, codes).coef, cox.coef, atol=1e-10)


def test_incidence_and_fine_gray_equal_cmprsk(golden):
    """R's own reference: the frozen output of cmprsk's test, to the digits printed there."""
    reference, frame = golden("m_competing_risks")
    times, codes = frame["time"].to_numpy(), frame["code"].to_numpy()
    expected = reference["cuminc"]
    found = cumulative_incidence(times, codes)
    np.testing.assert_allclose(found.at(expected["times"]), expected["est_1"], rtol=2e-7)
    swapped = cumulative_incidence(times, np.choose(codes, [0, 2, 1]))
    np.testing.assert_allclose(swapped.at(expected["times"]), expected["est_2"], rtol=2e-7)
    known = frame["x1"].notna().to_numpy()
    for key, columns in (("crr", ["x1", "x2", "x3"]), ("crr_x1", ["x1"])):
        fit = fit_fine_gray(frame.loc[known, columns].to_numpy(), times[known], codes[known])
        assert fit.n == reference[key]["n"]
        # Four digits are printed.
        np.testing.assert_allclose(fit.coef, reference[key]["coef"], rtol=2e-4)
        np.testing.assert_allclose(fit.se, reference[key]["se"], rtol=2e-4)
        np.testing.assert_allclose(fit.to_frame()["p"], reference[key]["p"], atol=0.0051)


def test_fine_gray_is_the_weighted_cox_model_of_geskus():
    """Geskus RB. Biometrics 2011;67:39: each competing event stays at risk with the weight G(t) / G(its own time).

    The weighted Cox model was fitted to such rows by lifelines 0.30.3 (start, stop, weight; precision 1e-12).
    """
    rng = np.random.default_rng(11)
    n = 90
    x = rng.normal(size=(n, 2))
    latent = rng.exponential(np.exp(-0.8 * x[:, 0])), rng.exponential(np.exp(0.5 * x[:, 1])), rng.exponential(1.5, n)
    times = np.min(latent, axis=0)
    codes = np.array([1, 2, 0])[np.argmin(latent, axis=0)]
    assert [(codes == k).sum() for k in (0, 1, 2)] == [19, 39, 32]
    np.testing.assert_allclose(times.sum(), 33.88862659373237, rtol=1e-12)
    found = fit_fine_gray(x, times, codes)
    np.testing.assert_allclose(found.coef, [0.21754533, 0.11144265], atol=1e-6)


def test_fine_gray_by_hand():
    """Five patients, one of them with the competing event, one censored: the score equation written out.

    Events at 1 (x 1) and 4 (x 0); competing event at 2 (x 1); censored at 3 (x 0); event at 5 (x 1). G drops at 3 from
    1 to 2/3: at 4 and 5 the patient with the competing event counts 2/3. With r = exp(beta) the risk sets are
    3 r + 2, then (2/3) r + 1 + r, then (2/3) r + r, so that the score is
    1 - 3 r / (3 r + 2) - (5/3) r / ((5/3) r + 1) + 1 - 1.
    """
    times, codes, x = np.arange(1.0, 6.0), np.array([1, 2, 0, 1, 1]), np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    r = brentq(lambda v: 1 - 3 * v / (3 * v + 2) - (5 / 3) * v / ((5 / 3) * v + 1), 1e-3, 1e3)
    found = fit_fine_gray(x, times, codes)
    np.testing.assert_allclose(found.coef[0], np.log(r), atol=1e-9)
    at, hazard = baseline_hazard(found.coef[0] * x, times, codes)
    np.testing.assert_array_equal(at, [1, 4, 5])
    np.testing.assert_allclose(hazard, np.cumsum([1 / (3 * r + 2), 1 / (5 / 3 * r + 1), 1 / (5 / 3 * r)]), rtol=1e-9)


def test_baseline_hazard_of_the_models_own_predictor_is_the_models(drawn):
    x, _, times, events = drawn
    fit = fit_cox(x, times, events, ties="breslow")
    at, hazard = baseline_hazard(fit.linear_predictor(x), times, events)
    np.testing.assert_allclose(at, np.unique(times[events == 1]))
    np.testing.assert_allclose(hazard, fit.cumulative_hazard(at), rtol=1e-8)
    with pytest.raises(ModelError, match="linear predictor"):
        baseline_hazard(x[:3, 0], times, events)


def test_codes_other_than_three_are_refused():
    with pytest.raises(OutcomeError, match="Events must be coded"):
        check_codes([1, 2, 3], [0, 1, 3])
    with pytest.raises(ModelError, match="needs events"):
        fit_fine_gray(np.arange(4.0), [1, 2, 3, 4], [0, 2, 0, 2])


def test_a_competing_event_counts_as_never_in_concordance():
    times, events = never_after_competing([1, 2, 3, 4], [1, 2, 0, 1])
    assert times[1] > 4
    assert events.tolist() == [1, 0, 0, 1]


def test_firth_is_finite_where_cox_runs_away():
    times = np.arange(1.0, 21.0)
    early = (times <= 10).astype(float)
    events = np.ones(20)
    assert fit_cox(early, times, events).status == "diverging"
    found = fit_cox_firth(early, times, events)
    assert np.isfinite(found.fit.coef).all()
    assert np.isfinite(found.fit.se).all()
    assert found.fit.coef[0] > 2
    assert found.p_values[0] < 0.001


def test_firth_is_close_to_cox_in_a_large_sample(drawn):
    x, _, times, events = drawn
    found, cox = fit_cox_firth(x, times, events), fit_cox(x, times, events, ties="breslow")
    np.testing.assert_allclose(found.fit.coef, cox.coef, atol=0.02)
    np.testing.assert_allclose(found.p_values, cox.to_frame()["p"], atol=0.02)


def test_a_score_compared_with_itself_does_not_differ(drawn):
    x, _, times, events = drawn
    first, second = concordance(times, events, -x[:, 0]), concordance(times, events, x[:, 1])
    assert compare_concordance(first, first)[:3] == (0.0, 0.0, 0.0)
    difference, se, z, p = compare_concordance(first, second)
    assert difference == first.c - second.c
    assert se > 0
    assert 0 < p < 1
    assert np.sign(z) == np.sign(difference)

"""Kaplan-Meier, log-rank and Cox against R's survival 3.5."""

from __future__ import annotations

import numpy as np
import pytest

from hepacast.errors import ModelError, OutcomeError
from hepacast.stats.cox import fit_cox
from hepacast.stats.cox_checks import concordance, proportional_hazards
from hepacast.stats.kaplan_meier import kaplan_meier, log_rank

COLUMNS = ["age", "sex", "ph.ecog", "wt.loss"]


@pytest.fixture
def lung(golden):
    reference, frame = golden("f1_km_cox_lung")
    return reference, frame


@pytest.fixture
def cox_data(lung):
    reference, frame = lung
    rows = frame.set_index("id").loc[reference["cox_rows"]]
    x = rows[COLUMNS].assign(sex=(rows["sex"] == "female").astype(float))
    return reference, x.to_numpy(float), rows["time"].to_numpy(float), rows["status"].to_numpy(float)


def _curve_equals(curve, expected):
    np.testing.assert_allclose(curve.time, expected["time"])
    np.testing.assert_allclose(curve.n_risk, expected["n_risk"])
    np.testing.assert_allclose(curve.n_event, expected["n_event"])
    np.testing.assert_allclose(curve.n_censor, expected["n_censor"])
    np.testing.assert_allclose(curve.survival, expected["surv"], atol=1e-12)
    np.testing.assert_allclose(curve.std_error, expected["std_err_log"], atol=1e-12)
    np.testing.assert_allclose(curve.lower, expected["lower"], atol=1e-12)
    np.testing.assert_allclose(curve.upper, expected["upper"], atol=1e-12)


def test_kaplan_meier(lung):
    reference, frame = lung
    _curve_equals(kaplan_meier(frame["time"], frame["status"]), reference["km_overall"])
    for sex in ("male", "female"):
        part = frame[frame["sex"] == sex]
        _curve_equals(kaplan_meier(part["time"], part["status"]), reference["km_by_sex"][f"sex={sex}"])
        for kind in ("log-log", "plain"):
            curve = kaplan_meier(part["time"], part["status"], confidence=kind)
            expected = reference[f"km_by_sex_{kind.replace('-', '')}"][f"sex={sex}"]
            np.testing.assert_allclose(curve.lower, expected["lower"], atol=1e-12)
            np.testing.assert_allclose(curve.upper, expected["upper"], atol=1e-12)
        curve = kaplan_meier(part["time"], part["status"])
        expected = reference["median"][f"sex={sex}"]
        assert curve.median == (expected["median"], expected["0.95LCL"], expected["0.95UCL"])
        np.testing.assert_allclose(curve.restricted_mean(500), reference["rmst_500"][sex], rtol=1e-10)
        at = reference["at_risk_table"]
        rows = [i for i, name in enumerate(at["strata"]) if name == f"sex={sex}"]
        np.testing.assert_array_equal(curve.at_risk(at["times"]), [at["n_risk"][i] for i in rows])
        np.testing.assert_allclose(curve.at(at["times"]), [at["surv"][i] for i in rows], atol=1e-12)
    reverse = kaplan_meier(frame["time"], 1 - frame["status"])
    assert list(reverse.median) == reference["followup_median_reverse_km"]


def test_log_rank(lung):
    reference, frame = lung
    result = log_rank(frame["time"], frame["status"], frame["sex"])
    np.testing.assert_allclose(
        [result.chi2, result.p], [reference["logrank_sex"][k] for k in ("chisq", "p")], rtol=1e-10
    )
    np.testing.assert_allclose(result.observed[::-1], reference["logrank_sex"]["obs"])
    np.testing.assert_allclose(result.expected[::-1], reference["logrank_sex"]["exp"], rtol=1e-10)
    peto = log_rank(frame["time"], frame["status"], frame["sex"], rho=1)
    np.testing.assert_allclose(peto.chi2, reference["peto_rho1"]["chisq"], rtol=1e-10)
    ecog = frame[frame["ph.ecog"] < 3]
    three = log_rank(ecog["time"], ecog["status"], ecog["ph.ecog"])
    assert three.df == 2
    np.testing.assert_allclose(three.chi2, reference["logrank_ecog3"]["chisq"], rtol=1e-10)
    strata = log_rank(ecog["time"], ecog["status"], ecog["sex"], strata=ecog["ph.ecog"])
    np.testing.assert_allclose(strata.chi2, reference["logrank_stratified"]["chisq"], rtol=1e-10)


@pytest.mark.parametrize("ties", ["efron", "breslow", "exact"])
def test_cox(cox_data, ties):
    reference, x, time, event = cox_data
    fit = fit_cox(x, time, event, COLUMNS, ties=ties)
    table = reference["cox_exact"] if ties == "exact" else reference[f"cox_{ties}"]["table"]
    frame = fit.to_frame()
    for name, key in zip(COLUMNS, ["age", "sexfemale", "ph.ecog", "wt.loss"], strict=True):
        row, expected = frame.loc[name], table[key]
        np.testing.assert_allclose(
            [row["coef"], row["se"], row["z"], row["p"], row["hr"], row["hr_low"], row["hr_high"]],
            [expected[k] for k in ("coef", "se", "z", "p", "HR")] + expected["ci"],
            rtol=1e-6 if ties == "breslow" else 1e-8,
        )
    if ties != "exact":
        expected = reference[f"cox_{ties}"]
        np.testing.assert_allclose([fit.loglik_null, fit.loglik], expected["loglik"], rtol=1e-9)
        np.testing.assert_allclose(fit.lrt, expected["lrt"], rtol=1e-7)
        np.testing.assert_allclose(fit.score, expected["score"][0], rtol=1e-9)
        np.testing.assert_allclose(fit.aic, expected["aic"], rtol=1e-9)


def test_cox_predictions_and_checks(cox_data):
    reference, x, time, event = cox_data
    fit = fit_cox(x, time, event, COLUMNS)
    base = reference["baseline_cumhaz_uncentered"]
    np.testing.assert_allclose(fit.cumulative_hazard(base["time"]), base["hazard"], rtol=1e-8)
    np.testing.assert_allclose(fit.linear_predictor(x[:10]), reference["lp_first10"], rtol=1e-8)
    survival = fit.survival(x[:5], reference["pred_surv_first5"]["times"])
    np.testing.assert_allclose(survival.T, reference["pred_surv_first5"]["surv"], rtol=1e-8)
    zph = proportional_hazards(fit, x, time, event)
    expected = reference["cox_zph_km"]
    for name in [*COLUMNS, "GLOBAL"]:
        np.testing.assert_allclose(zph.loc[name, "chi2"], expected["chisq"][name], rtol=1e-7)
        np.testing.assert_allclose(zph.loc[name, "p"], expected["p"][name], rtol=1e-7)
    for transform in ("identity", "rank"):
        zph = proportional_hazards(fit, x, time, event, transform=transform)
        for name in [*COLUMNS, "GLOBAL"]:
            np.testing.assert_allclose(zph.loc[name, "p"], reference[f"cox_zph_{transform}_p"][name], rtol=1e-7)


def test_concordance(cox_data):
    reference, x, time, event = cox_data
    score = fit_cox(x, time, event).linear_predictor(x)
    expected = reference["cindex"]
    result = concordance(time, event, score)
    np.testing.assert_allclose([result.c, result.se], [expected["harrell"], expected["harrell_se"]], rtol=1e-9)
    assert result.concordant == expected["counts"]["concordant"]
    assert result.discordant == expected["counts"]["discordant"]
    uno = concordance(time, event, score, weights="uno")
    np.testing.assert_allclose([uno.c, uno.se], [expected["uno_n_G2"], expected["uno_se"]], rtol=1e-9)


def _pair_by_pair(time, event, score):
    """C, and each patient's pairs as (comparable, concordant + half of the ties)."""
    pairs, right = np.zeros(len(time)), np.zeros(len(time))
    for i in range(len(time)):
        for j in range(len(time)):
            if event[i] and (time[j] > time[i] or (time[j] == time[i] and not event[j])):
                found = 1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0
                pairs[[i, j]] += 1.0
                right[[i, j]] += found
    return right.sum() / pairs.sum(), pairs, right


def test_concordance_is_that_of_all_pairs():
    r = np.random.default_rng(3)
    for _ in range(20):
        time, event, score = r.integers(1, 8, 30), r.integers(0, 2, 30), r.integers(0, 5, 30).astype(float)
        c, pairs, right = _pair_by_pair(time, event, score)
        result = concordance(time, event, score)
        assert result.c == c
        np.testing.assert_allclose(result.influence, (right - c * pairs) / (pairs.sum() / 2), atol=1e-14)


def test_concordance_of_many_patients_needs_no_table_of_pairs():
    import tracemalloc

    r = np.random.default_rng(4)
    time, event, score = r.exponential(size=3000), r.integers(0, 2, 3000), r.normal(size=3000)
    tracemalloc.start()
    concordance(time, event, score)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6  # all pairs as booleans alone take 9 MB


def test_univariate_cox(lung):
    reference, frame = lung
    for name, expected in reference["cox_univariate"].items():
        part = frame[["time", "status", name]].dropna()
        x = (part[name] == "female").astype(float) if name == "sex" else part[name]
        row = fit_cox(x.to_numpy(float), part["time"], part["status"]).to_frame().iloc[0]
        np.testing.assert_allclose(
            [row["coef"], row["se"], row["p"]], [expected[k] for k in ("coef", "se", "p")], rtol=1e-7
        )


def test_separation_is_told():
    time = np.arange(1.0, 21.0)
    event = np.ones(20)
    x = (time <= 10).astype(float)
    assert fit_cox(x, time, event).status == "diverging"
    assert fit_cox(x, time, event, ridge=1.0).status == "ok"


def test_bad_follow_up_is_refused():
    with pytest.raises(OutcomeError, match="negative"):
        kaplan_meier([-1, 2], [0, 1])
    with pytest.raises(OutcomeError, match="coded 0"):
        kaplan_meier([1, 2], [1, 2])
    with pytest.raises(OutcomeError, match="missing"):
        kaplan_meier([1, np.nan], [1, 0])
    with pytest.raises(OutcomeError, match="two groups"):
        log_rank([1, 2], [1, 1], ["a", "a"])
    with pytest.raises(ModelError, match="needs events"):
        fit_cox([1.0, 2.0, 3.0], [1, 2, 3], [0, 0, 0])
    with pytest.raises(ModelError, match="constant"):
        fit_cox([1.0, 1.0, 1.0], [1, 2, 3], [1, 0, 1])
    with pytest.raises(ModelError, match="collinear"):
        x = np.arange(8.0)
        fit_cox(np.column_stack([x, 2 * x + 1]), np.arange(1, 9), np.ones(8))


@pytest.mark.parametrize("confidence", ["log", "log-log", "plain"])
def test_a_curve_that_ends_at_zero_has_no_limits_there(confidence):
    """survfit: at a survival of 0 the variance is not defined, so the median has no limit from there."""
    times, events = [3, 5, 8, 12, 13, 20], [1, 0, 1, 0, 0, 1]
    curve = kaplan_meier(times, events, confidence=confidence)
    assert curve.survival[-1] == 0 and np.isnan(curve.lower[-1]) and np.isnan(curve.upper[-1])
    median, low, high = curve.median
    assert median == 20 and np.isnan(high)
    early = curve.lower[curve.survival > 0]
    assert np.isnan(low) if (early > 0.5).all() else low < 20

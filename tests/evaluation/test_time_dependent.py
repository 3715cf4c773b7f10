"""Time-dependent AUC, Brier, decision curve and cut-offs against timeROC, riskRegression, pec, dcurves, maxstat."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from hepacast.errors import OutcomeError
from hepacast.evaluation.decision import decision_curves
from hepacast.evaluation.event_by import event_by, observed_risk
from hepacast.evaluation.time_dependent import auc_at, brier_at, compare_auc_at, integrated_brier
from hepacast.stats.cox import fit_cox
from hepacast.stats.cutpoint import maxstat_cut


def test_auc_equals_time_roc(golden):
    reference, frame = golden("f2_timeroc_pbc")
    times, dead = frame["years"], frame["dead"]
    p_values = []
    for j, t in enumerate(reference["timeROC"]["lp_full"]["times"]):
        results = {}
        for name in ("lp_full", "lp_small"):
            expected = reference["timeROC"][name]
            results[name] = auc_at(times, dead, frame[name], t)
            np.testing.assert_allclose(results[name].value, expected["AUC"][j], rtol=1e-10)
            np.testing.assert_allclose(results[name].se, expected["se"][j], rtol=2e-4)
        p_values.append(compare_auc_at(results["lp_full"], results["lp_small"])[3])
    np.testing.assert_allclose(p_values, reference["timeROC"]["compare_p_nonadj"], rtol=2e-2)


def test_brier_equals_risk_regression(golden):
    reference, frame = golden("f2_timeroc_pbc")
    for model in ("full", "small"):
        expected = reference["riskRegression"]["brier"][model]
        risks = np.array(reference["risk_at_times"][model])
        for j, t in enumerate(expected["times"]):
            result = brier_at(frame["years"], frame["dead"], risks[:, j], t)
            np.testing.assert_allclose(result.value, expected["Brier"][j], rtol=1e-7)
            np.testing.assert_allclose(result.se, expected["se"][j], rtol=5e-3)
    null = reference["riskRegression"]["brier"]["Null model"]
    for j, t in enumerate(null["times"]):
        risk = np.full(len(frame), observed_risk(frame["years"].to_numpy(), frame["dead"].to_numpy(), t).value)
        np.testing.assert_allclose(brier_at(frame["years"], frame["dead"], risk, t).value, null["Brier"][j], rtol=1e-7)


def test_integrated_brier_equals_pec(golden):
    reference, frame = golden("f2_timeroc_pbc")
    years, dead = frame["years"].to_numpy(), frame["dead"].to_numpy()
    grid = np.concatenate([[0.0], np.unique(years[years <= 8])])
    null = np.column_stack([np.full(len(frame), observed_risk(years, dead, t).value) for t in grid])
    np.testing.assert_allclose(
        integrated_brier(years, dead, null, grid, 8.0), reference["ibs_0_8_pec"]["Reference"], rtol=2e-3
    )
    x = pd.DataFrame({"age": frame["age"], "bili": np.log(frame["bili"]), "albumin": frame["albumin"]})
    fit = fit_cox(x.to_numpy(), years, dead)
    score = integrated_brier(years, dead, 1 - fit.survival(x.to_numpy(), grid), grid, 8.0)
    assert score < reference["ibs_0_8_pec"]["small"]


def test_decision_curve_equals_dcurves(golden):
    reference, frame = golden("f5_dca_surv_pbc")
    risks = {name: frame[name] for name in reference["models"]}
    found = decision_curves(event_by(frame["years"], frame["dead"], reference["time"]), risks, reference["thresholds"])
    table = pd.DataFrame({name: curve.net_benefit for name, curve in found.models.items()}, index=found.thresholds)
    np.testing.assert_allclose(found.treat_all, reference["treat_all"], atol=1e-9)
    for name, expected in reference["models"].items():
        wanted = np.array(expected["net_benefit"], dtype=float)
        given = np.isfinite(wanted)
        np.testing.assert_allclose(table[name][given], wanted[given], atol=1e-9)
        # dcurves gives up where nobody above the threshold is followed to the horizon. Where the last of them had the
        # event, the Kaplan-Meier rate is 1 and the net benefit is their share; else it is unknown.
        for threshold in table.index[~given]:
            above = frame[frame[name] >= threshold]
            last = above.loc[above["years"] == above["years"].max(), "dead"]
            got = table.loc[threshold, name]
            assert got == pytest.approx(len(above) / len(frame), abs=1e-12) if (last == 1).all() else np.isnan(got)


@pytest.mark.parametrize("name", ["bili", "albumin", "lp_full"])
def test_cut_off_equals_maxstat(golden, name):
    reference, frame = golden("f3_cutpoint")
    expected = reference["maxstat"][name]
    result = maxstat_cut(frame["years"], frame["dead"], frame[name], min_share=expected["minprop"])
    np.testing.assert_allclose(result.cut, expected["cutpoint"])
    np.testing.assert_allclose(result.statistic, expected["statistic"], rtol=1e-10)
    np.testing.assert_allclose(result.cuts, expected["cuts"])
    np.testing.assert_allclose(result.statistics, expected["stats"], rtol=1e-9)
    np.testing.assert_allclose(result.p_lau92, expected["p_Lau92"], rtol=1e-8)
    # R computes 1 - (pnorm(b) - pnorm(-b)), which is 0 or rounded for such large b; with that term as in R:
    r_tail = 1 - (norm.cdf(result.statistic) - norm.cdf(-result.statistic))
    np.testing.assert_allclose(result.p_lau94 - result.p_naive + r_tail, expected["p_Lau94"], rtol=1e-4)
    assert result.p_naive < result.p_lau94


def test_cut_off_of_lung(golden):
    reference, _ = golden("f3_cutpoint")
    _, lung = golden("f1_km_cox_lung")
    part = lung[lung["wt.loss"].notna()]
    for name, expected in reference["maxstat_lung_wtloss_nonmissing"].items():
        result = maxstat_cut(part["time"], part["status"], part[name])
        assert (result.cut, len(part)) == (expected["cutpoint"], expected["n"])
        np.testing.assert_allclose(result.statistic, expected["statistic"], rtol=1e-10)
        np.testing.assert_allclose(
            [result.p_lau92, result.p_lau94], [expected["p_Lau92"], expected["p_Lau94"]], rtol=1e-8
        )


def test_what_cannot_be_estimated_is_refused():
    with pytest.raises(OutcomeError, match="Nothing can be estimated"):
        auc_at([1, 2, 3], [0, 1, 1], [1, 2, 3], 0.5)
    with pytest.raises(OutcomeError, match="probabilities"):
        brier_at([1, 2, 3], [0, 1, 1], [1.2, 0, 0], 2)
    with pytest.raises(OutcomeError, match="followed up"):
        decision_curves(event_by([1, 2, 3], [0, 1, 0], 5), {"m": [0.1, 0.2, 0.3]})
    with pytest.raises(OutcomeError, match="No cut-off"):
        maxstat_cut([1, 2, 3, 4], [1, 1, 1, 0], [1, 1, 1, 1])


def test_the_threshold_makes_the_groups_of_maxstat_where_patients_at_it_are_high(golden):
    _, frame = golden("f3_cutpoint")
    found = maxstat_cut(frame["years"], frame["dead"], frame["bili"])
    assert ((frame["bili"] >= found.threshold) == (frame["bili"] > found.cut)).all()
    assert found.cut < found.threshold < frame["bili"][frame["bili"] > found.cut].min()

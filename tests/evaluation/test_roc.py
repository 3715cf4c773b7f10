"""ROC curves against pROC (golden b)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import trapezoid

from hepacast.errors import ModelError, OutcomeError
from hepacast.evaluation.roc import auc_with_variance, bootstrap_auc, delong_test, delong_test_unpaired, roc
from hepacast.evaluation.thresholds import (
    at_threshold,
    compare_calls,
    threshold_at,
    threshold_table,
    youden_threshold,
)

TIGHT = {"rtol": 1e-9, "atol": 1e-12}
MARKERS = ["s100b", "ndka", "wfns"]


@pytest.fixture
def asah(golden):
    return golden("b_roc_asah")


@pytest.mark.parametrize("marker", MARKERS)
def test_curve_equals_proc(asah, marker):
    reference, data = asah
    truth = reference["markers"][marker]
    result = roc(data.outcome, data[marker])
    assert_allclose(result.auc, truth["auc"], **TIGHT)
    assert_allclose(result.auc_ci, truth["ci_delong"], **TIGHT)
    assert_allclose([result.variance, result.se], [truth["var_delong"], truth["se"]], **TIGHT)
    assert_allclose(result.thresholds, np.array(truth["curve"]["threshold"], dtype=float), **TIGHT)
    assert_allclose(result.sensitivity, truth["curve"]["sensitivity"], **TIGHT)
    assert_allclose(result.specificity, truth["curve"]["specificity"], **TIGHT)
    assert_allclose(result.p, truth["p_vs_05_wilcoxon"], **TIGHT)
    assert auc_with_variance(data.outcome, data[marker]) == pytest.approx((truth["auc"], truth["var_delong"]))


@pytest.mark.parametrize("marker", MARKERS)
def test_best_thresholds_equal_proc(asah, marker):
    reference, data = asah
    truth = reference["markers"][marker]
    result = roc(data.outcome, data[marker])
    best = truth["youden"]
    assert_allclose([result.youden[k] for k in ("threshold", "sensitivity", "specificity")],
                    [best[k] for k in ("threshold", "sensitivity", "specificity")], **TIGHT)  # fmt: skip
    assert_allclose(result.youden["youden"] + 1, best["youden"], **TIGHT)
    assert_allclose(youden_threshold(data.outcome, data[marker]), best["threshold"], **TIGHT)
    row = result.at(best["threshold"])
    assert [row.tp, row.fp, row.tn, row.fn] == [best[k] for k in ("tp", "fp", "tn", "fn")]
    assert_allclose([row.ppv.value, row.npv.value], [best["ppv"], best["npv"]], **TIGHT)
    corner = truth["closest_topleft"]
    assert_allclose([result.closest_topleft[k] for k in corner], list(corner.values()), **TIGHT)


def test_paired_comparisons_equal_proc(asah):
    reference, data = asah
    for truth in reference["paired"]:
        result = delong_test(data.outcome, data[truth["a"]], data[truth["b"]])
        assert_allclose([result.auc1, result.auc2], [truth["auc_a"], truth["auc_b"]], **TIGHT)
        assert_allclose([result.statistic, result.p], [truth["Z"], truth["p"]], **TIGHT)
        if truth.get("diff_ci"):
            assert_allclose(result.ci, truth["diff_ci"], **TIGHT)


def test_unpaired_comparisons_equal_proc(asah):
    reference, data = asah
    women, men = data[data.gender == "Female"], data[data.gender != "Female"]
    for truth in reference["unpaired_by_gender"]:
        name = truth["marker"]
        result = delong_test_unpaired(women.outcome, women[name], men.outcome, men[name])
        assert_allclose([result.auc1, result.auc2], [truth["auc_female"], truth["auc_male"]], **TIGHT)
        assert_allclose([result.statistic, result.df, result.p], [truth["D"], truth["df"], truth["p"]], **TIGHT)


def test_direction_partial_area_and_bootstrap(asah):
    reference, data = asah
    turned = roc(data.outcome, -data.s100b, direction="auto")
    assert turned.direction == reference["direction_auto"]["direction"]
    assert_allclose(turned.auc, reference["direction_auto"]["auc"], **TIGHT)
    assert roc(data.outcome, -data.s100b).auc == pytest.approx(1 - turned.auc)
    forward = roc(data.outcome, data.s100b)
    assert_allclose(forward.partial_auc(0.9, 1.0), reference["partial_auc_spec_1_0.9"], **TIGHT)
    assert_allclose(forward.partial_auc(0.0, 1.0), forward.auc, **TIGHT)
    assert_allclose(forward.partial_auc(0.0, 1.0, focus="sensitivity"), forward.auc, **TIGHT)
    rng = np.random.default_rng(42)
    strata = [np.flatnonzero(data.outcome == k) for k in (0, 1)]
    resamples = [np.concatenate([rng.choice(rows, rows.size) for rows in strata]) for _ in range(2000)]
    assert_allclose(forward.bootstrap_ci(resamples), reference["bootstrap_ci_s100b_monte_carlo"]["ci"], atol=0.01)


def test_turned_curve_has_the_thresholds_of_the_score(asah):
    _, data = asah
    forward, turned = roc(data.outcome, data.s100b), roc(data.outcome, -data.s100b, direction=">")
    assert_allclose(turned.youden["threshold"], -forward.youden["threshold"])
    row = turned.at(turned.youden["threshold"])
    assert_allclose(row.sensitivity.value, forward.youden["sensitivity"])


def test_diagnostic_table_equals_r(asah):
    reference, data = asah
    truth = reference["diagnostic_at_youden_s100b"]
    threshold = reference["markers"]["s100b"]["youden"]["threshold"]
    for method in ("exact", "wilson"):
        row = at_threshold(data.outcome, data.s100b, threshold, method=method)
        assert [row.tp, row.fn, row.tn, row.fp] == [truth[k] for k in ("TP", "FN", "TN", "FP")]
        for measure in ("sensitivity", "specificity", "ppv", "npv", "accuracy"):
            found = getattr(row, measure)
            assert_allclose(found.value, truth[measure]["est"], **TIGHT)
            assert_allclose([found.low, found.high], truth[measure][method], **TIGHT)


def test_mcnemar_of_two_classifications_equals_r(asah):
    reference, data = asah
    cut = {name: reference["markers"][name]["youden"]["threshold"] for name in ("s100b", "ndka")}
    result = compare_calls(data.s100b >= cut["s100b"], data.ndka >= cut["ndka"])
    truth = reference["mcnemar_s100b_vs_ndka"]
    assert_allclose([result.statistic, result.p], [truth["stat"], truth["p"]], **TIGHT)


cases = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=40)


@settings(max_examples=80, deadline=None)
@given(cases)
def test_area_and_variance_equal_their_definitions(pairs):
    y = np.array([float(event) for event, _ in pairs])
    score = np.array([float(value) for _, value in pairs])
    if min(y.sum(), (1 - y).sum()) < 2:
        return
    events, others = score[y == 1], score[y == 0]
    kernel = (events[:, None] > others).astype(float) + 0.5 * (events[:, None] == others)
    auc, variance = auc_with_variance(y, score)
    assert_allclose(auc, kernel.mean())
    expected = kernel.mean(1).var(ddof=1) / events.size + kernel.mean(0).var(ddof=1) / others.size
    assert_allclose(variance, expected, atol=1e-12)
    curve = roc(y, score)
    trapezoids = trapezoid(curve.sensitivity[::-1], 1 - curve.specificity[::-1])
    assert_allclose(trapezoids, auc)
    assert_allclose(roc(y, np.exp(score)).auc, auc)


def test_comparing_a_model_with_itself_is_p_one(asah):
    _, data = asah
    result = delong_test(data.outcome, data.s100b, data.s100b * 3)
    assert (result.status, result.p, result.difference) == ("identical", 1.0, 0.0)


def test_constant_tiny_and_wrong_input():
    y = np.array([0, 0, 1, 1, 1])
    flat = roc(y, np.full(5, 0.4))
    assert flat.status == "constant" and flat.auc == 0.5 and flat.p == 1.0
    assert math.isinf(youden_threshold(y, np.full(5, 0.4)))
    one = roc([0, 1, 1], [0.1, 0.2, 0.3])
    assert one.status == "no_interval" and math.isnan(one.auc_ci[0])
    assert delong_test([0, 1, 1], [1, 2, 3], [3, 2, 1]).status == "impossible"
    perfect = roc([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert perfect.auc == 1.0 and perfect.auc_ci == (1.0, 1.0)
    assert "no width" in perfect.reason and "no width" in roc([0, 0, 1, 1], [4, 3, 2, 1]).reason
    with pytest.raises(OutcomeError, match="only one class"):
        roc([1, 1], [0.1, 0.2])
    with pytest.raises(ModelError, match="missing or infinite"):
        roc([0, 1], [0.1, np.nan])
    with pytest.raises(ModelError, match="differ in length"):
        roc([0, 1], [0.1])
    with pytest.raises(ModelError, match="not numeric"):
        roc([0, 1], ["low", "high"])
    assert all(math.isnan(v) for v in bootstrap_auc([0, 1], [0, 1], [[0, 0]]))


def test_a_set_with_one_class_has_no_sensitivity_but_a_specificity():
    row = at_threshold([0, 0, 0], [0.1, 0.6, 0.2], 0.5)
    assert math.isnan(row.sensitivity.value) and row.sensitivity.reason
    assert_allclose(row.specificity.value, 2 / 3)
    assert math.isnan(row.mcc)


def test_wanted_sensitivity_and_specificity(asah):
    _, data = asah
    cut = threshold_at(data.outcome, data.ndka, sensitivity=0.9)
    assert at_threshold(data.outcome, data.ndka, cut).sensitivity.value >= 0.9
    assert at_threshold(data.outcome, data.ndka, cut + 1e-9).sensitivity.value < 0.9
    cut = threshold_at(data.outcome, data.ndka, specificity=0.9)
    assert at_threshold(data.outcome, data.ndka, cut).specificity.value >= 0.9


def test_threshold_table_keeps_the_training_cut_off(asah):
    _, data = asah
    train, test = data[::2], data[1::2]
    cut = youden_threshold(train.outcome, train.s100b)
    table = threshold_table(
        {"training": (train.outcome, train.s100b), "validation": (test.outcome, test.s100b)}, {"Youden": cut}
    )
    assert table["threshold"].tolist() == [cut, cut]
    assert table.loc[1, "tp"] + table.loc[1, "fn"] == test.outcome.sum()


def test_a_cut_off_between_neighboring_numbers_divides_as_it_was_chosen():
    # No number lies between these scores: half way is the lower one, whose patients would count as above.
    low = 0.29999999999999993
    high = np.nextafter(low, 1.0)
    outcome, score = np.array([0, 0, 0, 1, 1, 1]), np.array([low, low, low, high, high, high])
    for cut in (
        youden_threshold(outcome, score),
        threshold_at(outcome, score, specificity=1.0),
        roc(outcome, score).youden["threshold"],
    ):
        assert (score >= cut).tolist() == (outcome == 1).tolist()

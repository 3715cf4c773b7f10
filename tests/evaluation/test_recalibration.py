"""Recalibration, drift, subgroups and conformal sets."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, logit

from hepacast.errors import ModelError
from hepacast.evaluation.calibration import calibration
from hepacast.evaluation.conformal import Conformal, conformal
from hepacast.evaluation.recalibration import calibration_drift, recalibrate
from hepacast.evaluation.roc import delong_test_unpaired
from hepacast.evaluation.subgroups import subgroup_performance

VARIABLES = ["npreg", "bp", "age"]


@pytest.fixture
def pima(golden):
    _, data = golden("c_calibration_pima")
    return data


def test_recalibrated_risks_are_calibrated(pima):
    test = pima[pima.split == "test"]
    y, p = test.type.to_numpy(), test.p_clin.to_numpy()
    both = recalibrate(y, p, method="slope")
    found = calibration(y, both.apply(p))
    assert_allclose([found.slope.value, found.intercept.value], [1, 0], atol=1e-9)
    shifted = recalibrate(y, p, method="intercept")
    assert shifted.slope == 1
    assert_allclose(shifted.apply(p).sum(), y.sum())
    assert_allclose(recalibrate(y, p, method="none").apply(p), p)


def test_recalibration_equals_the_golden_slope(golden):
    reference, data = golden("c_calibration_pima")
    test = data[data.split == "test"]
    truth = reference["test"]["p_clin"]["slope_intercept"]
    found = recalibrate(test.type, test.p_clin, method="slope")
    assert_allclose([found.slope, found.intercept], [truth["slope"], truth["intercept_recal"]], rtol=1e-9)


def test_closed_test_changes_no_more_than_needed(pima):
    rng = np.random.default_rng(4)
    lp = rng.normal(size=600)
    y = (rng.random(600) < expit(lp)).astype(int)
    assert recalibrate(y, expit(lp), method="closed test").method == "none"
    assert recalibrate(y, expit(lp + 1.0), method="closed test").method == "intercept"
    assert recalibrate(y, expit(3.0 * lp + 1.0), method="closed test").method == "slope"
    test = pima[pima.split == "test"]
    refit = recalibrate(test.type, 1 - test.p_clin, method="closed test", x=test[["glu", "bmi"]])
    assert refit.method == "refit" and refit.p["slope"] < 0.05
    assert refit.apply(test.p_clin, test[["glu", "bmi"]]).shape == (len(test),)
    with pytest.raises(ModelError, match="predictors"):
        refit.apply(test.p_clin)


def test_recalibration_that_cannot_be_fitted_says_so():
    y = np.repeat([0, 1], 20)
    found = recalibrate(y, np.where(y == 1, 0.8, 0.2), method="slope")
    assert found.status == "separated"
    with pytest.raises(ModelError, match="no estimate"):
        found.apply([0.5])
    with pytest.raises(ModelError, match="Unknown"):
        recalibrate(y, np.full(40, 0.5), method="magic")


def test_drift_finds_the_center_that_moved():
    rng = np.random.default_rng(1)
    lp = rng.normal(size=900)
    center = np.repeat(["a", "b", "c"], 300)
    truth = lp + np.where(center == "c", 1.0, 0.0)
    y = (rng.random(900) < expit(truth)).astype(int)
    found = calibration_drift(y, expit(lp), center)
    assert found.intercepts.p < 1e-6 and found.slopes.p > 0.01
    assert found.table.loc["c", "citl_low"] > 0.5 > abs(found.table.loc["a", "citl"])
    assert set(found.to_frame().index) == {"a", "b", "c"}


def test_drift_with_a_center_of_one_class():
    rng = np.random.default_rng(1)
    p = rng.random(90)
    y = (rng.random(90) < p).astype(int)
    y[:30] = 0
    found = calibration_drift(y, p, np.repeat(["a", "b", "c"], 30))
    assert found.table.loc["a", "notes"] == "one class only" and math.isnan(found.table.loc["a", "slope"])
    assert found.intercepts.df == 1
    assert calibration_drift(y, p, np.repeat("x", 90)).slopes.status == "impossible"


def test_subgroups_equal_the_single_analyses(pima):
    test = pima[pima.split == "test"].reset_index(drop=True)
    old = np.where(test.age >= 40, "old", "young").astype(object)
    old[:3] = None
    rows = {row.level: row for row in subgroup_performance(test.type, test.p_comb, {"age": old})}
    a, b = old == "old", old == "young"
    truth = delong_test_unpaired(test.type[a], test.p_comb[a], test.type[b], test.p_comb[b])
    areas = [rows[name].discrimination for name in ("old", "young")]
    assert_allclose([area.value for area in areas], [truth.auc1, truth.auc2])
    assert_allclose(rows["old"].slope.value, calibration(test.type[a], test.p_comb[a]).slope.value)
    # two groups: the chi-square test is the square of the z test
    z = (truth.auc1 - truth.auc2) / math.hypot(*(area.se for area in areas))
    (p,) = (row.p_equal for row in rows.values() if not math.isnan(row.p_equal))
    assert_allclose(p, math.erfc(abs(z) / math.sqrt(2)))
    assert rows["(missing)"].n == 3 and rows[""].n == len(test)


def test_conformal_p_values_by_hand():
    found = Conformal(np.array([0.3, 0.6, 0.8]), np.array([0.1, 0.2, 0.5, 0.7]))
    event, other = found.p_values([0.6, 0.05, 0.9])
    assert_allclose(event, [3 / 4, 1 / 4, 4 / 4])
    assert_allclose(other, [2 / 5, 5 / 5, 1 / 5])


def test_conformal_sets_cover_each_class():
    rng = np.random.default_rng(2)
    hits, total = np.zeros(2), np.zeros(2)
    for _ in range(600):
        lp = rng.normal(size=300) * 1.5 - 1
        y = (rng.random(300) < expit(lp)).astype(int)
        risk = expit(2 * lp)  # miscalibrated on purpose: coverage does not need calibration
        event, other = conformal(y[:200], risk[:200]).p_values(risk[200:])
        for outcome, p in ((0, other), (1, event)):
            inside = y[200:] == outcome
            hits[outcome] += (p[inside] > 0.2 + 1e-12).sum()
            total[outcome] += inside.sum()
    # Expected 0.80 to 0.82; one run's standard error is 0.004.
    assert (hits / total > 0.79).all() and (hits / total < 0.83).all()


def test_conformal_needs_enough_patients_and_survives_json():
    predictor = conformal([0] * 30 + [1] * 5, np.linspace(0.05, 0.95, 35))
    with pytest.raises(ModelError, match="at least 9"):
        predictor.predict(0.4, level=0.9)
    again = Conformal.from_json(json.loads(json.dumps(predictor.to_json())))
    assert again.predict(0.99, level=0.8) == predictor.predict(0.99, level=0.8)
    assert predictor.predict(0.99, level=0.8).label == "event"
    assert predictor.predict(0.01, level=0.8).label == "no event"


def test_logit_of_certainty_is_finite_in_recalibration():
    y = np.array([0, 1, 0, 1, 0, 1, 1, 0])
    p = np.array([0.0, 1.0, 0.3, 0.4, 0.6, 0.7, 0.2, 0.1])
    assert np.isfinite(recalibrate(y, p, method="intercept").apply(p)).all()
    assert logit(0.5) == 0
    assert len(subgroup_performance(y, p, pd.DataFrame({"g": list("aabbaabb")}))) == 3


def test_small_subgroups_have_counts_only():
    """Nine events, or nine patients without: no area, no calibration; ten of each are judged."""
    rng = np.random.default_rng(6)
    y = np.r_[np.ones(9), np.zeros(30), np.ones(30), np.zeros(9), np.ones(10), np.zeros(10)]
    group = np.repeat(["few events", "few others", "enough"], [39, 39, 20])
    found = subgroup_performance(y, np.clip(rng.random(98), 0.01, 0.99), {"g": group})
    rows = {row.level: row for row in found}
    for name in ("few events", "few others"):
        row = rows[name]
        assert not (row.discrimination.known or row.observed_expected.known or row.slope.known)
        assert math.isnan(row.brier) and "fewer than 10" in row.reason
    assert rows["enough"].discrimination.known and rows[""].discrimination.known
    assert (rows["few events"].n, rows["few events"].events) == (39, 9)

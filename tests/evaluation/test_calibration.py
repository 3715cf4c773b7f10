"""Calibration against rms, ResourceSelection and loess (golden c)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hepacast.errors import ModelError
from hepacast.evaluation.bootstrap_validation import calibrate, logistic_bootstrap, validate
from hepacast.evaluation.calibration import calibration, calibration_groups, hosmer_lemeshow, smoothed_at_risks
from hepacast.evaluation.val_prob import val_prob
from hepacast.stats.smoothing import loess, lowess

TIGHT = {"rtol": 1e-9, "atol": 1e-11}
SETS = [(part, model) for part in ("train", "test") for model in ("p_clin", "p_lab", "p_comb")]
VARIABLES = ["npreg", "glu", "bp", "skin", "bmi", "ped", "age"]
FOLDER = Path(__file__).resolve().parents[1] / "golden" / "c_calibration_pima"


@pytest.fixture
def pima(golden):
    reference, data = golden("c_calibration_pima")
    return reference, data


def case(pima, part, model):
    reference, data = pima
    rows = data[data.split == part]
    return reference[part][model], rows.type.to_numpy(), rows[model].to_numpy()


@pytest.mark.parametrize(("part", "model"), SETS)
def test_val_prob_equals_rms(pima, part, model):
    truth, y, p = case(pima, part, model)
    found = val_prob(y, p)
    for name, value in truth["val_prob"].items():
        if name == "D:p":  # R gives NA
            assert math.isnan(found[name])
        elif name in ("Intercept", "Slope", "Q", "U", "U:Chi-sq", "U:p"):
            # lrm.fit stops a little before the maximum
            assert_allclose(found[name], value, rtol=1e-9, atol=2e-9, err_msg=name)
        elif name in ("Emax", "E90", "Eavg"):
            assert_allclose(found[name], value, rtol=1e-8, err_msg=name)
        else:
            assert_allclose(found[name], value, err_msg=name, **TIGHT)


@pytest.mark.parametrize(("part", "model"), SETS)
def test_slope_intercept_and_scores_equal_r(pima, part, model):
    truth, y, p = case(pima, part, model)
    found = calibration(y, p)
    line = truth["slope_intercept"]
    # R's standard errors come from the weights of the step before the last: right to eight digits.
    assert_allclose(found.slope.value, line["slope"], **TIGHT)
    assert_allclose([found.slope.se, *found.slope.ci], [line["slope_se"], *line["slope_ci"]], rtol=2e-8)
    assert_allclose(found.intercept.value, line["intercept_recal"], **TIGHT)
    assert_allclose(found.citl.value, line["citl"], **TIGHT)
    assert_allclose([found.citl.se, *found.citl.ci], [line["citl_se"], *line["citl_ci"]], rtol=2e-8, atol=1e-9)
    assert_allclose(
        [found.observed_expected.value, 1 / found.observed_expected.value], [line["OE"], line["EO"]], **TIGHT
    )
    assert_allclose([found.brier.value, found.brier_scaled], [truth["brier"], truth["brier_scaled"]], **TIGHT)
    assert_allclose(found.log_loss, truth["logloss"], **TIGHT)


@pytest.mark.parametrize(("part", "model"), SETS)
def test_hosmer_lemeshow_equals_r(pima, part, model):
    truth, y, p = case(pima, part, model)
    truth = truth["hosmer_lemeshow"]
    found, external = hosmer_lemeshow(y, p), hosmer_lemeshow(y, p, external=True)
    assert_allclose([found.statistic, found.df, found.p], [truth["chisq"], truth["df_g_minus_2"], truth["p"]], **TIGHT)
    assert_allclose(external.p, truth["p_external_df_g"], **TIGHT)
    assert list(found.n) == truth["n"] and list(found.observed) == truth["observed1"]
    assert_allclose(found.expected, truth["expected1"], **TIGHT)


@pytest.mark.parametrize(("part", "model"), SETS)
def test_smoothers_equal_r(pima, part, model):
    truth, y, p = case(pima, part, model)
    xs, smooth = lowess(p, y)
    assert_allclose(xs, truth["lowess"]["x"], rtol=1e-13)
    assert_allclose(smooth, truth["lowess"]["y"], rtol=1e-8, atol=1e-11)
    for surface in ("interpolate", "direct"):
        expected = truth["loess"][surface]
        fitted = loess(p, y, surface=surface)
        assert_allclose(fitted[:10], expected["fitted_first10"], rtol=1e-9, atol=1e-12)
        error = np.abs(smoothed_at_risks(y.astype(float), p, surface=surface) - p)
        values = [error.mean(), np.quantile(error, 0.5), np.quantile(error, 0.9), error.max()]
        assert_allclose(values, [expected[name] for name in ("ICI", "E50", "E90", "Emax")], **TIGHT)
    found = calibration(y, p)
    expected = truth["loess"]["interpolate"]
    assert_allclose([found.ici.value, found.e50, found.e90, found.emax],
                    [expected[name] for name in ("ICI", "E50", "E90", "Emax")], **TIGHT)  # fmt: skip


@pytest.fixture
def bootstrap(pima):
    _, data = pima
    train = data[data.split == "train"]
    rows = np.loadtxt(FOLDER / "boot_idx.csv", delimiter=",", dtype=int) - 1
    assert rows.shape == (40, 200)
    return logistic_bootstrap(train[VARIABLES], train.type, rows)


def test_bootstrap_calibration_equals_rms(pima, bootstrap):
    truth = pima[0]["calibrate"]
    found = calibrate(bootstrap)
    assert_allclose(found.predicted, truth["predy"], rtol=1e-8)
    assert_allclose(found.apparent, truth["calibrated_orig"], atol=1e-8)
    assert_allclose(found.corrected, truth["calibrated_corrected"], atol=1e-8)
    assert_allclose(found.optimism, truth["optimism"], atol=1e-8)
    assert_allclose(found.mean_abs_error, truth["mean_abs_error"], atol=5e-5)
    assert_allclose(found.mean_sq_error, truth["mean_sq_error"], atol=5e-5)
    assert_allclose(found.q90_abs_error, truth["q90_abs_error"], atol=2e-4)


def test_bootstrap_validation_equals_rms(pima, bootstrap):
    truth = pima[0]["validate"]
    found = validate(bootstrap)
    assert list(found.index) == list(truth)
    for name, row in truth.items():
        expected = [row["index.orig"], row["training"], row["test"], row["optimism"], row["index.corrected"], row["n"]]
        assert_allclose(found.loc[name].to_numpy(dtype=float), expected, rtol=1e-7, atol=1e-8, err_msg=name)


def test_lowess_with_robust_steps_and_ties_is_the_published_example():
    # R's own example, lowess(cars) with its default of three robust steps: the first values as R prints them.
    speed = (
        "4 4 7 7 8 9 10 10 10 11 11 12 12 12 12 13 13 13 13 14 14 14 14 15 15 "
        "15 16 16 17 17 17 18 18 18 18 19 19 19 20 20 20 20 20 22 23 24 24 24 24 25"
    )
    dist = (
        "2 10 4 22 16 10 18 26 34 17 28 14 20 24 28 26 34 34 46 26 36 60 80 20 26 "
        "54 32 40 32 40 50 42 56 76 84 36 46 68 32 48 52 56 64 66 54 70 92 93 120 85"
    )
    _, smooth = lowess(np.array(speed.split(), float), np.array(dist.split(), float), iterations=3)
    assert_allclose(smooth[[0, 2, 4, 5]], [4.965459, 13.124495, 15.858633, 18.579691], atol=1e-6)


def test_constant_risks_say_so():
    y = np.array([0, 1] * 20)
    found = calibration(y, np.full(40, 0.3))
    assert math.isnan(found.slope.value) and "same risk" in found.slope.reason
    assert_allclose(found.citl.value, -math.log(0.3 / 0.7))
    assert found.hosmer_lemeshow.status == "impossible" and found.curve is None
    assert_allclose(found.ici.value, 0.2)
    assert any("same risk" in note for note in found.notes)
    assert len(found.groups) == 1 and found.groups[0].observed.value == 0.5


def test_risks_of_zero_and_one_are_counted_and_left_out():
    rng = np.random.default_rng(0)
    p = rng.random(100)
    y = (rng.random(100) < p).astype(int)
    extreme_p, extreme_y = np.append(p, [0.0, 1.0]), np.append(y, [0, 1])
    found = calibration(extreme_y, extreme_p)
    assert_allclose(found.slope.value, calibration(y, p).slope.value)
    assert any("2 risks of exactly 0 or 1" in note for note in found.notes)
    assert math.isinf(calibration(np.append(y, 0), np.append(p, 1.0)).log_loss)


def test_perfect_predictions_have_no_slope_but_a_reason():
    y = np.repeat([0, 1], 20)
    p = np.where(y == 1, 0.9, 0.1) + np.linspace(0, 0.01, 40)
    found = calibration(y, p)
    assert math.isnan(found.slope.value) and "separate" in found.slope.reason
    assert found.brier.value < 0.02


def test_scores_are_not_risks():
    with pytest.raises(ModelError, match="not a probability"):
        calibration([0, 1, 0, 1], [-1.0, 2.0, 0.3, 0.5])


def test_tied_risks_join_groups(pima):
    _, data = pima
    p = np.round(data.p_comb, 1).clip(0.05, 0.95)
    groups = calibration_groups(data.type, p)
    assert sum(group.n for group in groups) == len(data)
    test = hosmer_lemeshow(data.type, p)
    assert len(test.n) < 10 and test.df == len(test.n) - 2


def test_band_contains_the_curve_and_row_order_does_not_matter(pima):
    _, y, p = case(pima, "test", "p_comb")
    found = calibration(y, p)
    assert (found.curve.low <= np.clip(found.curve.observed, 0, 1) + 1e-12).all()
    order = np.random.default_rng(0).permutation(len(y))
    again = calibration(y[order], p[order])
    assert_allclose(again.ici.value, found.ici.value, rtol=1e-12)
    assert_allclose(again.curve.high, found.curve.high, rtol=1e-9)


def test_the_smoothed_curve_stays_between_0_and_1():
    """Loess leaves the interval where almost all, or almost none, of the highest risks have the event."""
    rng = np.random.default_rng(3)
    risk = rng.beta(0.6, 1.5, 80)
    outcome = (rng.random(80) < risk).astype(int)
    outcome[np.argsort(risk)[-12:]] = 1
    curve = calibration(outcome, risk).curve
    assert curve is not None
    for line in (curve.observed, curve.low, curve.high):
        assert 0.0 <= line.min() <= line.max() <= 1.0
    assert (curve.low <= curve.observed).all() and (curve.observed <= curve.high).all()

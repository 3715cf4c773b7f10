"""Logistic regression against R (golden a1), and what it says when there is no estimate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from hepacast.errors import ModelError, OutcomeError
from hepacast.stats.design import treatment_design
from hepacast.stats.logistic import fit_logistic, univariate_logistic
from hepacast.stats.ranks import auc_binned
from hepacast.stats.selection import backward_aic, drop_one, vif

VARIABLES = ["npreg", "glu", "bp", "skin", "bmi", "ped", "age"]
TIGHT = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture
def pima(golden):
    reference, data = golden("a1_logistic_pima")
    return reference, data[data.split == "train"], data[data.split == "test"]


def check_row(fit, index, truth, profile, exact):
    assert_allclose(fit.beta[index], truth["coef"], **TIGHT)
    assert_allclose(fit.se[index], truth["se"], **TIGHT)
    assert_allclose(fit.z[index], truth["wald_z"], **TIGHT)
    assert_allclose(fit.p_values[index], truth["p"], **TIGHT)
    assert_allclose(np.exp(fit.beta[index]), truth["OR"], **TIGHT)
    assert_allclose(np.exp(fit.ci()[index]), truth["OR_ci_wald"], **TIGHT)
    assert_allclose(np.exp(profile[index]), truth["OR_ci_profile"], **TIGHT)
    # R's own limits are interpolated; the exact ones agree to about four digits.
    assert_allclose(exact[index], np.log(truth["OR_ci_profile"]), rtol=1e-4, atol=1e-4)


def test_univariate_table_equals_r(pima):
    reference, train, _ = pima
    for fit in univariate_logistic(train[VARIABLES], train.type):
        truth = reference["univariate"][fit.names[0]]
        check_row(fit, 1, truth, fit.ci(method="profile"), fit.ci(method="exact"))
        assert_allclose(fit.lrt[2], truth["lrt_p"], **TIGHT)


def test_multivariate_table_equals_r(pima):
    reference, train, _ = pima
    fit = fit_logistic(train[VARIABLES], train.type)
    profile, exact = fit.ci(method="profile"), fit.ci(method="exact")
    for index, term in enumerate(fit.terms):
        check_row(fit, index, reference["multivariate"][term], profile, exact)
    significant = [one.names[0] for one in univariate_logistic(train[VARIABLES], train.type) if one.p_values[1] < 0.05]
    assert significant == reference["multivariate_after_univariate_p05"]["selected"]


def test_fit_statistics_equal_r(pima):
    reference, train, test = pima
    fit = fit_logistic(train[VARIABLES], train.type)
    truth, lrm = reference["fit"], reference["lrm_stats"]
    assert list(fit.terms) == truth["vcov_names"]
    assert_allclose(fit.covariance, truth["vcov"], rtol=1e-9, atol=1e-14)
    for name, value in {
        "null_deviance": fit.null_deviance,
        "deviance": fit.deviance,
        "aic": fit.aic,
        "bic": fit.bic,
        "logLik": fit.loglik,
    }.items():
        assert_allclose(value, truth[name], err_msg=name, **TIGHT)
    assert_allclose(fit.lrt, (lrm["Model L.R."], lrm["d.f."], lrm["P"]), **TIGHT)
    assert_allclose([fit.nagelkerke_r2, fit.brier], [lrm["R2"], lrm["Brier"]], **TIGHT)
    assert_allclose(fit.c_index, lrm["C"], atol=2e-4)  # lrm sorts the risks into 5000 bins first
    assert_allclose(auc_binned(fit.y, fit.fitted), lrm["C"], **TIGHT)
    assert_allclose(vif(fit), [truth["vif"][name] for name in VARIABLES], **TIGHT)
    assert_allclose(drop_one(fit).p, [truth["drop1_lrt_p"][name] for name in VARIABLES], rtol=1e-8, atol=1e-12)
    assert_allclose(fit.fitted[:10], reference["pred_train_first10"], **TIGHT)
    assert_allclose(fit.predict(test)[:10], reference["pred_test_first10"], **TIGHT)
    assert_allclose(fit.predict(test).mean(), reference["mean_pred_test"], **TIGHT)


@pytest.mark.parametrize("direction", ["backward", "forward", "both"])
def test_stepwise_selection_equals_r(pima, direction):
    reference, train, _ = pima
    truth = reference[f"stepAIC_{direction}"]
    chosen = backward_aic(train[VARIABLES], train.type, direction=direction)
    assert list(chosen.kept) == truth["vars"]
    assert_allclose(chosen.fit.aic, truth["aic"], **TIGHT)
    if direction == "backward":
        assert_allclose(chosen.fit.beta, list(truth["coef"].values()), **TIGHT)


def test_risk_interval_is_walds_on_the_logit_scale(pima):
    _, train, _ = pima
    fit = fit_logistic(train.glu, train.type, ["glu"])
    low, high = fit.predict_ci([[120.0]])[0]
    spread = np.sqrt(np.array([1, 120.0]) @ fit.covariance @ np.array([1, 120.0]))
    center = fit.linear_predictor([[120.0]])[0]
    assert_allclose([low, high], 1 / (1 + np.exp(-(center + np.array([-1, 1]) * 1.959963984540054 * spread))))


def test_odds_ratios_per_unit(pima):
    _, train, _ = pima
    fit = fit_logistic(train[VARIABLES], train.type)
    table = fit.odds_ratios({"ped": 0.1, "glu": "sd"})
    assert_allclose(table.odds_ratio["ped"], np.exp(0.1 * fit.coef[5]))
    assert_allclose(table.odds_ratio["glu"], np.exp(train.glu.std() * fit.coef[1]))
    assert_allclose(table.odds_ratio["bp"], np.exp(fit.coef[2]))
    with pytest.raises(ModelError, match="unit"):
        fit.odds_ratios("weekly")


def test_a_weight_of_two_is_a_patient_twice(pima):
    _, train, _ = pima
    weights = np.where(np.arange(len(train)) % 3 == 0, 2.0, 1.0)
    repeated = train.loc[train.index.repeat(weights.astype(int))]
    weighted = fit_logistic(train[VARIABLES], train.type, weights=weights)
    twice = fit_logistic(repeated[VARIABLES], repeated.type)
    assert_allclose(weighted.beta, twice.beta, rtol=1e-10)
    assert_allclose(weighted.covariance, twice.covariance, rtol=1e-9)
    assert_allclose(weighted.nagelkerke_r2, twice.nagelkerke_r2, rtol=1e-10)


def test_intercept_only_with_an_offset_solves_the_score_equation(pima):
    _, train, _ = pima
    offset = np.linspace(-2, 1, len(train))
    fit = fit_logistic(np.empty((len(train), 0)), train.type, offset=offset)
    assert fit.ok
    assert_allclose(fit.fitted.sum(), train.type.sum(), rtol=1e-12)


def test_huge_and_tiny_scales_change_nothing(pima):
    _, train, _ = pima
    x = train[VARIABLES].to_numpy()
    scale = 10.0 ** np.array([8, -8, 3, 0, -3, 6, 5])
    plain, scaled = fit_logistic(x, train.type), fit_logistic(x * scale, train.type)
    assert_allclose(scaled.coef * scale, plain.coef, rtol=1e-9)
    assert_allclose(scaled.z, plain.z, rtol=1e-8)


@pytest.mark.parametrize("kind", ["complete", "quasi"])
def test_separation_is_a_status_and_names_the_predictor(kind):
    rng = np.random.default_rng(3)
    noise = rng.normal(size=60)
    y = (np.arange(60) >= 30).astype(float)
    marker = np.arange(60.0) if kind == "complete" else (np.arange(60) >= 45).astype(float)
    fit = fit_logistic(np.column_stack([noise, marker]), y, ["noise", "marker"])
    assert fit.status == "separated"
    assert "marker" in fit.reason
    assert np.isnan(fit.beta).all() and np.isnan(fit.to_frame().to_numpy()).all()
    with pytest.raises(ModelError, match="separated"):
        fit.predict([[0.0, 1.0]])


def test_steep_but_overlapping_data_are_not_called_separated():
    x = np.arange(40.0)
    y = (x > 19).astype(float)
    y[19], y[20] = 1.0, 0.0
    fit = fit_logistic(x, y, ["x"])
    assert fit.ok
    assert_allclose(fit.fitted.sum(), y.sum(), rtol=1e-10)


def test_an_outlier_with_a_logit_of_a_thousand_is_not_separation():
    rng = np.random.default_rng(0)
    x = rng.normal(size=100)
    y = (rng.random(100) < 1 / (1 + np.exp(-x))).astype(float)
    x[np.argmax(x * y)] = 1000.0
    fit = fit_logistic(x, y)
    assert fit.ok and np.isfinite(fit.se).all()


def test_singular_designs_name_the_columns(pima):
    _, train, _ = pima
    frame = train[["glu", "bp"]].assign(one=3.0, total=train.glu + train.bp)
    fit = fit_logistic(frame, train.type)
    assert fit.status == "singular"
    assert "constant: one" in fit.reason and "total" in fit.reason
    assert fit_logistic(np.eye(4), [0, 1, 0, 1]).status == "singular"


def test_bad_input_is_refused_in_words():
    x = np.arange(4.0)
    with pytest.raises(OutcomeError, match="only one class"):
        fit_logistic(x, [1, 1, 1, 1])
    with pytest.raises(OutcomeError, match="missing"):
        fit_logistic(x, [1, 0, np.nan, 1])
    with pytest.raises(OutcomeError, match="not binary"):
        fit_logistic(x, [1, 2, 1, 2])
    with pytest.raises(OutcomeError, match="not numeric"):
        fit_logistic(x, ["yes", "no", "yes", "no"])
    with pytest.raises(ModelError, match="missing or infinite"):
        fit_logistic([1, np.inf, 2, 3], [0, 1, 0, 1], ["age"])
    with pytest.raises(ModelError, match="same number"):
        fit_logistic(x[:3], [0, 1, 0, 1])


def test_design_codes_categories_against_the_reference():
    frame = pd.DataFrame({"sex": ["m", "f", "f", None], "age": [1.0, 2.0, 3.0, 4.0], "grade": ["b", "a", "c", "a"]})
    design = treatment_design(frame, ["age", "sex", "grade"], references={"grade": "b"})
    assert design.names == ("age", "sex=m", "grade=a", "grade=c")
    assert design.references == {"sex": "f", "grade": "b"}
    assert design.terms["grade"] == (2, 3)
    assert design.rows.tolist() == [True, True, True, False]
    assert_allclose(design.matrix, [[1, 1, 0, 0], [2, 0, 1, 0], [3, 0, 0, 1]])

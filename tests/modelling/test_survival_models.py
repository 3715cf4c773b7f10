"""Survival models: right numbers, refitted honestly, clear where there is no estimate."""

import json

import numpy as np
import pandas as pd
import pytest

from hepacast.errors import ModelError, OutcomeError, StudyFileError
from hepacast.modelling.bootstrap import bootstrap_optimism
from hepacast.modelling.clinical import ClinicalModel
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.cutoffs import risk_cut
from hepacast.modelling.filters import cox_score_tests
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.grammar import ChainSpec, check_for_time
from hepacast.modelling.logistic_at import LogisticAt, states_at
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.selectors import LassoSelector
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.targets import as_follow_up, follow_up
from hepacast.modelling.validation import leave_one_center_out, nested_validation
from hepacast.stats.kaplan_meier import log_rank
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.penalized import glmnet_path

PREDICTORS = (Predictor("size", label="Size", unit="mm"), Predictor("invasion", "binary"))


def drawn(n=150, features=20, seed=1, strength=1.0):
    """Clinical columns and features; size, invasion and the fourth feature matter."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        rng.normal(size=(n, features)),
        columns=[f"tumor:f{j:02d}" for j in range(features)],
        index=[f"P{i:03d}" for i in range(n)],
    )
    table.insert(0, "size", rng.normal(50, 10, n))
    table.insert(1, "invasion", rng.integers(0, 2, n))
    lp = strength * (0.05 * (table["size"] - 50) + 0.8 * table["invasion"] + 0.7 * table["tumor:f03"])
    event_time, censored = np.ceil(rng.exponential(np.exp(-lp) * 400)), np.ceil(rng.exponential(900, n))
    return table, follow_up(np.minimum(event_time, censored), (event_time <= censored).astype(int))


def make(**settings):
    models = settings.pop("models", ("clinical",))
    return StudyModels(PREDICTORS, horizons=(180.0, 365.0), models=models, **{"cut": "median", **settings})


def test_cox_model_equals_survival_of_r(golden):
    reference, frame = golden("f1_km_cox_lung")
    rows = frame.set_index("id").loc[reference["cox_rows"]]
    predictors = [
        Predictor("age"),
        Predictor("sex", "binary", ("male", "female")),
        Predictor("ph.ecog"),
        Predictor("wt.loss"),
    ]
    table = rows[["age", "sex", "ph.ecog", "wt.loss"]]
    fitted = CoxModel(predictors).fit(table, follow_up(rows["time"], rows["status"]))
    expected = reference["cox_efron"]
    for term, value, p in zip(
        expected["table"].values(), fitted.frozen_.coefficients[1:], fitted.frozen_.p_values[1:], strict=True
    ):
        np.testing.assert_allclose(value, term["coef"], rtol=1e-8)
        np.testing.assert_allclose(p, term["p"], rtol=1e-6)
    assert (fitted.frozen_.n, fitted.frozen_.n_events) == (expected["n"], expected["nevent"])
    for time, survival in zip(
        reference["pred_surv_first5"]["times"], reference["pred_surv_first5"]["surv"], strict=True
    ):
        np.testing.assert_allclose(1 - fitted.predict_risk(table.iloc[:5], time), survival, rtol=1e-8)
    np.testing.assert_allclose(fitted.proportional_["chi2"], list(reference["cox_zph_km"]["chisq"].values()), rtol=1e-7)


def test_risk_is_one_minus_the_survival_of_the_fit():
    table, y = drawn()
    fitted = CoxModel(PREDICTORS, (180.0,)).fit(table, y)
    expected = 1 - fitted.fit_.survival(table[["size", "invasion"]], [180.0])[:, 0]
    np.testing.assert_allclose(fitted.predict_risk(table, 180.0), expected, rtol=1e-10)
    limits = fitted.frozen_.interval(table, time=180.0)
    assert ((limits[:, 0] < expected) & (expected < limits[:, 1])).all()


def test_limits_of_a_risk_are_those_of_resampling():
    table, y = drawn(n=200)
    row, rng = table.iloc[[3]], np.random.default_rng(0)
    fitted = CoxModel(PREDICTORS, (365.0,)).fit(table, y)
    risks = []
    for _ in range(120):
        rows = rng.integers(0, len(table), len(table))
        risks.append(float(CoxModel(PREDICTORS).fit(table.iloc[rows], y[rows]).predict_risk(row, 365.0)[0]))
    low, high = fitted.frozen_.interval(row, time=365.0)[0]
    np.testing.assert_allclose([low, high], np.quantile(risks, [0.025, 0.975]), atol=0.06)


def test_a_time_beyond_follow_up_has_no_risk():
    table, y = drawn()
    fitted = CoxModel(PREDICTORS).fit(table, y)
    with pytest.raises(ModelError, match="nothing of times so late"):
        fitted.predict_risk(table, float(y[:, 0].max()) + 1)


def test_frozen_models_survive_json():
    table, y = drawn()
    fitted = make(models=("binary", "clinical", "radiomics", "combined")).fit(table, y)
    entry = json.loads(json.dumps(fitted.to_dict(), default=float).replace("NaN", "null"))
    loaded = FrozenModels.from_dict(entry)
    for time in (180.0, 365.0):
        np.testing.assert_allclose(
            loaded.predict_risk(table, time), fitted.predict_risk(table, time), rtol=1e-12, equal_nan=True
        )
    np.testing.assert_allclose(loaded.interval(table, "combined"), fitted.frozen_.interval(table, "combined"))
    with pytest.raises(ModelError, match="another version"):
        FrozenModels.from_dict({**entry, "schema": 99})


def test_a_binary_model_has_no_risk_at_another_horizon():
    table, y = drawn()
    fitted = make(models=("binary",)).fit(table, y)
    assert fitted.predict_risk(table, 180.0)["binary"].isna().all()
    assert fitted.predict_risk(table, 365.0)["binary"].between(0, 1).all()


def test_the_order_of_patients_changes_nothing():
    table, y = drawn()
    shuffled = np.random.default_rng(4).permutation(len(table))
    models = make(models=("clinical", "radiomics", "combined"))
    first = models.fit(table, y).predict_risk(table)
    second = models.fit(table.iloc[shuffled], y[shuffled]).predict_risk(table)
    np.testing.assert_array_equal(first, second)


def test_lasso_cox_chooses_with_glmnet_and_finds_what_was_planted():
    table, y = drawn(n=200)
    features = table.filter(like="tumor")
    selector = LassoSelector(seed=3).fit((features - features.mean()) / features.std(), y)
    assert "tumor:f03" in selector.selected_
    path = glmnet_path(
        (features - features.mean()) / features.std(), (y[:, 0], y[:, 1]), family="cox",
        lambdas=selector.choice_.path.lambdas,
    )  # fmt: skip
    np.testing.assert_allclose(path.coefficients, selector.choice_.path.coefficients, atol=1e-5)


def test_score_test_of_two_groups_is_the_log_rank_test():
    rng = np.random.default_rng(2)
    # No ties: Breslow's variance and that of the log-rank test agree.
    times, events, group = rng.exponential(10, 80), rng.integers(0, 2, 80).astype(float), rng.integers(0, 2, 80)
    found = cox_score_tests(group[:, None].astype(float), times, events)[0]
    np.testing.assert_allclose(found, log_rank(times, events, group).chi2, rtol=1e-10)


def test_a_constant_feature_is_never_kept():
    table, y = drawn()
    values = np.column_stack([np.ones(len(table)), table["tumor:f03"]])
    found = cox_score_tests(values, y[:, 0], y[:, 1])
    assert found[0] == 0
    assert found[1] > 4


def test_chains_without_a_form_for_time_are_refused():
    with pytest.raises(StudyFileError, match="no form for time and event"):
        check_for_time(ChainSpec.load({"classifier": "svm", "calibration": "platt"}))


def test_separation_is_answered_by_firth_and_said():
    times = np.arange(1.0, 41.0)
    table = pd.DataFrame({"early": (times <= 15).astype(int)}, index=[f"P{i}" for i in range(40)])
    fitted = CoxModel([Predictor("early", "binary")], (20.0,)).fit(table, follow_up(times, np.ones(40)))
    assert fitted.frozen_.method == "cox-firth"
    assert "separated" in fitted.frozen_.note
    risk = fitted.predict_risk(table, 20.0)
    assert np.isfinite(risk).all()
    assert risk[0] > risk[-1]
    assert np.isfinite(fitted.frozen_.interval(table, time=20.0)).all()


def test_no_event_is_an_error_and_never_a_number():
    table, y = drawn()
    with pytest.raises(OutcomeError, match="no event"):
        make().fit(table, follow_up(y[:, 0], np.zeros(len(y))))


def test_follow_up_of_the_wrong_shape_is_refused():
    with pytest.raises(OutcomeError, match="does not fit"):
        as_follow_up(np.ones((3, 3)), 3)
    with pytest.raises(OutcomeError, match="were given"):
        as_follow_up(None, 3)


def test_a_constant_or_missing_predictor_is_left_out_with_a_reason():
    table, y = drawn()
    table["same"], table["empty"] = 1.0, np.nan
    names = [*PREDICTORS, Predictor("same"), Predictor("empty")]
    fitted = CoxModel(names).fit(table, y)
    assert fitted.dropped_ == {"same": "does not vary", "empty": "has no value"}
    chosen = ClinicalModel(names).fit(table, y)
    tested = chosen.univariate_.set_index("name")
    assert set(tested.index[tested["reason"] != ""]) == {"same", "empty"}


def test_what_differs_by_rounding_only_does_not_vary_for_a_ridge_regression_either():
    table, y = drawn()
    table["same"] = np.where(np.arange(len(table)) % 3 == 0, 0.3, 0.1 + 0.2)
    assert np.ptp(table["same"]) > 0
    fitted = CoxModel([*PREDICTORS, Predictor("same")], penalty="ridge").fit(table, y)
    without = CoxModel(PREDICTORS, penalty="ridge").fit(table, y)
    assert fitted.dropped_ == {"same": "does not vary"}
    assert fitted.frozen_.coefficients == without.frozen_.coefficients


def test_missing_values_get_the_training_median():
    table, y = drawn()
    table.iloc[:10, 0] = np.nan
    fitted = CoxModel(PREDICTORS, (180.0,)).fit(table, y)
    assert np.isfinite(fitted.predict_risk(table, 180.0)).all()
    assert fitted.frozen_.sources[0].n_missing == 10


def test_given_predictors_stay_whatever_their_p():
    table, y = drawn()
    names = [*PREDICTORS, Predictor("tumor:f00")]
    assert "tumor:f00" in ClinicalModel(names, keep="given").fit(table, y).selected_
    assert "tumor:f00" not in ClinicalModel(names).fit(table, y).selected_


def test_without_any_signal_everybody_has_the_risk_of_the_cohort():
    table, y = drawn()
    noise = [Predictor("tumor:f00")]
    fitted = ClinicalModel(noise, alpha=1e-6, regression=CoxModel(horizons=(180.0,))).fit(table, y)
    assert fitted.status_ == "no signal"
    assert isinstance(fitted.frozen_, FrozenCox)
    risk = fitted.frozen_.risk(table, 180.0)
    assert np.ptp(risk) == 0
    assert 0.2 < risk[0] < 0.6


def test_binary_model_without_censoring_is_plain_logistic():
    table, y = drawn()
    seen = np.column_stack([y[:, 0], np.ones(len(y))])
    fitted = LogisticAt(PREDICTORS, 200.0).fit(table, seen)
    plain = fit_logistic(table[["size", "invasion"]], (y[:, 0] <= 200).astype(float))
    np.testing.assert_allclose(fitted.frozen_.coefficients, [plain.intercept, *plain.coef], rtol=1e-8)
    assert fitted.frozen_.n_censored == 0


def test_standard_errors_of_a_binary_model_do_not_depend_on_the_origin():
    table, y = drawn()
    near = LogisticAt(PREDICTORS, 300.0).fit(table, y).frozen_
    far = table.assign(size=table["size"] + 1e7)
    moved = LogisticAt(PREDICTORS, 300.0).fit(far, y).frozen_
    np.testing.assert_allclose(np.diag(moved.covariance)[1:], np.diag(near.covariance)[1:], rtol=1e-6)
    np.testing.assert_allclose(moved.interval(far), near.interval(table), atol=0.01)
    # Equal to the sums as they are written in books.
    states = states_at(y[:, 0], y[:, 1], 300.0)
    design = np.column_stack([np.ones(len(y)), near.design(table)])
    risk = near.risk(table)
    bread = np.linalg.inv((design * (states.weight * risk * (1 - risk))[:, None]).T @ design)
    score = design * (states.weight * (states.event - risk))[:, None]
    np.testing.assert_allclose(near.covariance, bread @ score.T @ score @ bread, rtol=1e-8)


def test_censored_patients_are_counted_and_weighted_for():
    table, y = drawn(n=400)
    states = states_at(y[:, 0], y[:, 1], 300.0)
    censored = int(((y[:, 0] < 300) & (y[:, 1] == 0)).sum())
    assert states.n_censored == censored > 20
    assert states.n_events + states.n_free + states.n_censored == 400
    # The known stand for all: their weights add up to the number of patients.
    np.testing.assert_allclose(states.weight.sum(), 400, rtol=1e-6)
    fitted = LogisticAt(PREDICTORS, 300.0).fit(table, y)
    assert fitted.frozen_.n_censored == censored


def test_binary_model_where_all_are_censored_before_the_horizon_is_refused():
    table, _ = drawn(n=20)
    y = follow_up(np.arange(1, 21), [1, 0] * 10)
    with pytest.raises(OutcomeError, match="cannot be fitted"):
        LogisticAt(PREDICTORS, 50.0).fit(table, y)


def test_cut_offs_separate_and_say_when_they_cannot():
    table, y = drawn(n=300)
    risk = CoxModel(PREDICTORS).fit(table, y).predict_risk(table, 365.0)
    for rule in ("median", "maxstat", "youden"):
        cut = risk_cut(y, risk, rule, 365.0)
        high = risk >= cut.value
        assert 20 < high.sum() < 280
        assert log_rank(y[:, 0], (y[:, 1] == 1).astype(float), high).p < 0.001
    assert risk_cut(y, np.full(300, 0.5), "median", 365.0).note
    assert np.isnan(risk_cut(y, risk, "youden", 1e9).value)


def test_competing_events_make_a_fine_gray_model():
    table, y = drawn()
    y[(y[:, 1] == 1) & (np.arange(len(y)) % 3 == 0), 1] = 2
    fitted = CoxModel(PREDICTORS, (180.0,)).fit(table, y)
    assert fitted.frozen_.method == "fine-gray"
    cause = CoxModel(PREDICTORS, competing="cause-specific").fit(table, y)
    assert cause.frozen_.method == "cox"
    # Who dies of something else cannot have the event any more: the risk is lower.
    assert fitted.predict_risk(table, 365.0).mean() < cause.predict_risk(table, 365.0).mean()


def test_nested_validation_does_not_depend_on_rows_or_workers():
    table, y = drawn(features=4)
    first = nested_validation(make(), table, y, folds=3, repeats=2, seed=1)
    order = np.random.default_rng(0).permutation(len(table))
    second = nested_validation(make(), table.iloc[order], y[order], folds=3, repeats=2, seed=1, workers=2)
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    assert 0.6 < first.estimate("clinical")["value"] < 0.85
    assert not first.failures


@pytest.mark.slow
def test_nothing_is_found_where_nothing_was_planted():
    table, y = drawn(n=120, features=200, strength=0.0, seed=8)
    found = nested_validation(make(models=("clinical", "radiomics", "combined")), table, y, folds=4, repeats=3, seed=1)
    for name in ("clinical", "radiomics", "combined"):
        c = found.estimate(name)
        assert c["low"] < 0.5 < c["high"] or abs(c["value"] - 0.5) < 0.03


def test_a_refit_that_fails_has_no_prediction_and_a_reason():
    table, y = drawn(n=30, features=4)
    y[:, 1] = 0
    y[:2, 1] = 1
    found = nested_validation(make(clinical=ClinicalModel(keep="given")), table, y, folds=2, repeats=1, seed=1)
    assert len(found.predictions) == 30 * 2
    for entry in found.failures:
        assert entry["reason"]


def test_centers_are_predicted_by_the_others():
    table, y = drawn(features=4)
    center = np.where(np.arange(len(table)) % 3 == 0, "B", "A")
    found = leave_one_center_out(make(), table, y, center)
    assert found.labels == ("A", "B")
    assert found.fold_values("clinical")["n"].tolist() == [100, 50]
    with pytest.raises(ModelError, match="two or more centers"):
        leave_one_center_out(make(), table, y, ["A"] * len(table))


def test_optimism_is_taken_off():
    table, y = drawn(n=80, features=10)
    found = bootstrap_optimism(make(), table, y, 15, seed=2).value("clinical", "c")
    np.testing.assert_allclose(found["corrected"], found["apparent"] - found["optimism"])
    assert found["ci_low"] < found["corrected"] < found["ci_high"]

"""After the fit: updating for a new center, importance, learning curve."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit

from hepacast.errors import ModelError
from hepacast.modelling import importance
from hepacast.modelling.cox_model import CoxModel
from hepacast.modelling.grammar import build_radiomics_model
from hepacast.modelling.importance import learning_curve, permutation_importance
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.refit import predicted
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.updating import update_model

from .conftest import Planted


def center(
    n: int, seed: int, intercept: float = 0.0, slope: float = 1.0, b2: float = -1.0
) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    log_odds = intercept + slope * (-0.5 + table["a"] + b2 * table["b"])
    return table, (rng.uniform(size=n) < expit(log_odds)).astype(int)


@pytest.fixture(scope="module")
def model() -> LogisticModel:
    table, y = center(4000, 0)
    return LogisticModel((Predictor("a"), Predictor("b"))).fit(table, y)


@pytest.mark.parametrize(
    ("change", "expected"),
    [({}, "none"), ({"intercept": 1.2}, "intercept"), ({"slope": 0.35}, "slope"), ({"b2": 1.0}, "refit")],
)
def test_the_smallest_sufficient_update_is_chosen(
    model: LogisticModel, change: dict[str, float], expected: str
) -> None:
    table, y = center(1500, 1, **change)
    update = update_model(model.frozen_, table, y)
    assert update.chosen == expected
    old = model.decision_function(table)
    line = sm.Logit(y, sm.add_constant(old)).fit(disp=0).params
    rows = update.table.set_index("method")
    assert rows.loc["slope", ["intercept", "slope"]].tolist() == pytest.approx(line.tolist(), abs=1e-7)
    shift = sm.GLM(y, np.ones(len(y)), family=sm.families.Binomial(), offset=old).fit().params.iloc[0]
    assert rows.loc["intercept", "intercept"] == pytest.approx(shift, abs=1e-7)
    expected_line = line.iloc[0] + line.iloc[1] * old
    np.testing.assert_allclose(update.models["slope"].linear_predictor(table), expected_line, atol=1e-8)
    assert rows["loglik"].is_monotonic_increasing


@pytest.mark.parametrize(
    ("shift", "slope", "other", "expected"),
    [(0.0, 1.0, 0.0, "none"), (0.7, 1.0, 0.0, "intercept"), (0.0, 0.3, 0.0, "slope"), (0.0, 1.0, 0.9, "refit")],
)
def test_a_cox_model_keeps_its_baseline_and_takes_the_smallest_sufficient_update(
    shift: float, slope: float, other: float, expected: str
) -> None:
    def drawn(n: int, seed: int, shift: float, slope: float, other: float) -> tuple[pd.DataFrame, np.ndarray]:
        rng = np.random.default_rng(seed)
        table = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
        lp = shift + slope * (0.8 * table["a"] - 0.5 * table["b"]) + other * table["b"]
        times, censored = rng.exponential(10 * np.exp(-lp)), rng.uniform(0, 20, n)
        return table, np.column_stack([np.minimum(times, censored), times <= censored])

    cox = CoxModel((Predictor("a"), Predictor("b")), (5.0,)).fit(*drawn(4000, 0, 0.0, 1.0, 0.0)).frozen_
    table, y = drawn(1500, 1, shift, slope, other)
    update = update_model(cox, table, y)
    assert update.chosen == expected
    changed = update.models[expected]
    risk = changed.risk(table, 5.0)
    truth = cox.risk_of(cox.linear_predictor(table), 5.0) if expected == "none" else risk
    np.testing.assert_allclose(risk, truth)
    # As many events as the updated model expects.
    if expected != "none":
        hazard = cox.cumulative_hazard(np.minimum(y[:, 0], cox.last_time))
        expected_events = (hazard * np.exp(changed.linear_predictor(table))).sum()
        assert expected_events == pytest.approx(update.n_events, rel=1e-6)
    codes = np.where(np.arange(len(y)) == 0, 2, y[:, 1])
    with pytest.raises(ModelError, match="competing risks"):
        update_model(cox, table, np.column_stack([y[:, 0], codes]))


def test_a_model_without_predictors_is_not_updated() -> None:
    table, y = center(50, 2)
    with pytest.raises(ModelError, match="only take a new rate"):
        update_model(LogisticModel(()).fit(table, y).frozen_, table, y)


def test_importance_finds_what_matters(cohort: Planted) -> None:
    models = StudyModels(cohort.predictors, models=("clinical",))
    table = permutation_importance(models, cohort.table.iloc[:, :5], cohort.y, shuffles=5)
    assert set(table["name"][:2]) == {"inr", "alb"} and (table["loss"][:2] > 0.02).all()
    groups = {"laboratory": ["inr", "alb"], "age": ["age"]}
    together = permutation_importance(models, cohort.table.iloc[:, :5], cohort.y, groups, shuffles=5).set_index("name")
    assert together.loc["laboratory", "loss"] > table["loss"][0]
    assert together.loc["age", "loss"] == pytest.approx(0.0, abs=0.02)
    again = permutation_importance(models, cohort.table.iloc[::-1, :5], cohort.y[::-1], shuffles=5, workers=2)
    pd.testing.assert_frame_equal(again, table)


def test_importance_copies_the_columns_that_the_models_read_and_no_others(cohort: Planted, monkeypatch) -> None:
    seen: list[int] = []

    def told(models: StudyModels, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        seen.append(frame.shape[1])
        return predicted(models, frame)

    models = StudyModels(cohort.predictors, models=("clinical", "radiomics"))
    expected = permutation_importance(models, cohort.table, cohort.y, folds=2, shuffles=2)
    monkeypatch.setattr(importance, "predicted", told)
    pd.testing.assert_frame_equal(permutation_importance(models, cohort.table, cohort.y, folds=2, shuffles=2), expected)
    assert max(seen) <= 10 + len(cohort.predictors) < cohort.table.shape[1]


def test_a_score_that_reads_many_features_is_judged_by_voi_and_class() -> None:
    """One by one, thousands of features would take hours, and each would look worthless beside its likes."""
    rng = np.random.default_rng(4)
    index = [f"P{row:03d}" for row in range(120)]
    hidden = rng.normal(size=120)
    names = [
        f"{voi}:original_{kind}_{n}" for voi in ("tumor", "liver") for kind in ("glcm", "glrlm") for n in range(15)
    ]
    table = pd.DataFrame(rng.normal(size=(120, 60)), index=index, columns=names)
    table.loc[:, [name for name in names if name.startswith("tumor:original_glcm")]] += 1.5 * hidden[:, None]
    y = (rng.random(120) < expit(2 * hidden)).astype(int)
    models = StudyModels(radiomics=build_radiomics_model("auto", seed=1), models=("radiomics",), seed=1)
    found = permutation_importance(models, table, y, folds=3, shuffles=2, seed=5)
    assert set(found["name"]) == {"tumor, glcm", "tumor, glrlm", "liver, glcm", "liver, glrlm"}
    assert found.loc[0, "name"] == "tumor, glcm" and found.loc[0, "loss"] > 0.1 > found.loc[1, "loss"]


def test_learning_curve(cohort: Planted) -> None:
    models = StudyModels(cohort.predictors, models=("clinical",))
    curve = learning_curve(models, cohort.table.iloc[:, :5], cohort.y, (0.3, 1.0), repeats=2)
    assert curve["n_train"].tolist() == pytest.approx([36, 120], abs=2)
    assert curve["auc"].iloc[1] > 0.6 and not curve["n_failed"].any()

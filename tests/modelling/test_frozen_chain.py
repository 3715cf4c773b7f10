"""Studies whose chain has no formula predict the same from arrays as from the fitted models."""

import json

import numpy as np
import pandas as pd
import pytest

from hepacast.errors import ModelError
from hepacast.modelling.frozen_chain import freeze_study_models
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import RADSCORE
from hepacast.modelling.grammar import build_radiomics_model
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.study_models import StudyModels

CHAINS = {
    "auto": "auto",
    "forest": {"classifier": "random_forest", "n_features": 6},
    "stack": {"stack": ["ridge", "svm", "naive_bayes"], "selector": "k_best", "n_features": 6},
    "platt": {"classifier": "svm", "calibration": "platt", "n_features": 6},
    "isotonic": {"classifier": "naive_bayes", "calibration": "isotonic", "n_features": 6},
    "search": {"classifier": "svm", "search": {"over": {"n_features": [3, 6]}, "budget": 2, "folds": 3}},
    "search of formulas": {"classifier": "ridge", "search": {"over": {"n_features": [3, 6]}, "budget": 2, "folds": 3}},
}


def cohort(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 25))
    table = pd.DataFrame(
        x, columns=[f"tumor:f{j:02d}" for j in range(25)], index=[f"P{seed}-{i:03d}" for i in range(n)]
    )
    table["tumor:flat"] = 3.0
    table["alb"] = rng.normal(38, 5, size=n)
    risk = 1 / (1 + np.exp(-(1.6 * x[:, 0] - 1.2 * x[:, 1] - 0.12 * (table["alb"] - 38))))
    table.iloc[3, 2] = np.nan
    return table, (rng.random(n) < risk).astype(int).to_numpy()


def fitted(chain) -> tuple[StudyModels, pd.DataFrame]:
    table, y = cohort(110, 1)
    predictors = (Predictor("alb", "numeric", label="Albumin"),)
    models = StudyModels(predictors=predictors, radiomics=build_radiomics_model(chain, seed=4)).fit(table, y)
    return models, table


@pytest.mark.parametrize("name", list(CHAINS))
def test_risks_come_back_from_json_and_arrays(name) -> None:
    models, table = fitted(CHAINS[name])
    assert not models.has_formula
    frozen = freeze_study_models(models, table)
    entry = json.loads(json.dumps(frozen.to_dict()))
    back = FrozenModels.from_dict(entry, frozen.arrays())
    assert all(array.dtype != object for array in frozen.arrays().values())
    new, _ = cohort(60, 2)
    for rows in (new, new.iloc[:1], table):
        expected = models.predict_risk(rows)
        found = back.predict_risk(rows)
        assert list(found) == list(expected) == ["clinical", "radiomics", "combined"]
        np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=0, atol=1e-9)
    assert np.ptp(back.predict_risk(new)["radiomics"]) > 0.1
    assert RADSCORE in back.scores(new)


def test_the_order_of_the_patients_changes_no_array() -> None:
    table, y = cohort(110, 1)
    predictors = (Predictor("alb", "numeric", label="Albumin"),)
    turned = np.random.default_rng(0).permutation(len(table))
    one, other = (
        freeze_study_models(
            StudyModels(predictors=predictors, radiomics=build_radiomics_model("auto", seed=4)).fit(rows, outcome), rows
        ).arrays()
        for rows, outcome in ((table, y), (table.iloc[turned], y[turned]))
    )
    assert set(one) == set(other)
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_a_formula_stays_a_formula_and_what_cannot_be_frozen_says_so() -> None:
    assert fitted("ptlf")[0].has_formula
    models, table = fitted({"scaler": "rank", "classifier": "svm", "n_features": 5})
    with pytest.raises(ModelError, match="changes them in other ways"):
        freeze_study_models(models, table)

"""The frozen models of a fusion predict what the fitted ones predicted, from JSON and arrays."""

import json

import numpy as np
import pandas as pd
import pytest

from hepacast.core.files import to_jsonable
from hepacast.errors import ModelError
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import DL_SCORE
from hepacast.modelling.fusion import CLINICAL, NETWORK, Family, FusionSpec, View, fit_view
from hepacast.modelling.grammar import ChainSpec
from hepacast.modelling.predictors import Predictor

CHAIN = ChainSpec.load({"univariate": 0.1, "selector": "none", "redundancy": 0.9})
MODELS = {
    "CR": (CLINICAL,), "R": ("Radscore",), "DL": (NETWORK,), "DLR": ("DLR score",),
    "DLRCR": (NETWORK, "Radscore", CLINICAL),
}  # fmt: skip
CLASSIFIERS = [
    "logistic",
    "ridge",
    "svm",
    "knn",
    "random_forest",
    "extra_trees",
    "xgboost",
    "mlp",
    "naive_bayes",
    "auto",
]


def make_view(n=90, n_test=25, p=8, seed=0):
    rng = np.random.default_rng(seed)
    index = [f"P{i:03d}" for i in range(n + n_test)]
    hidden, age = rng.normal(size=(2, n + n_test))
    y = (rng.random(n + n_test) < 1 / (1 + np.exp(-(1.5 * hidden + age)))).astype(int)
    features = pd.DataFrame(
        5 + 3 * rng.normal(size=(n + n_test, p)), index=index, columns=[f"tumor:f{j}" for j in range(p)]
    )
    features["tumor:f0"] += 4 * hidden
    features["tumor:f1"] -= 3 * hidden
    features.loc[index[::7], "tumor:f1"] = np.nan
    deep = pd.DataFrame(rng.normal(size=(n + n_test, 4)), index=index, columns=[f"deep:{j + 1}" for j in range(4)])
    deep["deep:2"] += hidden
    clinical = pd.DataFrame({"age": 60 + 8 * age, "alt": rng.gamma(3, 12, n + n_test)}, index=index)
    networks = {"net": pd.Series(hidden + rng.normal(size=n + n_test), index=index)}
    tables = {"Radscore": features, "DLR score": pd.concat([features, deep], axis=1)}
    outcome, inner = pd.Series(y, index=index)[:n], pd.Series(np.arange(n) % 3, index=index[:n])
    return View("final", outcome, inner, tuple(index[n:]), clinical, tables, networks)


def fit(view, classifier, chain=CHAIN):
    families = tuple(Family(name, chain, (classifier,)) for name in ("Radscore", "DLR score"))
    return fit_view(view, FusionSpec(families, MODELS, (Predictor("age"), Predictor("alt")), seed=3))


def rows_of(view):
    """What a new patient's row holds: clinical values, all features, the networks' score."""
    table = view.clinical.join(view.features["DLR score"])
    return table.assign(**{DL_SCORE: view.networks["net"]}).loc[list(view.test)]


def journey(frozen):
    """Through JSON, as a bundle's documents go."""
    return FrozenModels.from_dict(
        json.loads(json.dumps(to_jsonable(frozen.to_dict()), allow_nan=False)), frozen.arrays()
    )


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_every_classifier_predicts_the_same_after_a_journey_through_json(classifier):
    if classifier == "xgboost":
        pytest.importorskip("xgboost")
    view = make_view()
    result = fit(view, classifier)
    frozen = journey(result.freeze())
    assert isinstance(frozen, FrozenModels)
    risks = frozen.predict_risk(rows_of(view))
    tolerance = 1e-6 if classifier == "xgboost" else 1e-10
    assert list(risks.columns) == list(MODELS)
    np.testing.assert_allclose(risks.to_numpy(), result.test.main.to_numpy(), rtol=0, atol=tolerance)
    lps = frozen.linear_predictor(rows_of(view)).to_numpy()
    np.testing.assert_allclose(lps, result.test.linear_predictors.to_numpy(), rtol=0, atol=50 * tolerance)
    assert frozen.cutoffs == result.cutoffs


def test_what_a_model_reads_is_known():
    frozen = fit(make_view(), "logistic").freeze()
    assert frozen.measured("CR") == []
    assert frozen.measured("DL") == [DL_SCORE]
    assert all(name.startswith("tumor:") for name in frozen.measured("R"))
    assert "deep:2" in frozen.measured("DLR") and "deep:2" not in frozen.measured("DLRCR")
    assert set(frozen.columns()) == {"age", *frozen.measured()} | set(frozen.columns("CR"))
    assert frozen.score_names == ("Radscore", "DLR score", DL_SCORE)


@pytest.mark.parametrize("classifier", ["logistic", "random_forest"])
def test_shares_add_up_to_the_log_odds(classifier):
    """Of a linear classifier the score's share is divided among its features; of a forest it stays whole."""
    view = make_view()
    frozen = fit(view, classifier).freeze()
    rows = rows_of(view)
    for name in MODELS:
        shares = frozen.contributions(rows, name)
        model = frozen.model(name)
        middle = model.coefficients[0] + sum(
            term.mean * slope for term, slope in zip(model.terms, model.coefficients[1:], strict=True)
        )
        np.testing.assert_allclose(shares.sum(axis=1) + middle, frozen.linear_predictor(rows)[name], atol=1e-9)
    shares = frozen.contributions(rows, "R")
    assert ("tumor:f0" in shares.columns) == (classifier == "logistic")
    assert frozen.divided("R") == (("Radscore",) if classifier == "logistic" else ())
    whole = frozen.contributions(rows, "R", features=False)
    assert list(whole.columns) == ["Radscore"]


def test_values_out_of_training_and_missing_ones_are_told():
    view = make_view()
    frozen = fit(view, "svm").freeze()
    row = rows_of(view).iloc[[0]].copy()
    row["tumor:f0"], row["deep:2"], row[DL_SCORE] = 1e6, np.nan, 1e6
    told = {entry["name"]: entry["problem"] for entry in frozen.unusual(row, "DLR")}
    assert "outside the training range" in told["tumor:f0"]
    assert "training median" in told["deep:2"]
    assert DL_SCORE not in told
    assert "outside the training range" in {e["name"]: e["problem"] for e in frozen.unusual(row, "DL")}[DL_SCORE]
    fills = frozen.parts["DLR score"].inputs
    filled = row.assign(**{"deep:2": next(item.fill for item in fills.features if item.name == "deep:2")})
    assert frozen.predict_risk(row)["DLR"].iloc[0] == frozen.predict_risk(filled)["DLR"].iloc[0]


def test_scores_that_no_model_reads_are_not_kept():
    view = make_view()
    families = tuple(Family(name, CHAIN, ("logistic",)) for name in ("Radscore", "DLR score"))
    upside_down = View(
        view.label, view.outcome, view.inner, view.test, view.clinical,
        {**view.features, "Radscore": -view.features["Radscore"] * 0 + 1.0}, view.networks,
    )  # fmt: skip
    result = fit_view(upside_down, FusionSpec(families, {"R": ("Radscore",), "DLR": ("DLR score",)}, (), seed=3))
    frozen = result.freeze()
    assert list(frozen.parts) == ["DLR score"]
    risks = frozen.predict_risk(rows_of(view))
    np.testing.assert_allclose(risks.to_numpy(), result.test.main.to_numpy(), atol=1e-10)


def test_a_chain_without_array_form_says_why():
    ranks = ChainSpec.load({"scaler": "rank", "univariate": 0.1, "selector": "none", "redundancy": 0.9})
    result = fit(make_view(), "svm", ranks)
    with pytest.raises(ModelError, match="DLR score cannot be put into a bundle"):
        result.freeze()


def test_another_version_is_refused():
    entry = fit(make_view(), "logistic").freeze().to_dict()
    with pytest.raises(ModelError, match="another version"):
        FrozenModels.from_dict(entry | {"schema": 3})

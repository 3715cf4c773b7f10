"""The chain grammar: what it accepts, refuses and builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from hepacast.errors import ModelError, StudyFileError
from hepacast.modelling.chain_score import ChainScore, Searched, Stacked
from hepacast.modelling.classifiers import Calibrated, PenalizedLinear, PlainLinear, make_classifier
from hepacast.modelling.grammar import NAMED, ChainSpec, build_chain, build_radiomics_model
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.study_models import StudyModels
from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.ranks import auc_from_ranks

from .conftest import Planted, planted

CHAINS: dict[str, Any] = {
    "ptlf": "ptlf",
    "logistic": {"classifier": "logistic", "n_features": 4},
    "firth": {"classifier": "firth", "n_features": 4},
    "ridge": {"classifier": "ridge", "class_weights": "balanced"},
    "elastic net": {"selector": {"kind": "elastic_net", "rule": "1se"}, "classifier": "elastic_net"},
    "no filters": {"redundancy": None, "univariate": None, "selector": "none", "classifier": "ridge"},
    "stability": {"selector": {"kind": "stability", "frequency": 0.7}},
    "mrmr": {"selector": "mrmr", "n_features": 5, "scaler": "robust"},
    "svm": {"classifier": "svm", "calibration": "platt"},
    "isotonic": {"classifier": "svm", "calibration": "isotonic"},
    "knn": {"classifier": {"kind": "knn", "parameters": {"n_neighbors": 9}}},
    "forest": {"classifier": {"kind": "random_forest", "parameters": {"n_estimators": 40}}, "scaler": "rank"},
    "trees": {"classifier": {"kind": "extra_trees", "parameters": {"n_estimators": 40}}},
    "mlp": {"classifier": {"kind": "mlp", "parameters": {"max_iter": 20}}},
    "bayes": {"classifier": "naive_bayes"},
    "stack": {"stack": ["ridge", "naive_bayes"]},
    "search": {"search": {"over": {"redundancy.threshold": [0.7, 0.9], "n_features": [3, 6]}, "budget": 2}},
}


@pytest.fixture(scope="module")
def cohort() -> Planted:
    return planted(strength=2.5)


@pytest.fixture(scope="module")
def feature_table(cohort: Planted) -> pd.DataFrame:
    return cohort.table[cohort.features]


@pytest.mark.parametrize("name", CHAINS)
def test_every_chain_fits_and_predicts_alike(name: str, feature_table: pd.DataFrame, cohort: Planted) -> None:
    model = build_radiomics_model(CHAINS[name], score="apparent", seed=5)
    first = clone(model).fit(feature_table.iloc[:110], cohort.y[:110])
    second = clone(model).fit(feature_table.iloc[:110], cohort.y[:110])
    score = first.decision_function(feature_table)
    np.testing.assert_array_equal(score, second.decision_function(feature_table))
    np.testing.assert_allclose(first.decision_function(feature_table.iloc[[130]]), score[[130]], rtol=1e-9)
    risk = first.predict_proba(feature_table)
    np.testing.assert_allclose(risk.sum(axis=1), 1)
    assert auc_from_ranks(cohort.y[110:], score[110:]) > 0.5
    has_formula = ChainSpec.load(CHAINS[name]).has_formula
    assert isinstance(first, Radscore if has_formula else ChainScore)
    assert first.status_ == "ok" and first.selected_


def test_xgboost_where_installed(feature_table: pd.DataFrame, cohort: Planted) -> None:
    pytest.importorskip("xgboost")
    chain = {"classifier": {"kind": "xgboost", "parameters": {"n_estimators": 20}}}
    model = build_chain(chain).fit(feature_table.iloc[:110], cohort.y[:110])
    assert auc_from_ranks(cohort.y[110:], model.predict_proba(feature_table.iloc[110:])[:, 1]) > 0.6


def test_the_papers_chain_is_one_word(feature_table: pd.DataFrame, cohort: Planted) -> None:
    chain = build_chain("ptlf", seed=0)
    assert isinstance(chain, Pipeline)
    named = chain.fit(feature_table, cohort.y)[-1]
    steps = [item.name for item in named.counts_]
    assert steps == ["impute", "scale", "redundancy", "univariate", "penalty", "selector"]
    assert ChainSpec.load({}).model_copy(update={"name": "ptlf"}) == NAMED["ptlf"]


def test_chains_without_formula_predict_but_are_not_bundled(cohort: Planted) -> None:
    model = build_radiomics_model({"classifier": "naive_bayes"})
    fitted = StudyModels(cohort.predictors, model).fit(cohort.table, cohort.y)
    risk = fitted.predict_risk(cohort.table)
    assert risk.notna().all().all() and list(risk) == ["clinical", "radiomics", "combined"]
    assert fitted.radscore(cohort.table).name == "Radscore"
    with pytest.raises(ModelError, match="no formula"):
        fitted.to_dict()


def test_harmonizer_and_reproducibility_are_filled_in(feature_table: pd.DataFrame, cohort: Planted) -> None:
    table = dict.fromkeys(feature_table.columns[:80], 0.9)
    spec = ChainSpec.load("ptlf").with_harmonizer(site_column="hospital").with_reproducibility(table, 0.8)
    model = build_radiomics_model(spec, score="apparent")
    data = feature_table.assign(hospital=["A", "B"] * 75)
    model.fit(data, cohort.y)
    counts = {item.name: item.n_out for item in model.counts_}
    assert counts["reproducibility"] == 80
    assert set(model.selected_) <= set(table)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("ptfl", "did you mean 'ptlf'"),
        ({"redundency": 0.8}, "did you mean 'redundancy'"),
        ({"redundancy": {"thresold": 0.9}}, "did you mean 'threshold'"),
        ({"redundancy": 5}, "less than or equal to 1"),
        ({"classifier": "swm"}, "did you mean 'svm'"),
        ({"n_features": 0}, "greater than or equal to 1"),
        ({"search": {"over": {"redundency": [1]}}, "selector": "lasso"}, "redundency"),
    ],
)
def test_mistakes_are_answered(content: Any, words: str) -> None:
    with pytest.raises(StudyFileError) as error:
        build_radiomics_model(content)
    assert words in str(error.value)


def test_a_chain_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text("redundancy: 0.9\nclassifier: ridge\n", encoding="utf-8")
    spec = ChainSpec.load(str(path))
    assert spec.redundancy is not None and spec.redundancy.threshold == 0.9 and spec.classifier.kind == "ridge"


def test_wrong_parameters_and_weights_are_named() -> None:
    with pytest.raises(ModelError, match="does not take these parameters") as error:
        make_classifier("svm", {"trees": 5}, "none", 0)
    assert "trees" in str(error.value)
    with pytest.raises(ModelError, match="no class weights"):
        make_classifier("knn", {}, "balanced", 0)


def test_linear_classifiers_are_the_statistics(feature_table: pd.DataFrame, cohort: Planted) -> None:
    frame = feature_table.iloc[:, [0, 4, 60]]
    plain = PlainLinear().fit(frame, cohort.y)
    np.testing.assert_allclose(plain.coef_[0], fit_logistic(frame, cohort.y).coef)
    firth = PlainLinear("always").fit(frame, cohort.y)
    np.testing.assert_allclose(firth.coef_[0], fit_firth(frame, cohort.y).coef)
    balanced = PlainLinear(weighting="balanced").fit(frame, cohort.y)
    assert balanced.predict_proba(frame)[:, 1].mean() > plain.predict_proba(frame)[:, 1].mean()
    ridge = PenalizedLinear(0.0).fit(frame, cohort.y)
    assert np.abs(ridge.coef_).sum() < np.abs(plain.coef_).sum()


def test_calibration_uses_scores_of_other_patients(feature_table: pd.DataFrame, cohort: Planted) -> None:
    trees = make_classifier("extra_trees", {"n_estimators": 50, "min_samples_leaf": 1}, "none", 1)
    model = Calibrated(trees).fit(feature_table, cohort.y)
    # Trees know their own patients by heart: a calibration on these would find them separated.
    scores = model.map_.decision_function(np.array([[-2.0], [2.0]]))
    assert 0.5 < scores[1] - scores[0] < 20


def test_search_reports_what_it_tried(feature_table: pd.DataFrame, cohort: Planted) -> None:
    model = build_radiomics_model(CHAINS["search"], score="apparent", seed=1).fit(feature_table, cohort.y)
    search = model.chain_[-1]
    assert isinstance(search, Searched) and len(search.scores_) == 2
    assert search.scores_[search.best_] == max(search.scores_.values())
    broken = Searched([("a", PlainLinear())])
    with pytest.raises(ModelError, match="No chain of the search"):
        broken.fit(feature_table.assign(word="x"), cohort.y)


def test_stack_beats_nothing_and_names_members(feature_table: pd.DataFrame, cohort: Planted) -> None:
    stack = Stacked([("a", PenalizedLinear(0.0)), ("b", PenalizedLinear(1.0))]).fit(
        feature_table.iloc[:100], cohort.y[:100]
    )
    assert [name for name, _ in stack.members_] == ["a", "b"]
    assert auc_from_ranks(cohort.y[100:], stack.decision_function(feature_table.iloc[100:])) > 0.6

"""Frozen classifiers give the scores of the fitted ones, from arrays alone."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.errors import ModelError
from hepacast.modelling.classifiers import CLASSIFIERS, make_classifier, raw_score
from hepacast.modelling.frozen_classifiers import FrozenClassifier, freeze_classifier

FEW = {
    "random_forest": {"n_estimators": 30},
    "extra_trees": {"n_estimators": 30},
    "xgboost": {"n_estimators": 40},
    "mlp": {"max_iter": 60, "n_iter_no_change": 60},
}
#: XGBoost computes in single precision: its risks are compared, on their own scale.
SINGLE = {"xgboost"}


def risks(scores):
    return 1 / (1 + np.exp(-scores))


def same(name, found, expected):
    if name in SINGLE:
        np.testing.assert_allclose(risks(found), risks(expected), rtol=0, atol=1e-6)
    else:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def cohort(seed, n, p, scale=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=scale, size=(n, p))
    y = (rng.random(n) < risks(x[:, 0] / scale * 1.5)).astype(int)
    y[:2] = (0, 1)
    return pd.DataFrame(x, columns=[f"f{j}" for j in range(p)]), y


def fitted(name, parameters, frame, y, seed=3):
    if name == "xgboost":
        pytest.importorskip("xgboost")
    return make_classifier(name, {**FEW.get(name, {}), **parameters}, "none", seed).fit(frame, y)


def through_a_file(frozen, tmp_path):
    """As a bundle keeps it: JSON and safetensors."""
    from safetensors.numpy import load_file, save_file

    save_file({key: np.ascontiguousarray(value) for key, value in frozen.arrays.items()}, tmp_path / "a.safetensors")
    text = json.dumps(dict(frozen.settings))
    return FrozenClassifier(frozen.kind, json.loads(text), load_file(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_every_classifier_of_the_registry_is_reproduced_from_its_file(name, tmp_path):
    frame, y = cohort(1, 120, 6)
    new, _ = cohort(2, 200, 6, scale=3.0)
    classifier = fitted(name, {}, frame, y)
    frozen = through_a_file(freeze_classifier(classifier), tmp_path)
    for table in (new, frame):
        same(name, frozen.score(table.to_numpy()), raw_score(classifier, table))
    assert np.ptp(frozen.score(new.to_numpy())) > 0.1


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("svm", {"kernel": "linear", "C": 0.3}),
        ("svm", {"kernel": "poly", "degree": 2, "coef0": 0.5}),
        ("svm", {"kernel": "sigmoid", "gamma": 0.05}),
        ("svm", {"gamma": "auto", "C": 20.0}),
        ("knn", {"weights": "uniform", "n_neighbors": 7}),
        ("knn", {"p": 1, "n_neighbors": 9}),
        ("knn", {"p": 3, "n_neighbors": 9}),
        ("knn", {"algorithm": "brute", "n_neighbors": 60}),
        ("random_forest", {"max_depth": 1}),
        ("random_forest", {"bootstrap": False, "max_features": None}),
        ("extra_trees", {"min_samples_leaf": 40}),
        ("xgboost", {"max_depth": 6, "learning_rate": 0.5}),
        ("xgboost", {"base_score": 0.2, "reg_alpha": 5.0}),
        ("mlp", {"hidden_layer_sizes": (5, 4), "activation": "tanh"}),
        ("mlp", {"hidden_layer_sizes": (8, 3), "activation": "logistic"}),
        ("mlp", {"activation": "identity"}),
    ],
)
def test_other_settings(name, parameters):
    frame, y = cohort(4, 90, 5)
    new, _ = cohort(5, 60, 5, scale=2.0)
    classifier = fitted(name, parameters, frame, y)
    same(name, freeze_classifier(classifier).score(new.to_numpy()), raw_score(classifier, new))


@pytest.mark.parametrize("name", [item for item in CLASSIFIERS if item not in ("ridge", "elastic_net", "lasso")])
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(24, 70),
    p=st.integers(1, 18),
    scale=st.sampled_from((1e-3, 1.0, 50.0)),
)
def test_any_cohort(name, seed, n, p, scale):
    """Few and many patients and features, tiny and huge values."""
    frame, y = cohort(seed, n, p, scale)
    new, _ = cohort(seed + 1, 15, p, 3 * scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # scikit-learn's own distances are exact in a tree; "brute" takes them from dot products, with fewer digits
        own = {"knn": {"algorithm": "kd_tree"}, "mlp": {}}.get(name, {"n_estimators": 8} if name in FEW else {})
        classifier = fitted(name, own, frame, y, seed)
        expected = raw_score(classifier, new)
    found = freeze_classifier(classifier).score(new.to_numpy())
    if name in ("logistic", "firth"):
        # separable data have coefficients of any size
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-10)
    else:
        same(name, found, expected)


def test_neighbors_who_coincide_with_the_patient_decide_alone():
    frame, y = cohort(6, 50, 4)
    classifier = fitted("knn", {"n_neighbors": 5}, frame, y)
    frozen = freeze_classifier(classifier)
    np.testing.assert_allclose(frozen.score(frame.to_numpy()), raw_score(classifier, frame), atol=1e-10)
    assert set(np.round(risks(frozen.score(frame.to_numpy())), 6)) == {0.005, 0.995}


@pytest.mark.parametrize("name", ["svm", "knn"])
def test_the_order_of_patients_is_not_in_the_arrays(name):
    """Reference points lie in the order of their values; a bundle does not tell who was first."""
    frame, y = cohort(7, 40, 3)
    order = np.random.default_rng(0).permutation(40)
    first, second = (freeze_classifier(fitted(name, {}, frame.iloc[rows], y[rows])) for rows in (np.arange(40), order))
    points = first.arrays["vectors" if name == "svm" else "points"]
    assert (np.diff(points[:, 0]) >= 0).all()
    # (of a support vector machine the weights differ by its solver's tolerance)
    for key in first.arrays if name == "knn" else ("vectors",):
        np.testing.assert_array_equal(first.arrays[key], second.arrays[key])


def test_what_has_no_array_form_is_refused():
    frame, y = cohort(8, 40, 3)
    with pytest.raises(ModelError, match="Minkowski"):
        freeze_classifier(fitted("knn", {"metric": "cosine"}, frame, y))
    with pytest.raises(ModelError, match="classes 0 and 1"):
        freeze_classifier(make_classifier("svm", {}, "none", 0).fit(frame, y + 1))
    from sklearn.tree import DecisionTreeClassifier

    with pytest.raises(ModelError, match="DecisionTreeClassifier"):
        freeze_classifier(DecisionTreeClassifier().fit(frame, y))
    with pytest.raises(ModelError, match="Unknown kind"):
        FrozenClassifier("oracle", {}, {})

"""Arrays of classifiers that were read from a file: what cannot be is refused, and no tree is walked for ever."""

import numpy as np
import pytest

from hepacast.errors import ModelError
from hepacast.modelling.frozen_classifiers import read_classifier

#: Root 0 (feature 1), leaves 1 and 2; root 3 is a leaf.
FOREST = {
    "feature": np.array([1, -1, -1, -1], np.int32),
    "threshold": np.array([0.5, 0.0, 0.0, 0.0]),
    "left": np.array([1, 0, 0, 0], np.int32),
    "right": np.array([2, 0, 0, 0], np.int32),
    "value": np.array([0.0, 0.2, 0.9, 0.4]),
    "starts": np.array([0, 3], np.int32),
}
SVM = {"vectors": np.ones((3, 2)), "weights": np.ones(3), "intercept": np.zeros(1)}
RBF = {"kernel": "rbf", "gamma": 0.5, "degree": 3, "coef0": 0.0}


def test_a_sound_forest_gives_its_score():
    assert read_classifier("forest", {}, FOREST, 2, "score").score(np.array([[0.0, 1.0]])) == pytest.approx(
        np.log(0.65 / 0.35)
    )


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("left", np.array([0, 0, 0, 0], np.int32)),
        ("left", np.array([9, 0, 0, 0], np.int32)),
        ("right", np.array([2.0, 0.0, 0.0, 0.0])),
        ("feature", np.array([2, -1, -1, -1], np.int32)),
        ("value", np.array([0.0, 0.2, 1.9, 0.4])),
        ("value", np.array([0.0, np.nan, 0.9, 0.4])),
        ("threshold", np.array([0.5])),
        ("starts", np.array([], np.int32)),
        ("value", np.array(["0", "1", "2", "3"])),
    ],
)
def test_a_forest_that_cannot_be(name, array):
    with pytest.raises(ModelError, match="score: "):
        read_classifier("forest", {}, {**FOREST, name: array}, 2, "score")


@pytest.mark.parametrize(
    ("settings", "arrays"),
    [
        ({**RBF, "kernel": "other"}, SVM),
        ({**RBF, "gamma": -1.0}, SVM),
        ({**RBF, "degree": "3"}, SVM),
        (RBF, {**SVM, "vectors": np.ones((3, 5))}),
        (RBF, {**SVM, "weights": np.ones(2)}),
        (RBF, {key: SVM[key] for key in ("vectors", "weights")}),
        (None, SVM),
    ],
)
def test_a_support_vector_machine_that_cannot_be(settings, arrays):
    with pytest.raises(ModelError, match="score"):
        read_classifier("svm", settings, arrays, 2, "score")


def test_nested_parts_are_checked_too():
    parts = [{"kind": "forest", "settings": {}}, {"kind": "linear", "settings": {}}]
    arrays = {f"0-{key}": item for key, item in FOREST.items()}
    arrays |= {"1-coefficients": np.ones(1), "1-intercept": np.zeros(1)}
    assert read_classifier("stack", {"parts": parts}, arrays, 2, "score").kind == "stack"
    with pytest.raises(ModelError, match="coefficients"):
        read_classifier("stack", {"parts": parts}, arrays | {"1-coefficients": np.ones(2)}, 2, "score")
    with pytest.raises(ModelError, match="left"):
        read_classifier("stack", {"parts": parts}, arrays | {"0-left": np.zeros(4, np.int32)}, 2, "score")
    with pytest.raises(ModelError, match="Unknown kind"):
        read_classifier("stack", {"parts": [{"kind": "oracle", "settings": {}}, *parts]}, arrays, 2, "score")

"""Fitted classifiers as plain arrays, and their scores from these arrays with NumPy alone.

What a bundle keeps of a support vector machine, of nearest neighbors, of a forest: numbers that cannot run code. The
scores are those of `hepacast.modelling.classifiers.raw_score`, to the last digits (XGBoost computes in single
precision, and so do we).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hepacast.errors import ModelError
from hepacast.modelling.base import Array, listed
from hepacast.modelling.classifiers import AtHorizon, Quiet, clipped_log_odds
from hepacast.modelling.frozen_trees import boosted_risk, forest_risk, freeze_boosting, freeze_forest

Settings = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class FrozenClassifier:
    """A classifier of 0 and 1 without the package that fitted it.

    Parameters
    ----------
    kind
        ``linear``, ``svm``, ``neighbors``, ``forest``, ``boosting``, ``perceptron``, ``naive-bayes``, ``auto``,
        ``stack`` or ``calibrated``.
    settings
        What is not an array (kernel, number of neighbors, activation); JSON-able.
    arrays
        By name. Rows of patients (support vectors, neighbors) are sorted by their values, so that nothing of the
        cohort's order is left in them.
    """

    kind: str
    settings: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        if self.kind not in _SCORES:
            raise ModelError("Unknown kind of classifier.", expected=listed(_SCORES, 20), found=self.kind)

    def score(self, values: Array) -> Array:
        """The score of each row, shape (n,): log odds, or what the classifier has in their place.

        Parameters
        ----------
        values
            (n, features), scaled as in training, without gaps.
        """
        matrix = np.asarray(values, dtype=float)
        return np.asarray(_SCORES[self.kind](self.settings, self.arrays, matrix), dtype=float)


def freeze_classifier(fitted: Any) -> FrozenClassifier:
    """A fitted classifier of the registry as arrays.

    Raises
    ------
    ModelError
        A kind, or a setting of it, that has no array form here.
    """
    inner = fitted.classifier_ if isinstance(fitted, Quiet | AtHorizon) else fitted
    if isinstance(inner, Quiet):
        inner = inner.classifier_
    classes = [int(value) for value in inner.classes_]
    if classes != [0, 1]:
        raise ModelError("A frozen classifier tells 0 from 1.", expected="classes 0 and 1", found=str(classes))
    name = type(inner).__name__
    if name not in _FREEZE:
        raise ModelError("This classifier cannot be written as arrays.", expected=listed(_FREEZE, 20), found=name)
    kind, freeze = _FREEZE[name]
    settings, arrays = freeze(inner)
    return FrozenClassifier(kind, settings, arrays)


def sorted_rows(points: Array, *beside: Array) -> list[Array]:
    """Rows in the order of their values: the same patients in any order give the same arrays."""
    order = np.lexsort(points.T[::-1])
    return [np.ascontiguousarray(item[order]) for item in (points, *beside)]


def _freeze_linear(fitted: Any) -> tuple[Settings, Arrays]:
    return {}, {
        "coefficients": np.ravel(np.asarray(fitted.coef_, dtype=float)),
        "intercept": np.ravel(np.asarray(fitted.intercept_, dtype=float))[:1],
    }


def _linear_score(settings: Mapping[str, Any], arrays: Mapping[str, Any], values: Array) -> Array:
    return np.asarray(values @ arrays["coefficients"] + arrays["intercept"][0])


def freeze_svm(fitted: Any) -> tuple[Settings, Arrays]:
    if fitted.kernel not in KERNELS:
        raise ModelError(
            "A support vector machine is frozen with a named kernel.",
            expected=listed(KERNELS),
            found=str(fitted.kernel),
        )
    vectors, weights = sorted_rows(np.asarray(fitted.support_vectors_, dtype=float), fitted.dual_coef_[0])
    settings = {
        "kernel": fitted.kernel,
        "gamma": float(fitted._gamma),
        "degree": int(fitted.degree),
        "coef0": float(fitted.coef0),
    }
    return settings, {"vectors": vectors, "weights": weights, "intercept": np.asarray(fitted.intercept_, dtype=float)}


def _rbf(values: Array, vectors: Array, gamma: float, degree: int, coef0: float) -> Array:
    distance = ((values[:, None, :] - vectors[None, :, :]) ** 2).sum(axis=2)
    return np.asarray(np.exp(-gamma * distance))


KERNELS: dict[str, Callable[[Array, Array, float, int, float], Array]] = {
    "rbf": _rbf,
    "linear": lambda values, vectors, gamma, degree, coef0: values @ vectors.T,
    "poly": lambda values, vectors, gamma, degree, coef0: (gamma * values @ vectors.T + coef0) ** degree,
    "sigmoid": lambda values, vectors, gamma, degree, coef0: np.tanh(gamma * values @ vectors.T + coef0),
}


def svm_score(settings: Mapping[str, Any], arrays: Mapping[str, Any], values: Array) -> Array:
    kernel = KERNELS[settings["kernel"]]
    similar = kernel(values, arrays["vectors"], settings["gamma"], int(settings["degree"]), settings["coef0"])
    return np.asarray(similar @ arrays["weights"] + arrays["intercept"][0])


def _freeze_neighbors(fitted: Any) -> tuple[Settings, Arrays]:
    if fitted.effective_metric_ not in ("euclidean", "minkowski", "manhattan") or callable(fitted.weights):
        raise ModelError(
            "Nearest neighbors are frozen with Minkowski's distance.",
            expected="a metric of powers, weights uniform or distance",
            found=f"{fitted.effective_metric_}, {fitted.weights}",
        )
    points, labels = sorted_rows(np.asarray(fitted._fit_X, dtype=float), np.asarray(fitted._y, dtype=float))
    power = {"euclidean": 2.0, "manhattan": 1.0}.get(fitted.effective_metric_, float(fitted.p))
    settings = {"neighbors": int(fitted.n_neighbors), "power": power, "weights": fitted.weights or "uniform"}
    return settings, {"points": points, "labels": labels}


def _neighbors_score(settings: Mapping[str, Any], arrays: Mapping[str, Any], values: Array) -> Array:
    """Of points equally far, when not all can be among the nearest, the first in the order of their values are."""
    power, count = float(settings["power"]), int(settings["neighbors"])
    apart = np.abs(values[:, None, :] - arrays["points"][None, :, :])
    # A power beyond floating point overflows; the square root of a square is exact where scikit-learn's is.
    distance = np.sqrt((apart**2).sum(axis=2)) if power == 2.0 else (apart**power).sum(axis=2) ** (1 / power)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :count]
    labels = arrays["labels"][nearest]
    if settings["weights"] == "uniform":
        return clipped_log_odds(labels.mean(axis=1))
    near = np.take_along_axis(distance, nearest, axis=1)
    same = near == 0
    with np.errstate(divide="ignore"):
        # A patient who coincides with some of the points is judged by these alone.
        weights = np.where(same.any(axis=1)[:, None], same.astype(float), 1.0 / near)
    return clipped_log_odds((weights * labels).sum(axis=1) / weights.sum(axis=1))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "logistic": lambda x: np.asarray(expit(x)),
    "identity": lambda x: x,
}


def _freeze_perceptron(fitted: Any) -> tuple[Settings, Arrays]:
    arrays = {f"weights-{n}": np.asarray(item, dtype=float) for n, item in enumerate(fitted.coefs_)}
    arrays |= {f"bias-{n}": np.asarray(item, dtype=float) for n, item in enumerate(fitted.intercepts_)}
    return {"activation": fitted.activation, "layers": len(fitted.coefs_)}, arrays


def _perceptron_score(settings: Mapping[str, Any], arrays: Mapping[str, Any], values: Array) -> Array:
    activation, layers = ACTIVATIONS[settings["activation"]], int(settings["layers"])
    for layer in range(layers):
        values = values @ arrays[f"weights-{layer}"] + arrays[f"bias-{layer}"]
        if layer < layers - 1:
            values = activation(values)
    return clipped_log_odds(np.asarray(expit(values[:, 0])))


def _freeze_naive_bayes(fitted: Any) -> tuple[Settings, Arrays]:
    return {}, {
        "means": np.asarray(fitted.theta_, dtype=float),
        "variances": np.asarray(fitted.var_, dtype=float),
        "priors": np.asarray(fitted.class_prior_, dtype=float),
    }


def _naive_bayes_score(settings: Mapping[str, Any], arrays: Mapping[str, Any], values: Array) -> Array:
    logs = [
        np.log(prior) - 0.5 * np.log(2 * np.pi * spread).sum() - 0.5 * ((values - mean) ** 2 / spread).sum(axis=1)
        for prior, mean, spread in zip(arrays["priors"], arrays["means"], arrays["variances"], strict=True)
    ]
    return clipped_log_odds(np.asarray(expit(logs[1] - logs[0])))


def _forest_score(settings: Mapping[str, Any], arrays: Mapping[str, Any], values: Array) -> Array:
    return clipped_log_odds(forest_risk(arrays, values))


def _boosting_score(settings: Mapping[str, Any], arrays: Mapping[str, Any], values: Array) -> Array:
    return clipped_log_odds(boosted_risk(arrays, values))


def _freeze_auto(fitted: Any) -> tuple[Settings, Arrays]:
    from hepacast.modelling.frozen_ensembles import freeze_auto

    return freeze_auto(fitted)


def _auto_score(settings: Mapping[str, Any], arrays: Mapping[str, Any], values: Array) -> Array:
    from hepacast.modelling.frozen_ensembles import auto_score

    return auto_score(settings, arrays, values)


def _freeze_stack(fitted: Any) -> tuple[Settings, Arrays]:
    from hepacast.modelling.frozen_ensembles import freeze_stack

    return freeze_stack(fitted)


def _stack_score(settings: Mapping[str, Any], arrays: Mapping[str, Any], values: Array) -> Array:
    from hepacast.modelling.frozen_ensembles import stack_score

    return stack_score(settings, arrays, values)


def _freeze_calibrated(fitted: Any) -> tuple[Settings, Arrays]:
    from hepacast.modelling.frozen_ensembles import freeze_calibrated

    return freeze_calibrated(fitted)


def _calibrated_score(settings: Mapping[str, Any], arrays: Mapping[str, Any], values: Array) -> Array:
    from hepacast.modelling.frozen_ensembles import calibrated_score

    return calibrated_score(settings, arrays, values)


_Freeze = Callable[[Any], tuple[Settings, Arrays]]
_FREEZE: dict[str, tuple[str, _Freeze]] = {
    "PlainLinear": ("linear", _freeze_linear),
    "PenalizedLinear": ("linear", _freeze_linear),
    "SVC": ("svm", freeze_svm),
    "KNeighborsClassifier": ("neighbors", _freeze_neighbors),
    "RandomForestClassifier": ("forest", freeze_forest),
    "ExtraTreesClassifier": ("forest", freeze_forest),
    "XGBClassifier": ("boosting", freeze_boosting),
    "MLPClassifier": ("perceptron", _freeze_perceptron),
    "GaussianNB": ("naive-bayes", _freeze_naive_bayes),
    "AutoClassifier": ("auto", _freeze_auto),
    "Stacked": ("stack", _freeze_stack),
    "Calibrated": ("calibrated", _freeze_calibrated),
}
_SCORES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], Array], Array]] = {
    "linear": _linear_score,
    "svm": svm_score,
    "neighbors": _neighbors_score,
    "forest": _forest_score,
    "boosting": _boosting_score,
    "perceptron": _perceptron_score,
    "naive-bayes": _naive_bayes_score,
    "auto": _auto_score,
    "stack": _stack_score,
    "calibrated": _calibrated_score,
}

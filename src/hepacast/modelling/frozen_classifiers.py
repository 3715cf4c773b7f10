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
from hepacast.modelling.auto import AutoClassifier, places_among
from hepacast.modelling.auto_members import TREES, Linear, Machine, Radial, squared_distances
from hepacast.modelling.base import Array, listed
from hepacast.modelling.chain_score import Stacked
from hepacast.modelling.classifiers import AtHorizon, Calibrated, Quiet, clipped_log_odds
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


def freeze_auto(fitted: AutoClassifier) -> tuple[Settings, Arrays]:
    """Ranks to normal scores of every feature, then the members that count, with their weights.

    The sorted training values of each feature are in the arrays (each feature by itself), and of a member with a
    radial kernel the normal scores of the training rows, sorted.
    """
    places = fitted.ranks_.places_
    arrays: Arrays = {
        "kept": np.flatnonzero(~fitted.ranks_.flat_).astype(np.int32),
        "starts": np.cumsum([0, *(len(values) for values, _ in places)]).astype(np.int64),
        "values": np.concatenate([values for values, _ in places]) if places else np.zeros(0),
        "scores": np.concatenate([scores for _, scores in places]) if places else np.zeros(0),
        "spread": fitted.spread_,
    }
    members: list[Settings] = []
    for number, (name, weight) in enumerate(fitted.weights_.items()):
        settings, own = _freeze_member(fitted.forest_ if name == TREES else fitted.members_[name])
        members.append({"name": name, "weight": weight, **settings})
        arrays |= {f"{number}-{key}": value for key, value in own.items()}
        arrays[f"{number}-known"] = fitted.places_[name]
    return {"members": members}, arrays


def _freeze_member(member: Any) -> tuple[Settings, Arrays]:
    if isinstance(member, Linear):
        return {"kind": "linear"}, {"coefficients": member.coefficients}
    if isinstance(member, Radial):
        train, alpha = sorted_rows(member.train, member.alpha)
        return {"kind": "radial", "width": float(member.width)}, {"root": member.root, "train": train, "alpha": alpha}
    if isinstance(member, Machine):
        settings, own = freeze_svm(member.estimator)
        return {"kind": "svm", "svm": settings}, {**own, "columns": member.columns}
    return {"kind": "forest"}, freeze_forest(member)[1]


def auto_score(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], values: Array) -> Array:
    """The weighted score of each row, as `AutoClassifier.decision_function`."""
    kept, starts = arrays["kept"], arrays["starts"]
    Z = np.empty((len(values), len(kept)))
    for j, column in enumerate(kept):
        part = slice(int(starts[j]), int(starts[j + 1]))
        Z[:, j] = np.interp(values[:, column], arrays["values"][part], arrays["scores"][part])
    Z /= arrays["spread"]
    total = np.zeros(len(values))
    for number, member in enumerate(settings["members"]):
        own = {key.removeprefix(f"{number}-"): item for key, item in arrays.items() if key.startswith(f"{number}-")}
        total += float(member["weight"]) * places_among(_member_score(member, own, Z), own["known"])
    return total


def _member_score(member: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], Z: Array) -> Array:
    kind = member["kind"]
    if kind == "linear":
        return np.asarray(Z @ arrays["coefficients"])
    if kind == "radial":
        used = arrays["root"] > 0
        rows = Z[:, used] * arrays["root"][used]
        return np.asarray(np.exp(-squared_distances(rows, arrays["train"]) / float(member["width"])) @ arrays["alpha"])
    if kind == "svm":
        return svm_score(member["svm"], arrays, Z[:, arrays["columns"]])
    return forest_risk(arrays, Z)


def freeze_stack(fitted: Stacked) -> tuple[Settings, Arrays]:
    """Each member, then the linear model of their scores."""
    parts = [freeze_classifier(member) for _, member in fitted.members_]
    parts.append(freeze_classifier(fitted.combination_))
    arrays = {f"{number}-{key}": item for number, part in enumerate(parts) for key, item in part.arrays.items()}
    return {"parts": [{"kind": part.kind, "settings": dict(part.settings)} for part in parts]}, arrays


def freeze_calibrated(fitted: Calibrated) -> tuple[Settings, Arrays]:
    """The classifier, and the map from its scores to risks: isotonic steps, or a logistic model."""
    inner = freeze_classifier(fitted.classifier_)
    arrays = {f"0-{key}": item for key, item in inner.arrays.items()}
    if fitted.method == "isotonic":
        arrays |= {"x": np.asarray(fitted.map_.X_thresholds_), "y": np.asarray(fitted.map_.y_thresholds_)}
    else:
        slope = np.ravel(np.asarray(fitted.map_.coef_, dtype=float))
        # Scores that were all the same have no slope.
        arrays["map"] = np.array([float(np.ravel(fitted.map_.intercept_)[0]), slope[0] if slope.size else 0.0])
    return {"method": fitted.method, "kind": inner.kind, "settings": dict(inner.settings)}, arrays


def calibrated_score(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], values: Array) -> Array:
    """Log odds of the calibrated risk, as `raw_score` of `Calibrated`."""
    own = {key.removeprefix("0-"): item for key, item in arrays.items() if key.startswith("0-")}
    scores = FrozenClassifier(settings["kind"], settings["settings"], own).score(values)
    if settings["method"] == "isotonic":
        return clipped_log_odds(np.interp(scores, arrays["x"], arrays["y"]))
    return clipped_log_odds(expit(arrays["map"][0] + arrays["map"][1] * scores))


def stack_score(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], values: Array) -> Array:
    """Log odds of each row, as `Stacked.decision_function`."""
    parts = [
        FrozenClassifier(
            part["kind"],
            part["settings"],
            {key.removeprefix(f"{number}-"): item for key, item in arrays.items() if key.startswith(f"{number}-")},
        )
        for number, part in enumerate(settings["parts"])
    ]
    return parts[-1].score(np.column_stack([part.score(values) for part in parts[:-1]]))


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
    "AutoClassifier": ("auto", freeze_auto),
    "Stacked": ("stack", freeze_stack),
    "Calibrated": ("calibrated", freeze_calibrated),
}
_SCORES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], Array], Array]] = {
    "linear": _linear_score,
    "svm": svm_score,
    "neighbors": _neighbors_score,
    "forest": _forest_score,
    "boosting": _boosting_score,
    "perceptron": _perceptron_score,
    "naive-bayes": _naive_bayes_score,
    "auto": auto_score,
    "stack": stack_score,
    "calibrated": calibrated_score,
}

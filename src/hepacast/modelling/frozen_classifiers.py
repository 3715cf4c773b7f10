"""Fitted classifiers as plain arrays, and their scores from these arrays with NumPy alone.

What a bundle keeps of a support vector machine, of nearest neighbors, of a forest: numbers that cannot run code. The
scores are those of `hepacast.modelling.classifiers.raw_score`, to the last digits (XGBoost computes in single
precision, and so do we). What is read from a file is checked before it counts: shapes fit one another and the number of
features, every number is finite, and no tree leads in a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hepacast.core.entries import Entry, require
from hepacast.errors import ModelError
from hepacast.modelling.auto import AutoClassifier, places_among
from hepacast.modelling.auto_members import TREES, Linear, Machine, Radial
from hepacast.modelling.base import Array, listed
from hepacast.modelling.chain_score import Stacked
from hepacast.modelling.classifiers import AtHorizon, Calibrated, Quiet, clipped_log_odds
from hepacast.modelling.frozen_arrays import ArrayForm, Arrays, NamedArrays, Settings
from hepacast.modelling.frozen_trees import boosted_risk, forest_risk, freeze_boosting, freeze_forest
from hepacast.stats.global_test import squared_distances

#: Deepest nesting of classifiers in stacks and calibrations.
_MAX_DEPTH = 4


@dataclass(frozen=True, eq=False)
class FrozenClassifier:
    """A classifier of 0 and 1 without the package that fitted it.

    Parameters
    ----------
    kind
        One of `FORMS`.
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
        if self.kind not in FORMS:
            raise ModelError("Unknown kind of classifier.", expected=listed(FORMS, 20), found=self.kind)

    def score(self, values: Array) -> Array:
        """The score of each row, shape (n,): log odds, or what the classifier has in their place.

        Parameters
        ----------
        values
            (n, features), scaled as in training, without gaps.
        """
        matrix = np.asarray(values, dtype=float)
        return np.asarray(FORMS[self.kind].score(self.settings, self.arrays, matrix), dtype=float)


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
    if name not in _KIND_OF:
        raise ModelError("This classifier cannot be written as arrays.", expected=listed(_KIND_OF, 20), found=name)
    kind = _KIND_OF[name]
    settings, arrays = FORMS[kind].freeze(inner)
    return FrozenClassifier(kind, settings, arrays)


def sorted_rows(points: Array, *beside: Array) -> list[Array]:
    """Rows in the order of their values: the same patients in any order give the same arrays."""
    order = np.lexsort(points.T[::-1])
    return [np.ascontiguousarray(item[order]) for item in (points, *beside)]


#: Arrays that hold values of training patients, by the last part of their name, and what they are.
_HELD = {
    "vectors": "support vectors",
    "points": "neighbors",
    "train": "patients of a kernel machine",
    "values": "values of each feature in order",
}


def held_patients(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """What a classifier's arrays hold of single training patients, in words; empty where they hold nothing."""
    found = {_HELD[last] for key in arrays if (last := key.rsplit("-", 1)[-1].rsplit("/", 1)[-1]) in _HELD}
    return [text for text in _HELD.values() if text in found]


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
    members = [freeze_classifier(member) for _, member in fitted.members_]
    combination = freeze_classifier(fitted.combination_).arrays
    made = stacked(members, combination["coefficients"], float(combination["intercept"][0]))
    return dict(made.settings), dict(made.arrays)


def stacked(members: Sequence[FrozenClassifier], coefficients: Array, intercept: float) -> FrozenClassifier:
    """A linear combination of frozen classifiers' scores."""
    line = {"coefficients": np.asarray(coefficients, dtype=float), "intercept": np.array([float(intercept)])}
    parts = [*members, FrozenClassifier("linear", {}, line)]
    arrays = {f"{number}-{key}": item for number, part in enumerate(parts) for key, item in part.arrays.items()}
    settings = {"parts": [{"kind": part.kind, "settings": dict(part.settings)} for part in parts]}
    return FrozenClassifier("stack", settings, arrays)


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


# -- what is read from a file is checked before it counts ------------------------------------------------------------


def read_classifier(
    kind: str, settings: Any, arrays: Mapping[str, NDArray[Any]], features: int, place: str
) -> FrozenClassifier:
    """A classifier from its kind, settings and arrays.

    Parameters
    ----------
    features
        Number of columns of what it is applied to.
    place
        For messages.

    Raises
    ------
    ModelError
        An unknown kind, a setting or an array that is missing or impossible.
    """
    made = FrozenClassifier(kind, settings, dict(arrays))
    for name, array in arrays.items():
        numeric = np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)
        require(numeric and bool(np.isfinite(array).all()), f"{place}: {name}", "finite numbers", array.dtype)
    _check(made, features, place, 0)
    return made


def _check(made: FrozenClassifier, features: int, place: str, depth: int) -> None:
    require(depth <= _MAX_DEPTH, place, f"classifiers at most {_MAX_DEPTH} deep in one another", depth)
    nested = {"stack": _check_stack, "calibrated": _check_calibrated}.get(made.kind)
    if nested is not None:
        nested(made, features, place, depth)
    else:
        FORMS[made.kind].check(Entry(made.settings, place), NamedArrays(made.arrays, place), features)


def _check_linear(settings: Entry, arrays: NamedArrays, features: int) -> None:
    arrays.of("coefficients", features)
    arrays.of("intercept", 1)


def _check_svm(settings: Entry, arrays: NamedArrays, features: int) -> None:
    settings.text("kernel", tuple(KERNELS))
    settings.number("gamma", low=0.0)
    settings.whole("degree")
    settings.number("coef0")
    arrays.of("vectors", len(arrays.of("weights", -1)), features)
    arrays.of("intercept", 1)


def _check_neighbors(settings: Entry, arrays: NamedArrays, features: int) -> None:
    settings.number("power", low=1.0)
    settings.text("weights", ("uniform", "distance"))
    rows = len(arrays.of("labels", -1))
    require(1 <= settings.whole("neighbors") <= rows, settings.at("neighbors"), f"1 to {rows}", "another number")
    arrays.of("points", rows, features)
    known = bool(np.isin(arrays.of("labels", rows), (0, 1)).all())
    require(known, f"{arrays.place}: labels", "0 and 1", "another value")


def _check_trees(settings: Entry, arrays: NamedArrays, features: int) -> None:
    """Every path from a root ends in a leaf."""
    feature = arrays.of("feature", -1)
    count = len(feature)
    inner = feature >= 0
    good = np.issubdtype(feature.dtype, np.integer) and bool((feature < features).all())
    require(good, f"{arrays.place}: feature", f"numbers below {features}", feature.dtype)
    for name in ("threshold", "value"):
        arrays.of(name, count)
    left, right = arrays.indices("left", max(count, 1), count), arrays.indices("right", max(count, 1), count)
    nodes = arrays.indices("starts", max(count, 1), -1).astype(np.int64)
    require(len(nodes) > 0, f"{arrays.place}: starts", "at least one tree", "none")
    reached = len(nodes)
    while nodes.size and reached <= count:
        asked = nodes[inner[nodes]]
        nodes = np.concatenate([left[asked], right[asked]]).astype(np.int64)
        reached += len(nodes)
    require(reached <= count, f"{arrays.place}: left", "trees whose every path ends", "nodes in a circle")


def _check_forest(settings: Entry, arrays: NamedArrays, features: int) -> None:
    _check_trees(settings, arrays, features)
    value = arrays.of("value", -1)
    good = bool(((value >= 0) & (value <= 1)).all())
    require(good, f"{arrays.place}: value", "shares of events, 0 to 1", "another value")


def _check_boosting(settings: Entry, arrays: NamedArrays, features: int) -> None:
    _check_trees(settings, arrays, features)
    arrays.of("base", 1)


def _check_perceptron(settings: Entry, arrays: NamedArrays, features: int) -> None:
    settings.text("activation", tuple(ACTIVATIONS))
    layers, width = settings.whole("layers", low=1), features
    for layer in range(layers):
        weights = arrays.of(f"weights-{layer}", width, -1)
        width = weights.shape[1]
        arrays.of(f"bias-{layer}", width)
    require(width == 1, f"{arrays.place}: weights-{layers - 1}", "one output", width)


def _check_naive_bayes(settings: Entry, arrays: NamedArrays, features: int) -> None:
    arrays.of("means", 2, features)
    for name, shape in (("variances", (2, features)), ("priors", (2,))):
        require(bool((arrays.of(name, *shape) > 0).all()), f"{arrays.place}: {name}", "above 0", "another value")


def _check_auto(settings: Entry, arrays: NamedArrays, features: int) -> None:
    kept = arrays.indices("kept", max(features, 1), -1)
    values = arrays.of("values", -1)
    starts = arrays.indices("starts", len(values) + 1, len(kept) + 1)
    arrays.of("scores", len(values))
    good = bool((np.diff(starts) > 0).all()) and starts[0] == 0 and starts[-1] == len(values)
    require(good, f"{arrays.place}: starts", f"increasing numbers from 0 to {len(values)}", "others")
    rising = all(bool((np.diff(values[a:b]) > 0).all()) for a, b in pairwise(starts))
    require(rising, f"{arrays.place}: values", "increasing values of every feature", "others")
    require(bool((arrays.of("spread", len(kept)) > 0).all()), f"{arrays.place}: spread", "above 0", "another value")
    for number, member in enumerate(settings.entries("members")):
        own = arrays.within(f"{number}-")
        member.number("weight", low=0.0, high=1.0 + 1e-9)
        known = own.of("known", -1)
        sorted_ = bool(len(known)) and bool((np.diff(known) >= 0).all())
        require(sorted_, f"{own.place}: known", "sorted scores", "others")
        _MEMBERS[member.text("kind", tuple(_MEMBERS))](member, own, len(kept))


def _member_linear(settings: Entry, arrays: NamedArrays, features: int) -> None:
    arrays.of("coefficients", features)


def _member_radial(settings: Entry, arrays: NamedArrays, features: int) -> None:
    width = settings.number("width", low=0.0)
    require(width > 0, settings.at("width"), "above 0", width)
    used = int((arrays.of("root", features) > 0).sum())
    arrays.of("train", len(arrays.of("alpha", -1)), used)


def _member_svm(settings: Entry, arrays: NamedArrays, features: int) -> None:
    columns = arrays.indices("columns", features, -1)
    _check_svm(settings.entry("svm"), arrays, len(columns))


def _part(settings: Any, arrays: Mapping[str, NDArray[Any]], number: int, place: str) -> FrozenClassifier:
    entry, prefix = Entry(settings, place), f"{number}-"
    own = {key.removeprefix(prefix): item for key, item in arrays.items() if key.startswith(prefix)}
    return FrozenClassifier(entry.text("kind"), entry.raw("settings"), own)


def _check_stack(made: FrozenClassifier, features: int, place: str, depth: int) -> None:
    parts = Entry(made.settings, place).entries("parts")
    require(len(parts) >= 2, f"{place}: parts", "members and their combination", len(parts))
    for number, item in enumerate(parts):
        part = _part({key: item.raw(key) for key in item}, made.arrays, number, item.place)
        _check(part, features if number < len(parts) - 1 else len(parts) - 1, item.place, depth + 1)


def _check_calibrated(made: FrozenClassifier, features: int, place: str, depth: int) -> None:
    settings, arrays = Entry(made.settings, place), NamedArrays(made.arrays, place)
    _check(_part(made.settings, made.arrays, 0, place), features, place, depth + 1)
    if settings.text("method", ("isotonic", "platt")) == "platt":
        arrays.of("map", 2)
        return
    x = arrays.of("x", -1)
    y = arrays.of("y", len(x))
    rising = bool((np.diff(x) >= 0).all()) and bool((np.diff(y) >= 0).all())
    good = bool(len(x)) and rising and bool(((y >= 0) & (y <= 1)).all())
    require(good, f"{place}: y", "risks that rise with the score", "others")


def _never(settings: Entry, arrays: NamedArrays, features: int) -> None:
    """Classifiers that hold others are checked with their depth, by `_check`."""
    raise AssertionError(settings.place)


_MEMBERS: dict[str, Callable[[Entry, NamedArrays, int], None]] = {
    "linear": _member_linear,
    "radial": _member_radial,
    "svm": _member_svm,
    "forest": _check_forest,
}
#: Every kind of frozen classifier; a new one is a line here and one in `hepacast.modelling.classifiers`.
FORMS: dict[str, ArrayForm] = {
    "linear": ArrayForm(("PlainLinear", "PenalizedLinear"), _freeze_linear, _linear_score, _check_linear),
    "svm": ArrayForm(("SVC",), freeze_svm, svm_score, _check_svm),
    "neighbors": ArrayForm(("KNeighborsClassifier",), _freeze_neighbors, _neighbors_score, _check_neighbors),
    "forest": ArrayForm(
        ("RandomForestClassifier", "ExtraTreesClassifier"), freeze_forest, _forest_score, _check_forest
    ),
    "boosting": ArrayForm(("XGBClassifier",), freeze_boosting, _boosting_score, _check_boosting),
    "perceptron": ArrayForm(("MLPClassifier",), _freeze_perceptron, _perceptron_score, _check_perceptron),
    "naive-bayes": ArrayForm(("GaussianNB",), _freeze_naive_bayes, _naive_bayes_score, _check_naive_bayes),
    "auto": ArrayForm(("AutoClassifier",), freeze_auto, auto_score, _check_auto),
    "stack": ArrayForm(("Stacked",), freeze_stack, stack_score, _never),
    "calibrated": ArrayForm(("Calibrated",), freeze_calibrated, calibrated_score, _never),
}
_KIND_OF = {name: kind for kind, form in FORMS.items() for name in form.classes}
